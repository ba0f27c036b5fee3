"""An upstream's answer, from its head to its last byte or its hang-up."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from trimtab.dataplane.inference.dialer import ConnectionLost, MalformedAnswer, UpstreamError

AHEAD = 65536
"""Unread bytes of a body above which reading pauses, at most; so many are given at once, too."""
SOME = 1024
"""The same for a reader that is busy elsewhere, as it is with a client that does not read: what a stream holds then is
multiplied by all clients that are slow."""


class Source(Protocol):
    """The connection that an answer comes from."""

    def resume(self) -> None: ...
    def abort(self) -> None: ...


class Http1Answer:
    """See `Answer`."""

    __slots__ = ("_connection", "_ended", "_error", "_pieces", "_unread", "_waiter", "headers", "room", "status")

    def __init__(self, connection: Source, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection: Source | None = connection
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.room = AHEAD
        """Bytes that may be read ahead."""

    @property
    def is_over(self) -> bool:
        return self._connection is None

    async def read_some(self) -> bytes:
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            await self._wait()
        piece = self._take()
        if self._connection is not None and self._unread <= SOME:
            self._connection.resume()
        return piece

    def _take(self) -> bytes:
        """The next bytes, as many as may be given at once."""
        pieces, most = self._pieces, self.room
        if self._unread <= most:
            self._unread = 0
            whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            return whole
        taken, size = [], 0
        while size < most:
            piece = pieces.popleft()
            if size + len(piece) > most:
                pieces.appendleft(piece[most - size :])
                piece = piece[: most - size]
            taken.append(piece)
            size += len(piece)
        self._unread -= size
        return b"".join(taken)

    async def read_all(self, max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read_some():
            size += len(piece)
            if size > max_bytes:
                self.close()
                raise MalformedAnswer(f"the answer is larger than {max_bytes} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("the answer is being read by another task")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._error = ConnectionLost("the answer was closed before its end", sent=True, received=True)
            self._pieces.clear()
            connection.abort()
            self._wake()

    # what the connection tells

    def make_room(self, ahead: int) -> int:
        """More of the body is about to come: how many bytes of it are taken, `ahead` if somebody waits for them."""
        self.room = SOME if self._waiter is None or self._waiter.done() else ahead
        return self.room

    def add(self, piece: bytes) -> bool:
        """Take a piece; whether more is unread now than there is room for."""
        self._pieces.append(piece)
        self._unread += len(piece)
        self._wake()
        return self._unread > self.room

    def end(self, error: UpstreamError | None = None) -> None:
        """The body is whole, or will never be."""
        if self._connection is not None:
            self._connection = None
            self._ended = error is None
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read_some()
        if not piece:
            raise StopAsyncIteration
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "failed" if self._error else "ended" if self._ended else "open"
        return f"<Http1Answer {self.status} {state}>"

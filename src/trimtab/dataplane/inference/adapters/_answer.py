"""An upstream's answer, from its head to its last byte or its hang-up."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from trimtab.dataplane.inference.dialer import ConnectionLost, MalformedAnswer, UpstreamError

AHEAD = 2048
"""Unread bytes of a body above which reading pauses: a stream whose reader is slow holds little more."""
SOME = 2048
"""Bytes given at once: what is made of them, many times as much, lives until the reader has taken it."""


class Source(Protocol):
    """The connection that an answer comes from."""

    def resume(self) -> None: ...
    def abort(self) -> None: ...


class Http1Answer:
    """See `Answer`."""

    __slots__ = ("_connection", "_ended", "_error", "_pieces", "_unread", "_waiter", "headers", "status")

    def __init__(self, connection: Source, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection: Source | None = connection
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

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
        """The next bytes, at most SOME."""
        pieces, taken, size = self._pieces, [], 0
        while pieces and size < SOME:
            taken.append(pieces.popleft())
            size += len(taken[-1])
        if size > SOME:
            last = taken[-1]
            at = len(last) - (size - SOME)
            taken[-1] = last[:at]
            pieces.appendleft(last[at:])
            size = SOME
        self._unread -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

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

    def add(self, piece: bytes) -> int:
        """Take a piece; how many bytes are unread now."""
        self._pieces.append(piece)
        self._unread += len(piece)
        self._wake()
        return self._unread

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

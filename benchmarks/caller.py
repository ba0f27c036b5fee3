"""One caller's connection to a gateway, for load that must be scripted: who hangs up, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

LIMIT_S = 150.0
"""For one answer; whoever has none by then hangs up."""


class Answer(NamedTuple):
    """How an exchange ended: `ended`, `left` (by us), `cut` (by the gateway) or `no HTTP`; the status, 0 for none."""

    how: str
    status: int
    body: bytearray

    @property
    def is_whole(self) -> bool:
        return self.how == "ended" and self.status == 200


class Caller(asyncio.Protocol):
    """A connection, and one request at a time on it. `head`: request line and headers, without `Content-Length`.
    `began` is called with the status when the first of a body has come."""

    transport: asyncio.Transport

    def __init__(self, head: str, began: Callable[[int], None] | None = None) -> None:
        self._head, self.began = head, began
        self._done: asyncio.Future[str] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._done is not None and not self._done.done():
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                self._finish("no HTTP")
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._finish("cut")

    def on_body(self, data: bytes) -> None:
        if not self._body and self.began is not None:
            self.began(self._parser.get_status_code())
        self._body += data
        if self._leave_events is not None and self._body.count(b"\n\n") >= self._leave_events:
            self.leave()

    def on_message_complete(self) -> None:
        self._finish("ended")

    def leave(self) -> None:
        """Hang up."""
        self._finish("left")
        self.is_open = False
        self.transport.close()

    async def exchange(self, body: bytes, leave_s: float | None = None, leave_events: int | None = None) -> Answer:
        """One request. Hangs up after `leave_s` seconds, or when `leave_events` events of a stream are there."""
        loop = asyncio.get_running_loop()
        self._body, self._leave_events = bytearray(), leave_events
        self._parser = httptools.HttpResponseParser(self)
        self._done = loop.create_future()
        self.transport.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        timer = loop.call_later(LIMIT_S if leave_s is None else leave_s, self.leave)
        how = await self._done
        timer.cancel()
        status = self._parser.get_status_code() if self._body or how == "ended" else 0
        if how == "ended" and not self._parser.should_keep_alive():
            self.is_open = False
            self.transport.close()
        return Answer(how, status, self._body)

    def _finish(self, how: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(how)


async def connect(port: int, head: str, began: Callable[[int], None] | None = None) -> Caller:
    """A caller that is connected. Raises OSError."""
    _, caller = await asyncio.get_running_loop().create_connection(lambda: Caller(head, began), "127.0.0.1", port)
    return caller


def chat_head(*headers: str) -> str:
    """Of a chat request with these headers."""
    return "\r\n".join(
        ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Content-Type: application/json", *headers, ""]
    )

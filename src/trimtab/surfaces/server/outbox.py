"""What an answer writes in one turn of the loop leaves in one system call: a burst of small events would else cost one
each, which is more than making them."""

from __future__ import annotations

import asyncio
from typing import Final

FULL: Final = 8192
"""Bytes that are not kept back: so much at a time costs no less for being more."""


class Outbox:
    """Writes to a transport, in order, at the end of the loop's turn; `flush` where it can't wait so long."""

    __slots__ = ("_loop", "_parts", "_size", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop, self._transport = loop, transport
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= FULL:
            self.flush()

    def flush(self) -> None:
        """Send what is here. Idempotent."""
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self.drop()
            self._transport.write(data)

    def drop(self) -> None:
        """Forget what is here: the connection ends without it."""
        self._parts.clear()
        self._size = 0

"""What the connections of one listener share: settings, and who is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from trimtab.core.clock import Clock
from trimtab.surfaces.server.exchange import HttpLimits, HttpReply, HttpRequest

if TYPE_CHECKING:
    from trimtab.surfaces.server.connection import Connection

Handler = Callable[[HttpRequest, HttpReply], Awaitable[None]]
OnError = Callable[[HttpRequest | None, BaseException], None]


class Hub:
    """What all connections of one listener share."""

    def __init__(self, handler: Handler, clock: Clock, limits: HttpLimits, on_error: OnError) -> None:
        self.handler = handler
        self.clock = clock
        self.limits = limits
        self.on_error = on_error
        self.idle_timeout_s = limits.idle_timeout_s
        self.draining = False
        self.keep_alive = True
        """False: a connection ends with its next answer."""
        self.held_bytes = 0
        """Of all bodies that have come, until the handlers of their requests have ended."""
        self.connections: set[Connection] = set()
        self.tasks: dict[asyncio.Task[None], HttpRequest] = {}
        self._waiters: list[asyncio.Future[None]] = []

    def task_done(self, task: asyncio.Task[None]) -> None:
        """A handler has ended."""
        self.let_go(self.tasks.pop(task))
        if not self.tasks:
            self._wake()

    @property
    def closes(self) -> bool:
        """Whether each answer is the last of its connection."""
        return self.draining or not self.keep_alive

    def hold(self, request: HttpRequest) -> bool:
        """Count what has come of its body; False: all bodies together are more than we hold."""
        more = request.buffered - request.held_bytes
        request.held_bytes += more
        self.held_bytes += more
        return self.held_bytes <= self.limits.max_held_bytes

    def let_go(self, request: HttpRequest) -> None:
        """Its body is held no more."""
        self.held_bytes -= request.held_bytes
        request.held_bytes = 0

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def no_tasks(self) -> None:
        """Wait until no handler runs."""
        while self.tasks:
            await self._change()

    async def no_connections(self) -> None:
        """Wait until the last connection is gone."""
        while self.connections:
            await self._change()

    async def _change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

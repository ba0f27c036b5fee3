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
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def task_done(self, task: asyncio.Task[None]) -> None:
        """A handler has ended."""
        self.tasks.discard(task)
        if not self.tasks:
            self._wake()

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

"""The real listener, on each of the loops it must run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from trimtab.core.clock import Clock, SystemClock
from trimtab.surfaces.server import Handler, HttpLimits, HttpReply, HttpRequest, Listener
from trimtab.surfaces.twin import VirtualLoop, run_virtual

Main = Callable[[], Coroutine[Any, Any, Any]]
LOOPS: dict[str, Callable[[Main], Any]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "virtual": run_virtual,
}


@dataclass
class Door:
    """A listener and what it reported."""

    listener: Listener
    port: int
    errors: list[tuple[HttpRequest | None, BaseException]] = field(default_factory=list)


def clock() -> Clock:
    """The running loop's clock."""
    loop = asyncio.get_running_loop()
    return loop.clock if isinstance(loop, VirtualLoop) else SystemClock()


@asynccontextmanager
async def front_door(handler: Handler, limits: HttpLimits | None = None) -> AsyncIterator[Door]:
    """Listen on loopback while the block runs; nothing may be left afterwards."""
    errors: list[tuple[HttpRequest | None, BaseException]] = []
    listener = Listener(
        handler, clock(), limits or HttpLimits(), lambda request, error: errors.append((request, error))
    )
    await listener.start()
    try:
        yield Door(listener, listener.port, errors)
    finally:
        await listener.close()
        assert (listener.connections, listener.active) == (0, 0)


async def echo(request: HttpRequest, reply: HttpReply) -> None:
    """Say what was asked: method, path, query, body; with a length."""
    body = await request.body()
    said = f"{request.method} {request.path} {request.query} ".encode() + body
    await whole(reply, said)


async def whole(reply: HttpReply, body: bytes, status: int = 200) -> None:
    """Send an answer of known length."""
    reply.start(status, [("content-length", str(len(body)))])
    await reply.write(body)
    await reply.end()

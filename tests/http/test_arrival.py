"""When a request is said to have arrived."""

from __future__ import annotations

import asyncio
import socket

import pytest

from support.frontdoor import LOOPS, clock, front_door, whole
from support.rawhttp import RawClient, request
from trimtab.core.request import Arrival
from trimtab.surfaces.server import HttpReply, HttpRequest
from trimtab.surfaces.twin import EPOCH_NS, Direction, Link, run_virtual

MS = 1_000_000


def test_in_memory_arrival_is_the_first_byte() -> None:
    """On virtual time a request arrives with its first byte, however long its head takes, and nothing is queued."""
    seen: list[Arrival] = []

    async def note(request_: HttpRequest, reply: HttpReply) -> None:
        seen.append(request_.arrival)
        await whole(reply, b"")

    async def main() -> None:
        async with front_door(note) as door, RawClient(door.port) as client:
            await asyncio.sleep(1)
            client.send(request("GET", "/"))
            await client.answer()

    run_virtual(main, link=Link(up=Direction(delay_s=0.5)))
    assert seen == [Arrival(at_ns=2000 * MS, wall_ns=EPOCH_NS + 2000 * MS, queued_ns=0, loopback=True)]


def test_a_pipelined_requests_wait_is_visible() -> None:
    """A request that waited for the answer before it arrived when its bytes came, and says how long it was queued."""
    seen: list[Arrival] = []

    async def slow(request_: HttpRequest, reply: HttpReply) -> None:
        seen.append(request_.arrival)
        await asyncio.sleep(2)
        await whole(reply, b"")

    async def main() -> None:
        async with front_door(slow) as door, RawClient(door.port) as client:
            client.send(request("GET", "/1") + request("GET", "/2"))
            await asyncio.sleep(1)
            client.send(request("GET", "/3"))
            for _ in range(3):
                await client.answer()

    run_virtual(main)
    assert [(a.at_ns // MS, a.queued_ns // MS) for a in seen] == [(0, 0), (0, 2000), (1000, 3000)]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_busy_loop_cannot_hide_the_wait(loop: str) -> None:
    """While the loop is blocked a request waits in the kernel: it arrived then, on new and kept connections."""
    seen: list[tuple[Arrival, int]] = []

    async def note(request_: HttpRequest, reply: HttpReply) -> None:
        seen.append((request_.arrival, clock().now_ns()))
        await whole(reply, b"")

    async def main() -> None:
        async with front_door(note) as door:
            with socket.create_connection(("127.0.0.1", door.port)) as client:
                client.setblocking(False)
                for _ in range(2):
                    client.send(request("GET", "/"))  # past the loop: the bytes are in the kernel now
                    blocked_until = clock().now_ns() + 200 * MS
                    while clock().now_ns() < blocked_until:
                        pass  # the loop does something else, and looks at no socket
                    assert await asyncio.get_running_loop().sock_recv(client, 65536)

    LOOPS[loop](main)
    for arrival, handled_ns in seen:
        assert arrival.loopback
        assert arrival.queued_ns >= 150 * MS
        assert handled_ns - arrival.at_ns >= arrival.queued_ns

"""Hang-ups, timers, drain and close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from support.frontdoor import LOOPS, Door, echo, front_door, whole
from support.rawhttp import RawClient, exchange, request
from trimtab.surfaces.server import Handler, HttpError, HttpLimits, HttpReply, HttpRequest
from trimtab.surfaces.twin import Direction, Link, run_virtual

on_each_loop = pytest.mark.parametrize("loop", list(LOOPS))


class Held:
    """A handler that begins, waits for ever at a stated point, and tells how it ended."""

    def __init__(self, wait: Callable[[HttpRequest, HttpReply], Awaitable[object]]) -> None:
        self.wait = wait
        self.started = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self, request_: HttpRequest, reply: HttpReply) -> None:
        self.started.set()
        try:
            await self.wait(request_, reply)
        except asyncio.CancelledError:
            self.ended.set_result("cancelled")
            raise
        self.ended.set_result("returned")


async def silent(request_: HttpRequest, reply: HttpReply) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def streaming(request_: HttpRequest, reply: HttpReply) -> None:
    """Has begun a stream, then says nothing."""
    reply.start(200, [])
    await reply.write(b"abc")
    await asyncio.Event().wait()


async def reading(request_: HttpRequest, reply: HttpReply) -> None:
    """Waits for a body."""
    await request_.body()


async def flooding(request_: HttpRequest, reply: HttpReply) -> None:
    """Writes without end, mostly waiting for the client."""
    reply.start(200, [])
    while True:
        await reply.write(b"x" * 50_000)


@on_each_loop
@pytest.mark.parametrize("how", ["abort", "half-close"])
@pytest.mark.parametrize("wait", [silent, streaming, reading, flooding])
def test_a_hang_up_cancels_the_handler(loop: str, how: str, wait: Callable[..., Awaitable[object]]) -> None:
    """Whether it waits, streams, reads or is held back: a reset or half-close of the client cancels it, quietly."""

    async def main() -> None:
        held = Held(wait)
        async with front_door(held) as door, RawClient(door.port) as client:
            client.send(request("POST", "/", b"", "Content-Length: 10"))
            await held.started.wait()
            client.hang_up() if how == "abort" else client.half_close()
            assert await held.ended == "cancelled"
            assert door.errors == []

    LOOPS[loop](main)


@on_each_loop
def test_a_hang_up_right_behind_the_request_is_seen(loop: str) -> None:
    """Request and end of file in one go: the handler does not run on for a client that is gone."""

    async def main() -> None:
        async with front_door(silent) as door:
            async with RawClient(door.port) as client:
                client.send(request("GET", "/"))
                client.half_close()
                assert await client.rest() == b""
            await door.listener.drained()
            assert door.errors == []

    LOOPS[loop](main)


def test_nothing_is_written_after_a_hang_up_and_cancellation_comes_at_the_next_write() -> None:
    """A handler that only writes is stopped by `write`; what its clean-up writes goes nowhere and does not wait."""

    async def main() -> None:
        steps: list[str] = []

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            reply.start(200, [])
            try:
                while True:
                    await reply.write(b"b")
            except asyncio.CancelledError:
                steps.append("cancelled")
                await reply.write(b"c" * 1_000_000)
                with pytest.raises(HttpError, match="closed"):
                    await request_.body()
                steps.append("cleaned up")
                raise

        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("POST", "/", b"", "Content-Length: 5"))
            await client.head()
            assert await client.chunk() == b"b"
            client.hang_up()
            await door.listener.drained()
            assert steps == ["cancelled", "cleaned up"]
            assert door.errors == []

    run_virtual(main)


def test_a_client_that_leaves_after_a_whole_answer_does_not_cancel_the_tidying_up() -> None:
    """Once the answer has ended, a hang-up no longer cancels the handler, and the next request need not wait for it."""

    async def main() -> None:
        tidied: list[str] = []

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            await whole(reply, b"")
            await asyncio.sleep(5)
            tidied.append(request_.path)

        async with front_door(handler) as door:
            async with RawClient(door.port) as client:
                for path in ("/1", "/2"):
                    client.send(request("GET", path))
                    await client.answer()
                assert door.listener.active == 2
            await door.listener.drained()
            assert tidied == ["/1", "/2"]
            assert asyncio.get_running_loop().time() < 6

    run_virtual(main)


def at_once(reply: HttpReply, size: int) -> None:
    """A whole answer of so many bytes, without waiting for its reader."""
    reply.start(200, [("content-length", str(size))])
    reply.finish(b"x" * size)


@on_each_loop
def test_an_answer_that_nobody_reads_is_not_kept_for_ever(loop: str) -> None:
    """A kept connection whose client takes nothing of a large answer is cut after the idle timeout, and the answer with
    it, though no handler waits."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        at_once(reply, 20_000_000)

    async def main() -> None:
        async with front_door(handler, HttpLimits(idle_timeout_s=0.2)) as door, RawClient(door.port) as client:
            client.transport.pause_reading()
            client.send(request("GET", "/"))
            while door.listener.connections:
                await asyncio.sleep(0.01)

    LOOPS[loop](main)


@pytest.mark.parametrize("header", ["Connection: close", "X: keep-alive"])
def test_a_client_that_vanishes_without_a_word(header: str) -> None:
    """If the network swallows everything, a connection with unsent bytes is cut by its timer, not kept for ever."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        at_once(reply, 100_000)

    async def main() -> None:
        async with front_door(handler, HttpLimits(idle_timeout_s=10)) as door, RawClient(door.port) as client:
            client.send(request("GET", "/", b"", header))
            await asyncio.sleep(9)
            assert (door.listener.connections, door.listener.active) == (1, 0)
            await asyncio.sleep(12)
            assert door.listener.connections == 0

    run_virtual(main, link=Link(down=Direction(stall_after_bytes=1000)))


async def seconds_until_closed(door: Door, sent: bytes, slow: bytes, drip_s: float) -> tuple[float, bytes]:
    """Loop seconds from sending to the server's close, and what it said; `slow` is sent byte by byte."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with RawClient(door.port) as client:
        client.send(sent)
        dripping = asyncio.create_task(drip(client, slow, drip_s))
        got = await client.rest()
        ended = loop.time()
        dripping.cancel()
        return ended - began, got


async def drip(client: RawClient, data: bytes, every_s: float) -> None:
    """One byte at a time."""
    for byte in data:
        client.send(bytes([byte]))
        await asyncio.sleep(every_s)


TIMES = HttpLimits(head_timeout_s=15, body_timeout_s=30, idle_timeout_s=75, refuse_drain_s=1)
PART = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"


@pytest.mark.parametrize(
    ("sent", "slow", "seconds", "status"),
    [
        (b"", b"", 75, None),
        (b"GET / HT", b"", 15, 408),
        (b"GET / HTTP/1.1\r\nA: ", b"b" * 100, 15, 408),
        (b"", b"\r\n" * 50, 75, None),
        (PART, b"", 30, 408),
        (PART, b"cdefgh", 100 + 30, 408),
        (request("GET", "/"), b"", 75, 200),
        (request("GET", "/") + b"GET", b"", 15, 200),
        (request("GET", "/", b"", "Connection: close"), b"", 0, 200),
    ],
)
def test_timers(sent: bytes, slow: bytes, seconds: float, status: int | None) -> None:
    """A head has a time in all, a body one between reads, a connection one without request; dripping helps no head."""

    async def main() -> tuple[float, bytes]:
        async with front_door(echo, TIMES) as door:
            took, got = await seconds_until_closed(door, sent, slow, drip_s=20 if sent == PART else 1)
            await asyncio.sleep(2)
            assert (door.listener.connections, door.listener.active) == (0, 0)
            return took, got

    took, got = run_virtual(main)
    assert took == pytest.approx(seconds, abs=0.1)
    assert got.startswith(b"HTTP/1.1 %d " % status) if status else got == b""


def test_a_body_timeout_is_the_handlers_to_answer() -> None:
    """`body()` raises 408; whatever the handler then says reaches the client, and the connection ends."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        with pytest.raises(HttpError, match="30 s") as caught:
            await request_.body()
        await whole(reply, b"own words", caught.value.code.status)

    async def main() -> bytes:
        async with front_door(handler, TIMES) as door:
            return await exchange(door.port, PART)

    got = run_virtual(main)
    assert got.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert got.endswith(b"own words")


def test_no_timer_runs_while_a_handler_works() -> None:
    """A handler may take longer than every timeout, and the connection still lives afterwards."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        await request_.body()
        await asyncio.sleep(10_000)
        await whole(reply, b"late")

    async def main() -> None:
        async with front_door(handler, TIMES) as door, RawClient(door.port) as client:
            for _ in range(2):
                client.send(request("POST", "/", b"x"))
                assert (await client.answer()).body == b"late"
                await asyncio.sleep(70)

    run_virtual(main)


def test_the_idle_timeout_can_be_changed_for_live_connections() -> None:
    """Lowering it closes idle connections that much sooner, and does not touch a busy one."""

    async def main() -> None:
        held = Held(silent)
        loop = asyncio.get_running_loop()
        async with front_door(held, TIMES) as door, RawClient(door.port) as idle, RawClient(door.port) as busy:
            busy.send(request("GET", "/"))
            await held.started.wait()
            door.listener.set_idle_timeout(5)
            assert await idle.rest() == b""
            assert loop.time() == pytest.approx(5, abs=0.1)
            assert (door.listener.connections, door.listener.active) == (1, 1)
            busy.hang_up()
            await held.ended

    run_virtual(main)


@on_each_loop
def test_drain(loop: str) -> None:
    """The running answer ends with its connection; what comes on a new connection, or on one that was idle, is still
    answered, and then closed."""

    async def main() -> None:
        go = asyncio.Event()
        started = asyncio.Event()

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            if request_.path == "/slow":
                started.set()
                await go.wait()
            await whole(reply, b"", 503 if door.listener.draining else 200)

        async with front_door(handler) as door, RawClient(door.port) as idle, RawClient(door.port) as slow:
            idle.send(request("GET", "/"))
            assert (await idle.answer()).status == 200
            slow.send(request("GET", "/slow"))
            await started.wait()
            door.listener.drain()
            async with RawClient(door.port) as late:
                for client in (idle, late):
                    client.send(request("GET", "/"))
                    answer = await client.answer()
                    assert (answer.status, answer.headers["connection"]) == (503, "close")
                    assert await client.rest() == b""
            waiting = asyncio.ensure_future(door.listener.drained())
            await asyncio.sleep(0)
            assert not waiting.done()
            go.set()
            assert (await slow.answer()).headers["connection"] == "close"
            await waiting
            assert await slow.rest() == b""

    LOOPS[loop](main)


def test_connections_that_are_not_kept_end_with_their_next_answer() -> None:
    """Idle ones stay open until then, so that no request that is on its way is lost; kept again, they stay."""

    async def main() -> None:
        async with front_door(echo) as door, RawClient(door.port) as old, RawClient(door.port) as other:
            for client in (old, other):
                client.send(request("GET", "/"))
                assert "connection" not in (await client.answer()).headers
            door.listener.keep_alive(False)
            old.send(request("GET", "/"))
            assert (await old.answer()).headers["connection"] == "close"
            assert await old.rest() == b""
            door.listener.keep_alive(True)
            other.send(request("GET", "/"))
            assert "connection" not in (await other.answer()).headers
            assert door.listener.connections == 1

    run_virtual(main)


def test_a_stream_that_began_before_the_drain_ends_whole_and_closes() -> None:
    """The stream's head had promised keep-alive; the drain closes the connection after its last chunk all the same."""

    async def main() -> None:
        go = asyncio.Event()

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            reply.start(200, [])
            await reply.write(b"a")
            await go.wait()
            await reply.end()

        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("GET", "/"))
            await client.head()
            door.listener.drain()
            go.set()
            assert [await client.chunk(), await client.chunk()] == [b"a", b""]
            assert await client.rest() == b""

    run_virtual(main)


@on_each_loop
def test_close_cuts_what_still_runs(loop: str) -> None:
    """`close` refuses new connections, cancels running handlers and waits for them."""

    async def main() -> None:
        held = Held(streaming)
        async with front_door(held) as door, RawClient(door.port) as client:
            client.send(request("GET", "/"))
            assert (await client.head()).status == 200
            await door.listener.close()
            assert held.ended.result() == "cancelled"
            assert not (await drain_chunks(client))
            with pytest.raises(OSError, match=r".*"):
                async with RawClient(door.port):
                    pass
            assert door.errors == []

    LOOPS[loop](main)


async def drain_chunks(client: RawClient) -> bool:
    """Whether the stream ended with its last chunk."""
    try:
        while await client.chunk():
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
    return True


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_many_connections_leave_nothing_behind(loop: str) -> None:
    """After a few hundred connections that end in every way no connection or task is left (`front_door` asserts it)."""

    async def main() -> None:
        handler: Handler = echo
        async with front_door(handler) as door:

            async def one(n: int) -> None:
                async with RawClient(door.port) as client:
                    client.send(request("POST", "/", b"x" * n))
                    if n % 3:
                        await client.answer()
                    if n % 2:
                        client.half_close()

            for _ in range(10):
                await asyncio.gather(*(one(n) for n in range(40)))

    LOOPS[loop](main)

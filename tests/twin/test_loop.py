"""Virtual time and its pipes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import pairwise

import pytest

from support.frontdoor import front_door
from support.rawhttp import exchange, request
from support.upstream import ScriptedUpstream, stream
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialer import ConnectionLost, Origin
from trimtab.surfaces.server import Handler, HttpReply, HttpRequest
from trimtab.surfaces.twin import EPOCH_NS, Deadlock, Direction, Link, VirtualLoop, run_virtual


def virtual() -> VirtualLoop:
    """The loop that the test runs on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def test_a_virtual_hour_passes_at_once() -> None:
    """Sleeping an hour moves the clocks by an hour, and wall time with them."""

    async def main() -> tuple[float, int, int]:
        await asyncio.sleep(3600)
        return virtual().time(), virtual().clock.now_ns(), virtual().clock.wall_ns()

    assert run_virtual(main) == (3600.0, 3600 * 10**9, EPOCH_NS + 3600 * 10**9)


def test_timers_fire_in_order_and_on_time() -> None:
    """Each sleeper wakes at its own time, in the order of times."""
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(virtual().time())

    async def main() -> None:
        await asyncio.gather(*(sleeper(s) for s in (3.0, 0.5, 2.0, 0.0)))

    run_virtual(main)
    assert woken == pytest.approx([0.0, 0.5, 2.0, 3.0])


def test_a_deadlock_names_who_waits() -> None:
    """Where nothing can ever happen the run ends with an error that names the tasks and their lines."""

    async def stuck() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(stuck(), name="the stuck one")

    with pytest.raises(Deadlock, match=r"the stuck one: .*wait, line \d+"):
        run_virtual(main)


def test_offload_runs_inline_and_threads_are_refused() -> None:
    """Heavy work runs in the loop's own thread; a thread pool, which takes no virtual time, is an error."""

    async def main() -> int:
        with pytest.raises(RuntimeError, match="no threads"):
            await asyncio.to_thread(int, "1")
        return await virtual().clock.offload(int, "41") + 1

    assert run_virtual(main) == 42


class Sink(asyncio.Protocol):
    """Keeps what it is told, with the times."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, bytes]] = []
        self.lost: asyncio.Future[Exception | None] = virtual().create_future()
        self.pauses: list[bool] = []

    def note(self, kind: str, data: bytes = b"") -> None:
        self.events.append((round(virtual().time(), 6), kind, data))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.note("data", data)

    def eof_received(self) -> bool:
        self.note("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("lost")
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.pauses.append(True)

    def resume_writing(self) -> None:
        self.pauses.append(False)

    @property
    def data(self) -> bytes:
        return b"".join(data for _, _, data in self.events)


async def pair(server_type: Callable[[], Sink] = Sink) -> tuple[Sink, Sink]:
    """A client and a server end."""
    made: list[Sink] = []

    def accept() -> Sink:
        made.append(server_type())
        return made[-1]

    server = await virtual().create_server(accept, "127.0.0.1", 0)
    _, client = await virtual().create_connection(Sink, *server.sockets[0].getsockname())
    return client, made[0]


def test_delay_and_order() -> None:
    """Bytes arrive after the link's delay and in order, and connecting costs a round trip."""

    async def main() -> None:
        client, server = await pair()
        assert virtual().time() == pytest.approx(0.3)
        client.transport.write(b"a")
        await asyncio.sleep(0.05)
        client.transport.write(b"b")
        client.transport.close()
        await server.lost
        assert server.events == [(0.4, "data", b"a"), (0.45, "data", b"b"), (0.45, "eof", b""), (0.45, "lost", b"")]

    run_virtual(main, link=Link(up=Direction(delay_s=0.1), down=Direction(delay_s=0.2)))


def test_jitter_keeps_order_and_repeats_with_the_seed() -> None:
    """Segments never overtake each other, and one seed gives one history."""

    async def main() -> list[tuple[float, str, bytes]]:
        client, server = await pair()
        for i in range(200):
            client.transport.write(b"%04d" % i)
            await asyncio.sleep(0.001)
        client.transport.close()
        await server.lost
        return server.events

    link = Link(up=Direction(jitter_s=0.05))
    first, again, other = (run_virtual(main, seed=seed, link=link) for seed in (1, 1, 2))
    pieces = [data for _, kind, data in first if kind == "data"]
    assert pieces == [b"%04d" % i for i in range(200)]
    assert all(a[0] <= b[0] for a, b in pairwise(first))
    assert first == again
    assert first != other


def test_a_paused_reader_stops_the_writer() -> None:
    """What is unread fills the window, then the writer's buffer, and pauses it; reading on lets everything through."""

    async def main() -> None:
        client, server = await pair()
        server.transport.pause_reading()
        client.transport.write(b"x" * 300_000)
        await asyncio.sleep(1)
        assert client.pauses == [True]
        assert client.transport.get_write_buffer_size() == 300_000 - 65536
        assert server.data == b""
        server.transport.resume_reading()
        await asyncio.sleep(1)
        assert client.pauses == [True, False]
        assert client.transport.get_write_buffer_size() == 0
        assert len(server.data) == 300_000

    run_virtual(main)


def test_segments() -> None:
    """A link may hand over byte by byte."""

    async def main() -> None:
        client, server = await pair()
        client.transport.write(b"abc")
        await asyncio.sleep(1)
        assert [data for _, _, data in server.events] == [b"a", b"b", b"c"]

    run_virtual(main, link=Link(up=Direction(segment_bytes=1)))


def test_a_cut_resets_both_ends_after_exactly_so_many_bytes() -> None:
    """The receiver has the bytes before the cut and no more; both ends see a reset."""

    async def main() -> None:
        client, server = await pair()
        server.transport.write(b"x" * 60)
        server.transport.write(b"y" * 60)
        assert isinstance(await client.lost, ConnectionResetError)
        assert isinstance(await server.lost, ConnectionResetError)
        assert client.data == b"x" * 60 + b"y" * 40

    run_virtual(main, link=Link(down=Direction(cut_after_bytes=100)))


def test_a_stall_passes_nothing_more_and_tells_nobody() -> None:
    """After a stall neither data nor the end arrives, for ever."""

    async def main() -> None:
        client, server = await pair()
        server.transport.write(b"x" * 200)
        server.transport.abort()
        await asyncio.sleep(3600)
        assert client.data == b"x" * 100
        assert not client.lost.done()

    run_virtual(main, link=Link(down=Direction(stall_after_bytes=100)))


def test_half_close_lets_the_other_way_live() -> None:
    """After write_eof the peer sees an end of file and may still answer."""

    class Late(Sink):
        """Answers the end of file, then closes."""

        def eof_received(self) -> bool:
            self.transport.write(b"bye")
            return super().eof_received()

    async def main() -> None:
        client, server = await pair(Late)
        client.transport.write(b"hi")
        client.transport.write_eof()
        with pytest.raises(RuntimeError):
            client.transport.write(b"more")
        assert await client.lost is None
        assert (client.data, server.data) == (b"bye", b"hi")

    run_virtual(main)


def test_abort_and_writing_to_a_closed_peer_are_resets() -> None:
    """An abort reaches the peer as a reset, and so does writing to a peer that has closed."""

    async def main() -> None:
        client, server = await pair()
        client.transport.abort()
        assert isinstance(await server.lost, ConnectionResetError)
        client, server = await pair()
        server.transport.write(b"unread")
        client.transport.close()
        assert await client.lost is None
        server.transport.write(b"into nothing")
        await server.lost

    run_virtual(main, link=Link(up=Direction(delay_s=0.1), down=Direction(delay_s=0.1)))


def test_nobody_listens() -> None:
    """Connecting to a port without a listener is refused, also after the listener has closed."""

    async def main() -> None:
        server = await virtual().create_server(Sink, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await virtual().create_connection(Sink, host, port)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", 1)

    run_virtual(main)


def relay(dialer: Http1Dialer, origin: Origin) -> Handler:
    """A handler that passes a stream on: the smallest gateway."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        answer = await dialer.send(origin, "POST", request_.path, [], await request_.body())
        with answer:
            reply.start(answer.status, [("content-type", answer.headers["content-type"])])
            try:
                async for piece in answer:
                    await reply.write(piece)
            except ConnectionLost:
                reply.abort()
            else:
                await reply.end()

    return handler


def through_a_gateway(seed: int, link: Callable[[int, int], Link]) -> tuple[float, bytes, str]:
    """Client, our server, our client and the scripted upstream, all as bytes: end time, the bytes seen, the pool."""

    async def main() -> tuple[float, bytes, str]:
        async with ScriptedUpstream(lambda _: stream(["a", "b", "c"], delay_s=1.0)) as up:
            dialer = Http1Dialer()
            handler = relay(dialer, Origin.parse(up.url, private=True))
            async with front_door(handler) as door:
                got = await exchange(door.port, request("POST", "/v1/chat/completions", b"{}", "Connection: close"))
                ended = virtual().time()
            pool = repr(dialer)
            await dialer.close()
            return ended, got, pool

    return run_virtual(main, seed=seed, link=link)


def test_the_real_server_and_client_run_as_bytes_on_virtual_time() -> None:
    """A stream passes through the real server and client with its delays, the same for the same seed."""
    slow = Link(up=Direction(delay_s=0.01, jitter_s=0.02), down=Direction(delay_s=0.01, jitter_s=0.02))
    first, again, other = (through_a_gateway(seed, lambda _, __: slow) for seed in (7, 7, 8))
    assert first == again
    assert first[0] != other[0]
    said = [re.findall(rb"data: .*", one[1]) for one in (first, other)]  # how they are framed follows from the delays
    assert said[0] == said[1] != []
    assert 3.08 < first[0] < 3.5
    assert b"[DONE]" in first[1]
    assert first[1].endswith(b"\r\n0\r\n\r\n")
    assert first[2].endswith("0 active, 1 idle]>")


def test_an_upstream_cut_on_the_link_reaches_the_client_as_a_cut() -> None:
    """If the upstream's bytes break off, our client gets what came and no last chunk, and nothing stays open."""

    def link(port: int, nth: int) -> Link:
        return Link(down=Direction(cut_after_bytes=900)) if port == 20_000 else Link()

    ended, got, pool = through_a_gateway(3, link)
    assert b'"content":"a"' in got
    assert b"[DONE]" not in got
    assert not got.endswith(b"0\r\n\r\n")
    assert pool == "<Http1Dialer []>"
    assert ended < 3.1

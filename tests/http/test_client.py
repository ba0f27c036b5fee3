"""The upstream client."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.frontdoor import LOOPS
from support.upstream import (
    Close,
    Cut,
    Data,
    Delay,
    Hang,
    Head,
    Pause,
    Raw,
    ScriptedUpstream,
    Seen,
    Step,
    answer,
    completion,
    sequence,
    stream,
)
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialer import (
    Answer,
    ConnectFailed,
    ConnectionLost,
    Dialer,
    MalformedAnswer,
    Origin,
    UpstreamError,
)
from trimtab.surfaces.twin import Direction, Link, VirtualLoop, run_virtual

on_each_loop = pytest.mark.parametrize("loop", list(LOOPS))
Ask = Callable[[], Awaitable[Answer]]


@asynccontextmanager
async def calling(
    script: Callable[[Seen], Iterable[Step]] | Iterable[Step], dialer: Http1Dialer | None = None
) -> AsyncIterator[tuple[ScriptedUpstream, Http1Dialer, Ask]]:
    """An upstream that plays the script, a dialer, and a way to ask it; no connection may be left in use."""
    steps = script if callable(script) else lambda _: script
    dialer = dialer or Http1Dialer()
    async with ScriptedUpstream(steps) as up:
        origin = Origin.parse(up.url, private=True)

        async def ask() -> Answer:
            return await dialer.send(origin, "POST", "/v1/x", [("x-a", "b")], b"{}")

        yield up, dialer, ask
        assert " 0 active" in repr(dialer) or repr(dialer) == "<Http1Dialer []>"
        await dialer.close()
        assert repr(dialer) == "<Http1Dialer []>"
        await up.connections(0)


async def body_of(asked: Awaitable[Answer]) -> bytes:
    """The whole body."""
    return await (await asked).read_all(1 << 24)


def pool(up: ScriptedUpstream, active: int, idle: int) -> str:
    """What the dialer's repr must be."""
    return f"<Http1Dialer [127.0.0.1:{up.port}: {active} active, {idle} idle]>"


def test_the_request_as_the_upstream_sees_it() -> None:
    """Headers as given, plus exactly Host, Content-Length and identity encoding."""

    async def main() -> None:
        async with calling(answer({})) as (up, _, ask):
            await body_of(ask())
            seen = up.requests[0]
            assert (seen.method, seen.path, seen.body) == ("POST", "/v1/x", b"{}")
            expected = {
                "host": f"127.0.0.1:{up.port}",
                "content-length": "2",
                "accept-encoding": "identity",
                "x-a": "b",
            }
            assert seen.headers == expected

    run_virtual(main)


@on_each_loop
def test_a_connection_is_used_again(loop: str) -> None:
    """Answers read to their end give the connection back; the pool says so at each step."""

    async def main() -> None:
        go = asyncio.Event()
        async with calling([Head(), Data(b"a"), Pause(go), Data(b"b")]) as (up, dialer, ask):
            for n in range(3):
                got = await ask()
                assert await got.read_some() == b"a"
                assert repr(dialer) == pool(up, 1, 0)
                go.set()
                assert [await got.read_some(), await got.read_some(), await got.read_some()] == [b"b", b"", b""]
                assert repr(dialer) == pool(up, 0, 1)
                got.close()
                got.close()
                assert repr(dialer) == pool(up, 0, 1)
                assert up.accepted == 1, n
                go.clear()

    LOOPS[loop](main)


def test_the_youngest_idle_connection_is_taken_and_the_oldest_dropped() -> None:
    """Last in, first out, so that the pool shrinks by itself; above `max_idle` the oldest is closed."""

    async def main() -> None:
        async with calling([Head(), Delay(1)], Http1Dialer(max_idle=2)) as (up, dialer, ask):
            await asyncio.gather(*(body_of(ask()) for _ in range(3)))
            assert repr(dialer) == pool(up, 0, 2)
            await up.connections(2)
            for _ in range(5):
                await body_of(ask())
            assert repr(dialer) == pool(up, 0, 1)  # the other one has been idle for more than four seconds
            assert up.accepted == 3

    run_virtual(main)


@pytest.mark.parametrize(
    ("header", "lives_s"),
    [
        (None, 4),
        ("timeout=5, max=100", 4),
        ("timeout=75", 74),
        ("max=100,timeout=3", 2),
        ("timeout=1", 0),
        ("timeout=0", 0),
        ("timeout=x, max", 4),
        ("timeout=-1", 4),
    ],
)
def test_idle_connections_are_given_up_before_the_peer_does(header: str | None, lives_s: int) -> None:
    """Kept for 4 s, or for a second less than `Keep-Alive` says; then closed without being asked for."""
    extra = () if header is None else (("keep-alive", header),)

    async def main() -> None:
        async with calling(answer({}, headers=extra)) as (up, dialer, ask):
            await body_of(ask())
            if lives_s:
                assert repr(dialer) == pool(up, 0, 1)
                await asyncio.sleep(lives_s - 0.1)
                await body_of(ask())
                assert up.accepted == 1
                await asyncio.sleep(lives_s + 0.1)
            assert repr(dialer) == "<Http1Dialer []>"
            await body_of(ask())
            assert up.accepted == 2

    run_virtual(main)


def test_a_connection_serves_one_request_less_than_the_peer_allows() -> None:
    """`max=5`: the fifth request goes out on a new connection, and `max=1` means no reuse."""

    async def main() -> None:
        async with calling(answer({}, headers=[("keep-alive", "timeout=5, max=5")])) as (up, _, ask):
            for _ in range(8):
                await body_of(ask())
            assert up.accepted == 2
        async with calling(answer({}, headers=[("keep-alive", "max=1")])) as (up, _, ask):
            for _ in range(3):
                await body_of(ask())
            assert up.accepted == 3

    run_virtual(main)


@on_each_loop
@pytest.mark.parametrize(
    "last",
    [answer({}, headers=[("connection", "close")]), [*answer({}), Raw(b"HTTP/1.1 200 OK\r\n")], [*answer({}), Close()]],
)
def test_a_connection_that_is_no_good_is_not_used_again(loop: str, last: list[Step]) -> None:
    """After `Connection: close`, unasked bytes or an end of file the next request goes out on a new connection."""

    async def main() -> None:
        async with calling(last) as (up, _, ask):
            assert await body_of(ask()) == b"{}"
            await up.connections(0)
            assert await body_of(ask()) == b"{}"
            assert up.accepted == 2

    LOOPS[loop](main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_end_of_file_that_the_loop_has_not_seen_yet_is_seen_by_the_pool(loop: str) -> None:
    """Before reuse the socket itself is asked: a request is not sent into a connection that the peer has closed."""

    async def main() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        running = asyncio.get_running_loop()
        dialer = Http1Dialer()
        origin = Origin("http", "127.0.0.1", listening.getsockname()[1], private=True)

        async def serve() -> socket.socket:
            accepted, _ = await running.sock_accept(listening)
            await running.sock_recv(accepted, 65536)
            await running.sock_sendall(accepted, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
            return accepted

        first, _ = await asyncio.gather(serve(), body_of(dialer.send(origin, "GET", "/", [], b"")))
        first.close()  # and in the same turn of the loop:
        second, got = await asyncio.gather(serve(), body_of(dialer.send(origin, "GET", "/", [], b"")))
        assert got == b"x"
        second.close()
        listening.close()
        await dialer.close()

    LOOPS[loop](main)


@on_each_loop
def test_what_has_come_is_handed_on_at_once(loop: str) -> None:
    """Nothing waits for what has not come yet, and chunks that came together are one piece."""

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        steps: list[Step] = [Head()]
        for n, gate in enumerate(gates):
            steps += [Data(b"%d" % n), Data(b"+"), Pause(gate)]
        async with calling(steps) as (_, _, ask):
            got = await ask()
            for n, gate in enumerate(gates):
                came = b""
                while came != b"%d+" % n:
                    came += await got.read_some()
                gate.set()
            assert await got.read_some() == b""

    LOOPS[loop](main)


BODY = bytes(range(256)) * 5000
FRAMES: dict[str, list[Step]] = {
    "length": [Head(200, (("content-length", str(len(BODY))),)), Raw(BODY)],
    "chunks": [Head(), *(Data(BODY[at : at + 999]) for at in range(0, len(BODY), 999))],
    "one chunk, extension, trailer": [
        Head(200, (("transfer-encoding", "chunked"),)),
        Raw(b"%x;a=b\r\n" % len(BODY) + BODY + b"\r\n0\r\nx-t: 1\r\n\r\n"),
    ],
    "until close": [Raw(b"HTTP/1.1 200 OK\r\n\r\n"), Raw(BODY), Close()],
    "http/1.0": [Raw(b"HTTP/1.0 200 OK\r\n\r\n"), Raw(BODY), Close()],
    "after interim answers": [
        Raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        Head(200, (("content-length", str(len(BODY))),)),
        Raw(BODY),
    ],
}


@pytest.mark.parametrize("frame", list(FRAMES))
def test_framings_in_any_segments(frame: str) -> None:
    """By length, in chunks and until the connection's end, the body is the one that was sent."""

    async def main() -> None:
        async with calling(FRAMES[frame]) as (_, _, ask):
            for _ in range(2):
                got = await ask()
                assert got.status == 200
                assert "link" not in got.headers
                assert await got.read_all(1 << 24) == BODY

    for segment in (65536, 777):
        run_virtual(main, link=Link(down=Direction(segment_bytes=segment)))
    for loop in ("asyncio", "uvloop"):
        LOOPS[loop](main)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    """204 and 304 end with their head, and the connection is kept."""

    async def main() -> None:
        async with calling([Head(status)]) as (up, _, ask):
            for _ in range(2):
                got = await ask()
                assert (got.status, await got.read_some()) == (status, b"")
            assert up.accepted == 1

    run_virtual(main)


@on_each_loop
@pytest.mark.parametrize(
    ("steps", "received"),
    [
        ([Close()], False),
        ([Cut()], False),
        ([Raw(b"HTTP/1.1 2"), Close()], True),
        ([Raw(b"HTTP/1.1 100 Continue\r\n\r\n"), Close()], True),
    ],
)
def test_a_connection_lost_before_the_head(loop: str, steps: list[Step], received: bool) -> None:
    """`send` raises ConnectionLost and says that the request was sent, and whether anything came back."""

    async def main() -> None:
        async with calling(steps) as (_, _, ask):
            with pytest.raises(ConnectionLost) as caught:
                await ask()
            assert (caught.value.sent, caught.value.received) == (True, received)

    LOOPS[loop](main)


@on_each_loop
@pytest.mark.parametrize(
    "steps",
    [
        [Head(), Data(b"abc"), Close()],
        [Head(), Data(b"abc"), Raw(b"5\r\nab"), Close()],
        [Head(200, (("content-length", "4"),)), Raw(b"abc"), Close()],
    ],
)
def test_a_body_cut_before_its_end(loop: str, steps: list[Step]) -> None:
    """What came is handed on, then ConnectionLost is raised, each time: a cut body never looks whole."""

    async def main() -> None:
        async with calling(steps) as (_, _, ask):
            got = await ask()
            assert (await got.read_some()).startswith(b"abc")
            for _ in range(2):
                with pytest.raises(ConnectionLost, match="middle") as caught:
                    while await got.read_some():
                        pass
            assert (caught.value.sent, caught.value.received) == (True, True)

    LOOPS[loop](main)


def test_a_reset_is_no_end_of_a_body_that_ends_with_its_connection() -> None:
    """Without length or chunks only a clean end of file is the end."""

    async def main() -> None:
        async with calling([Raw(b"HTTP/1.1 200 OK\r\n\r\nabc"), Delay(1), Cut()]) as (_, _, ask):
            got = await ask()
            assert await got.read_some() == b"abc"
            with pytest.raises(ConnectionLost):
                await got.read_some()

    run_virtual(main)


@pytest.mark.parametrize(
    "raw",
    [
        b"HELLO\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 5_000,
    ],
)
def test_malformed_heads(raw: bytes) -> None:
    """What is not an unambiguous HTTP/1.1 head, or is endless, raises MalformedAnswer and closes the connection."""

    async def main() -> None:
        async with calling([Raw(raw), Hang()]) as (_, dialer, ask):
            with pytest.raises(MalformedAnswer):
                await ask()
            assert repr(dialer) == "<Http1Dialer []>"

    run_virtual(main)


@pytest.mark.parametrize(
    "raw",
    [
        b"zz\r\n",
        b"-3\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\nabc\n",
        b"fffffffffffffffff\r\n",
        b"3;" + b"x" * 70_000,
        b"0\r\n" + b"A: b\r\n" * 20_000,
    ],
)
def test_malformed_chunks(raw: bytes) -> None:
    """Broken or endless framing inside a body raises MalformedAnswer from the read, after what was good."""

    async def main() -> None:
        async with calling([Head(), Data(b"good"), Raw(raw), Hang()]) as (_, dialer, ask):
            got = await ask()
            assert (await got.read_some()).startswith(b"good")
            with pytest.raises(MalformedAnswer):
                await got.read_all(1 << 20)
            assert repr(dialer) == "<Http1Dialer []>"

    run_virtual(main)


def test_many_small_chunks_are_no_fault() -> None:
    """Framing is bounded in proportion: a long stream of single bytes passes."""

    async def main() -> None:
        async with calling([Head(), *[Data(b"x")] * 50_000]) as (_, _, ask):
            assert len(await body_of(ask())) == 50_000

    run_virtual(main)


def test_read_all_is_bounded() -> None:
    """A body larger than asked for raises and closes, it is not collected."""

    async def main() -> None:
        async with calling([Head(), Data(b"x" * 100), Hang()]) as (up, dialer, ask):
            with pytest.raises(MalformedAnswer, match="99 bytes"):
                await (await ask()).read_all(99)
            assert repr(dialer) == "<Http1Dialer []>"
            await up.hung_up()

    run_virtual(main)


@on_each_loop
def test_a_slow_reader_holds_the_upstream_back(loop: str) -> None:
    """At most the read-ahead is buffered: the upstream's writes stop until we read on, and nothing is lost."""

    async def main() -> None:
        async with calling([Head(), *[Data(b"x" * 10_000)] * 2000]) as (up, dialer, ask):
            got = await ask()
            connection = next(iter(up._open))
            while connection.drained.is_set():
                await asyncio.sleep(0)
            assert repr(dialer) == pool(up, 1, 0)
            assert got._unread <= 65536 + 256 * 1024  # type: ignore[attr-defined]  # one read beyond the mark
            assert len(await got.read_all(1 << 25)) == 20_000_000

    LOOPS[loop](main)


@on_each_loop
@pytest.mark.parametrize("how", ["close", "with", "cancel the read", "cancel send", "close the dialer"])
def test_a_hang_up_reaches_the_upstream(loop: str, how: str) -> None:
    """However we stop, before or inside the answer, the upstream sees it at once and nothing is left in the pool."""

    async def main() -> None:
        steps: list[Step] = [Hang()] if how == "cancel send" else [Head(), Data(b"a"), Hang()]
        async with calling(steps) as (up, dialer, ask):
            task: asyncio.Task[object]
            if how == "cancel send":
                task = asyncio.ensure_future(ask())  # type: ignore[arg-type]
                await up.asked()
            else:
                got = await ask()
                assert await got.read_some() == b"a"
                task = asyncio.ensure_future(got.read_some())  # type: ignore[arg-type]
                await asyncio.sleep(0)
            if how == "close":
                got.close()
            elif how == "with":
                with got:
                    pass
            elif how == "close the dialer":
                await dialer.close()
            else:
                task.cancel()
            kind = asyncio.CancelledError if how.startswith("cancel") else ConnectionLost
            with pytest.raises(kind):
                await task
            assert repr(dialer) == "<Http1Dialer []>"
            await up.hung_up()

    LOOPS[loop](main)


def test_cancelling_send_in_the_turn_of_its_answer_harms_nobody() -> None:
    """A cancellation that meets a whole answer leaves the pool right, even if another request has the connection."""

    async def main() -> None:
        go = asyncio.Event()
        script = sequence([*answer({"n": 1})], [Head(), Data(b"second"), Pause(go)])
        async with calling(script) as (up, dialer, ask):
            first = asyncio.ensure_future(ask())
            while " 0 active, 1 idle" not in repr(dialer):  # whole, its task has not run yet
                await asyncio.sleep(0)
            second = asyncio.ensure_future(ask())
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            got = await second
            assert await got.read_some() == b"second"
            assert repr(dialer) == pool(up, 1, 0)
            go.set()
            assert await got.read_some() == b""

    run_virtual(main)


def test_cancelling_while_connecting() -> None:
    """A cancelled connect leaves neither a connection nor a place in the pool."""

    async def main() -> None:
        async with calling(answer({})) as (up, dialer, ask):
            for after_s in (0.0, 0.5, 1.5, 1.999):
                task = asyncio.ensure_future(ask())
                await asyncio.sleep(after_s)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert repr(dialer) == "<Http1Dialer []>"
            await asyncio.sleep(5)
            assert up.open_connections == 0

    run_virtual(main, link=Link(up=Direction(delay_s=1), down=Direction(delay_s=1)))


def test_connecting_has_a_time_limit() -> None:
    """A peer that does not answer the connect is ConnectFailed after the limit."""

    async def main() -> None:
        async with calling(answer({}), Http1Dialer(connect_timeout_s=1.5)) as (_, _, ask):
            with pytest.raises(ConnectFailed, match=r"1\.5 s"):
                await ask()
            assert asyncio.get_running_loop().time() == pytest.approx(1.5)

    run_virtual(main, link=Link(up=Direction(delay_s=1), down=Direction(delay_s=1)))


@on_each_loop
def test_nobody_listens(loop: str) -> None:
    """A refused connect is ConnectFailed, which is an UpstreamError, and a closed dialer says so."""

    async def main() -> None:
        async with ScriptedUpstream() as up:
            origin = Origin.parse(up.url, private=True)
        dialer: Dialer = Http1Dialer()
        with pytest.raises(ConnectFailed) as caught:
            await dialer.send(origin, "GET", "/", [], b"")
        assert isinstance(caught.value, UpstreamError)
        await dialer.close()
        with pytest.raises(ConnectFailed, match="closed"):
            await dialer.send(origin, "GET", "/", [], b"")

    LOOPS[loop](main)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", [("a", "b\r\nc: d")]),
        ("GET", "/", [("a", "b\nc")]),
        ("GET", "/", [("a\r\n", "b")]),
        ("GET", "/", [("a", "b\0")]),
        ("GET", "/", [("a:b", "c")]),
        ("GET", "/", [("", "c")]),
        ("GET", "/", [("a ", "c")]),
        ("GET", "/", [("Host", "x")]),
        ("GET", "/", [("Content-Length", "1")]),
        ("GET", "/", [("Transfer-Encoding", "chunked")]),
        ("GET", "/", [("Connection", "close")]),
        ("GET", "/a b", []),
        ("GET", "/a\r\nb: c", []),
        ("GET", "http://x/", []),
        ("GET", "/\u00e9", []),
        ("GET", "", []),
        ("HEAD", "/", []),
        ("CONNECT", "/", []),
        ("GET /", "/", []),
        ("get", "/", []),
    ],
)
def test_requests_that_would_be_read_as_something_else(method: str, path: str, headers: list[tuple[str, str]]) -> None:
    """ValueError, and not a byte leaves."""

    async def main() -> None:
        async with ScriptedUpstream() as up:
            dialer = Http1Dialer()
            with pytest.raises(ValueError):
                await dialer.send(Origin.parse(up.url, private=True), method, path, headers, b"")
            assert up.accepted == 0

    run_virtual(main)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://a", "http://a:80"),
        ("https://a/v1", "https://a:443"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://[::1]:81", "http://[::1]:81"),
    ],
)
def test_origins(url: str, key: str) -> None:
    """An origin is scheme, host and port, whatever the path."""
    assert Origin.parse(url).key == key


@pytest.mark.parametrize("url", ["", "ftp://a", "a:80", "http://", "http://u:p@a", "http://a:99999"])
def test_no_origins(url: str) -> None:
    """Anything else is a ValueError: credentials in an address would end up in logs."""
    with pytest.raises(ValueError):
        Origin.parse(url)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_answer_before_the_request_is_sent_ends_the_connection(loop: str) -> None:
    """If the upstream answers before it has read our body, the answer counts and the connection is not kept."""

    async def main() -> None:
        hung_up = asyncio.Event()
        listening = await asyncio.start_server(lambda r, w: early(r, w, hung_up), "127.0.0.1", 0)
        dialer = Http1Dialer()
        origin = Origin("http", "127.0.0.1", listening.sockets[0].getsockname()[1], private=True)
        got = await dialer.send(origin, "POST", "/", [], b"x" * 20_000_000)
        assert (got.status, await got.read_all(99)) == (413, b"no")
        assert repr(dialer) == "<Http1Dialer []>"
        await hung_up.wait()
        await dialer.close()
        listening.close()

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hung_up: asyncio.Event) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        writer.transport.abort()
        hung_up.set()

    LOOPS[loop](main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls(loop: str) -> None:
    """TLS works with a trusted certificate, its connection is kept, and an untrusted one or a wrong name is refused."""
    here = Path(__file__).parent / "tls"
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(here / "cert.pem", here / "key.pem")

    async def main() -> None:
        async with ScriptedUpstream(lambda _: stream(["a"]), tls=serving) as up:
            trusting = Http1Dialer(tls=ssl.create_default_context(cafile=str(here / "cert.pem")))
            origin = Origin("https", "127.0.0.1", up.port, private=True)
            for _ in range(2):
                got = await trusting.send(origin, "GET", "/", [], b"")
                assert b"[DONE]" in await got.read_all(1 << 20)
            assert repr(trusting) == pool(up, 0, 1)
            assert up.accepted == 1
            await trusting.close()
            strict = Http1Dialer()
            with pytest.raises(ConnectFailed, match=r"(?i)certificate"):
                await strict.send(origin, "GET", "/", [], b"")
            assert repr(strict) == "<Http1Dialer []>"
            await strict.close()

    LOOPS[loop](main)


def test_the_default_script_is_an_openai_server() -> None:
    """The scripted upstream answers chats, streams with usage, and cuts at max_tokens, as the other tests rely on."""

    async def main() -> None:
        async with ScriptedUpstream() as up:
            dialer = Http1Dialer()
            origin = Origin.parse(up.url, private=True)
            asked = b'{"model":"m","messages":[{"role":"user","content":"a b c"}],"max_tokens":2,"n":2}'
            got = await body_of(dialer.send(origin, "POST", "/v1/chat/completions", [], asked))
            assert b'"finish_reason":"length"' in got
            assert b'"prompt_tokens":3,"completion_tokens":4' in got
            asked = b'{"stream":true,"stream_options":{"include_usage":true},"messages":[{"content":"a b"}]}'
            got = await body_of(dialer.send(origin, "POST", "/v1/chat/completions", [], asked))
            assert got.count(b"data: ") == 1 + 3 + 1 + 1 + 1
            assert got.endswith(b"data: [DONE]\n\n")
            assert completion("x y")["usage"]["completion_tokens"] == 2
            await dialer.close()

    run_virtual(main)


def test_a_connection_that_is_lost_before_it_is_used_is_a_hang_up() -> None:
    """Where the gateway stood still between connecting and sending, the connection may be gone by then: that is an
    upstream's fault, which another replica may mend, and not one of ours."""

    class Late(VirtualLoop):
        async def create_connection(self, *args: Any, **more: Any) -> tuple[asyncio.Transport, Any]:
            made = await super().create_connection(*args, **more)
            made[0].abort()
            await asyncio.sleep(1)
            return made

    async def main() -> None:
        async with ScriptedUpstream() as up:
            dialer = Http1Dialer()
            with pytest.raises(ConnectionLost) as lost:
                await dialer.send(Origin.parse(up.url, private=True), "POST", "/v1/chat/completions", [], b"{}")
            assert not lost.value.sent
            await dialer.close()

    with asyncio.Runner(loop_factory=Late) as runner:
        runner.run(main())

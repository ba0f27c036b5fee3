"""What goes out: framing, back-pressure, cuts, and what is sent where a handler fails."""

from __future__ import annotations

import asyncio
import socket

import pytest

from support.frontdoor import LOOPS, front_door, whole
from support.rawhttp import RawAnswer, RawClient, exchange, request
from trimtab.core.errors import Code
from trimtab.surfaces.server import Handler, HttpError, HttpReply, HttpRequest
from trimtab.surfaces.twin import run_virtual

on_each_loop = pytest.mark.parametrize("loop", list(LOOPS))


class Recorder(asyncio.Protocol):
    """A client that keeps each read apart."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def writes_of(handler: Handler, sent: bytes) -> list[bytes]:
    """Each write of the server on one connection: in memory every write arrives by itself."""

    async def main() -> list[bytes]:
        async with front_door(handler) as door:
            loop = asyncio.get_running_loop()
            transport, client = await loop.create_connection(Recorder, "127.0.0.1", door.port)
            transport.write(sent)
            await client.lost
            return client.reads

    return run_virtual(main)


def ask(handler: Handler, *sent: bytes, method: str = "GET") -> RawAnswer:
    """The first answer on a connection of its own."""

    async def main() -> RawAnswer:
        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(*sent or (request(method, "/"),))
            return await client.answer(method)

    return run_virtual(main)


CLOSE = request("GET", "/", b"", "Connection: close")


def test_head_and_small_body_are_one_write() -> None:
    """An answer of known length leaves in a single write."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        await whole(reply, b"body")

    assert writes_of(handler, CLOSE) == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody"]


def test_each_write_of_a_stream_is_one_chunk_and_leaves_within_the_turn() -> None:
    """The head leaves with the first piece; later pieces are one chunk each, empty ones none. What is written in one
    turn of the loop is sent in one go, and nothing waits for the next turn."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        reply.start(200, [("content-type", "text/event-stream")])
        await reply.write(b"a" * 17)
        await reply.write(b"")
        await reply.write(b"b")
        await asyncio.sleep(0)
        await reply.write(b"c")
        await asyncio.sleep(0)
        await reply.end()

    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    chunks = [b"11\r\n" + b"a" * 17 + b"\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"]
    assert writes_of(handler, CLOSE) == [head + chunks[0] + chunks[1], *chunks[2:]]


def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    """A stream whose first piece takes long shows its head at once."""

    async def main() -> None:
        go = asyncio.Event()

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            reply.start(200, [])
            await go.wait()
            await reply.end()

        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("GET", "/"))
            assert (await client.head()).status == 200
            go.set()
            assert await client.chunk() == b""

    run_virtual(main)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    """204 and 304 have neither body nor framing, and the connection lives on."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        reply.start(status, [("x-a", "b")])
        await reply.write(b"dropped")
        await reply.end()

    async def main() -> None:
        async with front_door(handler) as door, RawClient(door.port) as client:
            for _ in range(2):
                client.send(request("GET", "/"))
                assert (await client.answer()).headers == {"x-a": "b"}

    run_virtual(main)


def test_head_has_the_headers_of_get_and_no_body() -> None:
    """HEAD gets the length that GET would have, and nothing behind the head."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        await whole(reply, b"body")

    async def main() -> None:
        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("HEAD", "/"), request("GET", "/"))
            assert (await client.answer("HEAD")).headers == {"content-length": "4"}
            assert (await client.answer()).body == b"body"

    run_virtual(main)


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "b\r\nset-cookie: c"),
        ("x-a", "b\nc"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        ("x\r\n-a", "b"),
        ("x-a", "\u20ac"),
        ("transfer-encoding", "chunked"),
        ("content-length", "+4"),
        ("content-length", "4, 4"),
        ("content-length", "\u0664"),
    ],
)
def test_headers_that_would_split_or_reframe_the_answer(header: tuple[str, str]) -> None:
    """`start` raises ValueError, nothing of the answer has left, and the client gets a clean 500."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        with pytest.raises(ValueError):
            reply.start(200, [("x-before", "1"), header])
        assert not reply.started
        raise RuntimeError

    answer = ask(handler)
    assert answer.status == 500
    assert "set-cookie" not in answer.headers
    assert "x-before" not in answer.headers


@pytest.mark.parametrize("status", [100, 101, 199, 600, 0])
def test_only_final_statuses(status: int) -> None:
    """An interim or invented status is refused by `start`."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        with pytest.raises(ValueError, match="final"):
            reply.start(status, [])
        await whole(reply, b"")

    assert ask(handler).status == 200


def test_an_application_may_close_the_connection() -> None:
    """`connection: close` from the handler is said once and done."""

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        reply.start(503, [("content-length", "0"), ("Connection", "close")])
        await reply.end()

    async def main() -> bytes:
        async with front_door(handler) as door:
            return await exchange(door.port, request("GET", "/"))

    assert run_virtual(main) == b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def raises_before(request_: HttpRequest, reply: HttpReply) -> None:
    """Fails before it has started."""
    raise ZeroDivisionError("secret detail")


async def returns_early(request_: HttpRequest, reply: HttpReply) -> None:
    """Returns and has said nothing."""


async def refuses(request_: HttpRequest, reply: HttpReply) -> None:
    """Lets a protocol error through."""
    raise HttpError(Code.OVERLOADED, "late")


async def cancels_itself(request_: HttpRequest, reply: HttpReply) -> None:
    """Is cancelled by something else than a hang-up."""
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("handler", "status", "kind"),
    [
        (raises_before, 500, ZeroDivisionError),
        (returns_early, 500, RuntimeError),
        (refuses, 503, HttpError),
        (cancels_itself, 500, asyncio.CancelledError),
    ],
)
def test_a_handler_that_fails_before_its_answer(handler: Handler, status: int, kind: type[BaseException]) -> None:
    """The failure is reported once, and the client gets our error body without its details, on a live connection."""

    async def main() -> None:
        async with front_door(handler) as door, RawClient(door.port) as client:
            for n in range(2):
                client.send(request("GET", "/"))
                answer = await client.answer()
                assert answer.status == status
                assert answer.json["error"]["code"] in ("internal_error", "overloaded")
                assert b"secret" not in answer.body
                assert len(door.errors) == n + 1
                assert isinstance(door.errors[n][1], kind)

    run_virtual(main)


async def raises_inside(request_: HttpRequest, reply: HttpReply) -> None:
    """Fails in the middle of a stream."""
    reply.start(200, [])
    await reply.write(b"abc")
    raise ZeroDivisionError


async def leaves_inside(request_: HttpRequest, reply: HttpReply) -> None:
    """Forgets to end its stream."""
    reply.start(200, [])
    await reply.write(b"abc")


async def too_short(request_: HttpRequest, reply: HttpReply) -> None:
    """Promises more than it sends."""
    reply.start(200, [("content-length", "4")])
    await reply.write(b"abc")
    await reply.end()


async def too_long(request_: HttpRequest, reply: HttpReply) -> None:
    """Sends more than it promised."""
    reply.start(200, [("content-length", "4")])
    await reply.write(b"abc")
    await reply.write(b"de")


@on_each_loop
@pytest.mark.parametrize("handler", [raises_inside, leaves_inside, too_short, too_long])
def test_a_handler_that_fails_inside_its_answer(loop: str, handler: Handler) -> None:
    """The transfer is cut: the client has what was written, sees that it is not whole, and we report it."""

    async def main() -> None:
        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("GET", "/"))
            answer = await client.answer()
            assert (answer.status, answer.body, answer.whole) == (200, b"abc", False)
            assert len(door.errors) == 1

    LOOPS[loop](main)


@on_each_loop
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_abort_is_seen_as_an_error(loop: str, version: str) -> None:
    """`abort` ends the connection without the last chunk, and by a reset where only the end would mark the end."""
    seen: list[bool] = []

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        reply.start(200, [])
        await reply.write(b"abc")
        await request_.body()
        reply.abort()
        reply.abort()
        seen.append(reply.ended)

    async def main() -> None:
        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            answer = await client.answer()
            assert not answer.whole
            assert door.errors == []

    LOOPS[loop](main)
    assert seen == [True]


@on_each_loop
def test_write_waits_for_a_slow_client(loop: str) -> None:
    """A client that does not read holds the handler back within the write buffer; reading lets it go on."""

    async def main() -> None:
        written = 0
        stuck = asyncio.Event()

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            nonlocal written
            reply.start(200, [])
            for _ in range(2000):
                pending = asyncio.ensure_future(reply.write(b"x" * 10_000))
                await asyncio.sleep(0)
                if not pending.done():
                    stuck.set()
                await pending
                written += 10_000
            await reply.end()

        async with front_door(handler) as door, RawClient(door.port) as client:
            client.transport.pause_reading()
            client.send(request("GET", "/"))
            await stuck.wait()
            assert written < 15_000_000
            client.transport.resume_reading()
            assert len((await client.answer()).body) == 20_000_000

    LOOPS[loop](main)


def test_misuse_is_an_error() -> None:
    """Starting twice, writing before the start or after the end, and ending twice raise RuntimeError."""
    raised = 0

    async def handler(request_: HttpRequest, reply: HttpReply) -> None:
        nonlocal raised

        async def must_raise(call: object) -> None:
            nonlocal raised
            with pytest.raises(RuntimeError):
                await call()  # type: ignore[operator]
            raised += 1

        async def start() -> None:
            reply.start(200, [("content-length", "0")])

        await must_raise(lambda: reply.write(b"x"))
        await must_raise(reply.end)
        await start()
        await must_raise(start)
        await reply.end()
        await must_raise(reply.end)
        await must_raise(start)
        await must_raise(lambda: reply.write(b"x"))

    assert ask(handler).status == 200
    assert raised == 6


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_small_writes_are_not_delayed_by_nagle(loop: str) -> None:
    """TCP_NODELAY is set on accepted connections."""

    async def main() -> None:
        options: list[int] = []

        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            connection = next(iter(door.listener._hub.connections))
            sock = connection._transport.get_extra_info("socket")
            options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            await whole(reply, b"")

        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("GET", "/"))
            await client.answer()
        assert options == [1]

    LOOPS[loop](main)


def test_replies_say_their_state() -> None:
    """`repr` of requests, replies and listeners tells the state in one line."""
    told: list[str] = []

    async def main() -> None:
        async def handler(request_: HttpRequest, reply: HttpReply) -> None:
            told.extend([repr(request_), repr(reply)])
            reply.start(200, [("content-length", "0")])
            told.extend([repr(reply), repr(door.listener)])
            await reply.end()
            told.append(repr(reply))

        async with front_door(handler) as door, RawClient(door.port) as client:
            client.send(request("GET", "/a"))
            await client.answer()
            door.listener.drain()
            told.append(repr(door.listener))

    run_virtual(main)
    assert told == [
        "<HttpRequest GET /a>",
        "<HttpReply new>",
        "<HttpReply started>",
        "<Listener: 1 connections, 1 active>",
        "<HttpReply ended>",
        "<Listener draining: 1 connections, 0 active>",
    ]

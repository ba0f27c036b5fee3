"""What is not HTTP/1.1, or could be read in two ways, is refused and the connection closed."""

from __future__ import annotations

import asyncio

import pytest

from support.corpus import BODIES, CHUNKS, HEADS, SECOND
from support.frontdoor import LOOPS, echo, front_door, whole
from support.rawhttp import RawClient, exchange, request
from trimtab.surfaces.server import HttpError, HttpLimits, HttpReply, HttpRequest
from trimtab.surfaces.twin import Direction, Link, run_virtual


@pytest.mark.parametrize("name", [*HEADS, *BODIES])
def test_ambiguous_bytes_are_400_and_close(name: str) -> None:
    """Refused with one 400 in our error shape, closed, and what follows is never taken for a request."""
    paths: list[str] = []

    async def note(request_: HttpRequest, reply: HttpReply) -> None:
        paths.append(request_.path)
        await echo(request_, reply)

    async def main() -> bytes:
        async with front_door(note) as door:
            return await exchange(door.port, (HEADS | BODIES)[name], SECOND)

    for link in (Link(), Link(up=Direction(segment_bytes=1))):
        paths.clear()
        got = run_virtual(main, link=link)
        assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert got.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in got
        assert b'"code":"malformed_http"' in got
        assert paths == (["/first"] if name in BODIES else [])


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_refusal_reaches_the_client_although_it_is_still_sending(loop: str) -> None:
    """An early answer is not destroyed by a reset: what the client still sends is read and dropped."""

    async def main() -> None:
        async with front_door(echo) as door, RawClient(door.port) as client:
            client.send(b"BAD\r\n\r\n", b"x" * 500_000)
            answer = await client.answer()
            assert (answer.status, answer.whole) == (400, True)
            assert await client.rest() == b""

    LOOPS[loop](main)


def test_connect_is_no_method_here() -> None:
    """CONNECT is 405, and the bytes behind it are not a request."""

    async def main() -> bytes:
        async with front_door(echo) as door:
            return await exchange(door.port, b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n" + SECOND)

    got = run_virtual(main)
    assert got.startswith(b"HTTP/1.1 405 ")
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_bad_second_request_waits_its_turn(loop: str) -> None:
    """The 400 for a pipelined request comes after the running answer, never inside it."""

    async def main() -> None:
        started, go = asyncio.Event(), asyncio.Event()

        async def slow(request_: HttpRequest, reply: HttpReply) -> None:
            reply.start(200, [])
            await reply.write(b"first")
            started.set()
            await go.wait()
            await reply.write(b"second")
            await reply.end()

        async with front_door(slow) as door, RawClient(door.port) as client:
            client.send(request("GET", "/") + b"BAD\r\n\r\n")
            await started.wait()
            assert (await client.head()).status == 200
            assert await client.chunk() == b"first"
            go.set()
            assert await client.chunk() == b"second"
            assert await client.chunk() == b""
            assert (await client.answer()).status == 400
            assert await client.rest() == b""

    LOOPS[loop](main)


def test_bad_chunks_behind_a_started_answer_cut_nothing_but_end_the_connection() -> None:
    """If the answer has begun, a body that turns out malformed adds nothing to it: it ends whole, and closes."""

    async def main() -> None:
        read_on = asyncio.Event()

        async def early(request_: HttpRequest, reply: HttpReply) -> None:
            reply.start(200, [])
            await reply.write(b"a")
            await read_on.wait()
            with pytest.raises(HttpError, match="malformed"):
                await request_.body()
            await reply.write(b"b")
            await reply.end()

        async with front_door(early) as door, RawClient(door.port) as client:
            client.send(CHUNKS + b"3\r\nabc\r\n")
            await asyncio.sleep(1)
            client.send(b"nonsense\r\n")
            await asyncio.sleep(1)
            read_on.set()
            answer = await client.answer()
            assert (answer.status, answer.body, answer.whole) == (200, b"ab", True)
            assert await client.rest() == b""

    run_virtual(main)


LIMITS = HttpLimits(max_target_bytes=100, max_header_bytes=1000, max_headers=10, max_body_bytes=1000)


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request("GET", "/" + "a" * 100), 414, b"target_too_long"),
        (b"GET /" + b"a" * 20_000, 414, b"target_too_long"),
        (request("GET", "/", b"", "A: " + "b" * 1000), 431, b"headers_too_large"),
        (request("GET", "/", b"", *["A: b"] * 10), 431, b"headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000, 431, b"headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"b" * 20_000, 431, b"headers_too_large"),
        (request("POST", "/", b"b" * 1001), 413, b"body_too_large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, b"body_too_large"),
        (CHUNKS + b"3e9\r\n" + b"b" * 1001 + b"\r\n", 413, b"body_too_large"),
        (CHUNKS + b"1\r\nb\r\n" * 1001, 413, b"body_too_large"),
        (CHUNKS + b"1;" + b"x" * 20_000, 400, b"malformed_http"),
        (CHUNKS + b"0\r\n" + b"X: y\r\n" * 20_000, 400, b"malformed_http"),
        (CHUNKS + b"0\r\nX: " + b"y" * 20_000, 400, b"malformed_http"),
    ],
)
def test_bounds(sent: bytes, status: int, code: bytes) -> None:
    """Too long a target, head, body, chunk extension or trailer is refused, whole or unfinished, in any segments."""

    async def main() -> bytes:
        async with front_door(echo, LIMITS) as door:
            return await exchange(door.port, sent)

    for link in (Link(), Link(up=Direction(segment_bytes=100))):
        got = run_virtual(main, link=link)
        assert got.startswith(b"HTTP/1.1 %d " % status)
        assert code in got
        assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "sent",
    [
        request("GET", "/" + "a" * 99),
        request("GET", "/", b"", *["A: b"] * 9),
        request("POST", "/", b"b" * 1000),
        CHUNKS + b"1\r\nb\r\n" * 1000 + b"0\r\n\r\n",
        CHUNKS + b"1;ext=1\r\nb\r\n" * 1000 + b"0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_what_is_just_within_the_bounds_is_served(sent: bytes) -> None:
    """The largest allowed target, header count and body, also in the smallest chunks, get 200."""

    async def main() -> None:
        async with front_door(echo, LIMITS) as door, RawClient(door.port) as client:
            client.send(sent)
            assert (await client.answer()).status == 200

    run_virtual(main)


def test_a_body_too_large_is_refused_before_it_is_sent() -> None:
    """With a Content-Length beyond the limit the answer comes without a byte of body, and no `100 Continue`."""

    async def main() -> None:
        async with front_door(echo, LIMITS) as door, RawClient(door.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")

    run_virtual(main)


def test_the_refusal_drain_ends_by_size_and_by_time() -> None:
    """After an early answer at most the stated bytes are read, for at most the stated time; then it is closed."""

    async def refuse(request_: HttpRequest, reply: HttpReply) -> None:
        await whole(reply, b"no", 401)

    async def by_time() -> float:
        async with front_door(refuse) as door, RawClient(door.port) as client:
            loop = asyncio.get_running_loop()
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
            assert (await client.answer()).headers["connection"] == "close"
            began = loop.time()
            while door.listener.connections:
                client.send(b"x")
                await asyncio.sleep(0.05)
            return loop.time() - began

    async def by_size() -> int:
        async with front_door(refuse) as door, RawClient(door.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
            assert (await client.answer()).status == 401
            sent = 0
            while door.listener.connections:
                client.send(b"x" * 10_000)
                sent += 10_000
                await asyncio.sleep(0)
            return sent

    assert 1.0 <= run_virtual(by_time) <= 1.1
    assert 1 << 20 <= run_virtual(by_size) <= (1 << 20) + 200_000


def test_refusals_of_the_protocol_are_reported() -> None:
    """Protocol refusals are reported without a request; they never look like a handler's failure."""

    async def main() -> None:
        async with front_door(echo) as door:
            await exchange(door.port, b"BAD\r\n\r\n")
            assert [(request_, type(error)) for request_, error in door.errors] == [(None, HttpError)]

    run_virtual(main)

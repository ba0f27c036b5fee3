"""What comes in: well-formed requests, in one piece or in many, in order."""

from __future__ import annotations

import asyncio

import pytest

from support.frontdoor import LOOPS, echo, front_door, whole
from support.rawhttp import RawClient, exchange, request
from trimtab.surfaces.server import HttpError, HttpLimits, HttpReply, HttpRequest
from trimtab.surfaces.twin import Direction, Link, run_virtual

on_each_loop = pytest.mark.parametrize("loop", list(LOOPS))

CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
H2C = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"


async def echoed(*data: bytes, method: str = "GET") -> list[bytes]:
    """Send on one connection and read as many answers as there are pieces of data."""
    async with front_door(echo) as door, RawClient(door.port) as client:
        client.send(*data)
        return [(await client.answer(method)).body for _ in data]


@on_each_loop
def test_a_request_is_answered_and_the_connection_kept(loop: str) -> None:
    """Two requests on one connection get their own answers, with method, path, query and body as sent."""

    async def main() -> None:
        async with front_door(echo) as door, RawClient(door.port) as client:
            for n in range(2):
                client.send(request("POST", f"/p/{n}?a=%20b&c", b"body"))
                answer = await client.answer()
                assert answer.status == 200
                assert answer.body == f"POST /p/{n} a=%20b&c body".encode()
                assert "connection" not in answer.headers
            assert door.listener.connections == 1

    LOOPS[loop](main)


def test_any_split_of_the_bytes_gives_the_same_request() -> None:
    """Handed over byte by byte, requests of every framing read the same as in one piece."""
    sent = [
        request("POST", "/l", b"abc"),
        CHUNKED + b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: v\r\n\r\n",
        request("GET", "/g"),
    ]
    sent.append(request("POST", "/u", b"abc", *H2C))
    sent.append(request("GET", "/last"))

    async def main() -> list[bytes]:
        return await echoed(*sent)

    whole_ = run_virtual(main)
    split = run_virtual(main, link=Link(up=Direction(segment_bytes=1)))
    assert whole_ == split == [b"POST /l  abc", b"POST /c  abc", b"GET /g  ", b"POST /u  abc", b"GET /last  "]


@on_each_loop
def test_pipelined_requests_are_answered_in_order(loop: str) -> None:
    """Many requests sent at once are answered one after the other, whatever each takes."""

    async def slow_first(request_: HttpRequest, reply: HttpReply) -> None:
        for _ in range(5 if request_.path == "/0" else 0):
            await asyncio.sleep(0)
        await echo(request_, reply)

    async def main() -> None:
        async with front_door(slow_first) as door, RawClient(door.port) as client:
            client.send(b"".join(request("POST", f"/{n}", b"x" * (n % 7)) for n in range(500)))
            for n in range(500):
                assert (await client.answer()).body == b"POST /%d  " % n + b"x" * (n % 7)

    LOOPS[loop](main)


def test_what_a_pipelining_client_makes_us_hold_is_bounded() -> None:
    """While one request runs, a client can't push more than the read-ahead: the rest stays with it."""

    async def main() -> None:
        going = asyncio.Event()

        async def wait(request_: HttpRequest, reply: HttpReply) -> None:
            await going.wait()
            await whole(reply, b"")

        async with front_door(wait) as door, RawClient(door.port) as client:
            client.send(request("GET", "/") * 100_000)
            await asyncio.sleep(1)
            unsent = client.transport.get_write_buffer_size()
            assert unsent > 100_000 * len(request("GET", "/")) - 4 * 65536
            going.set()
            for _ in range(1000):
                assert (await client.answer()).status == 200

    run_virtual(main)


def test_a_client_that_reads_no_answers_gets_no_more_of_them() -> None:
    """Pipelined requests whose answers nobody reads stop being handled once the write buffer is full."""
    handled = 0

    async def big(request_: HttpRequest, reply: HttpReply) -> None:
        nonlocal handled
        handled += 1
        await whole(reply, b"x" * 50_000)

    async def main() -> None:
        async with front_door(big) as door, RawClient(door.port) as client:
            client.transport.pause_reading()
            client.send(request("GET", "/") * 100)
            await asyncio.sleep(1)
            assert 1 < handled < 8
            client.transport.resume_reading()
            for _ in range(100):
                assert (await client.answer()).body == b"x" * 50_000

    run_virtual(main)


@pytest.mark.parametrize("first", ["POST", "GET"])
@on_each_loop
def test_an_upgrade_is_ignored_and_its_body_kept(loop: str, first: str) -> None:
    """Java's default client offers h2c on each request: it gets HTTP/1.1, its body counts, and the connection lives."""

    async def main() -> None:
        body = b"abc" if first == "POST" else b""
        chunked = "\r\n".join(["POST /c HTTP/1.1", "Host: x", *H2C, "Transfer-Encoding: chunked", "", ""]).encode()
        answers = await echoed(
            request(first, "/u", body, *H2C),
            request("GET", "/n"),
            chunked + b"3\r\nabc\r\n0\r\n\r\n",
            request("GET", "/"),
        )
        assert answers == [f"{first} /u  ".encode() + body, b"GET /n  ", b"POST /c  abc", b"GET /  "]

    LOOPS[loop](main)


def test_an_upgrade_cannot_smuggle() -> None:
    """A body sent behind an upgrade is body, not a second request, and bad framing behind it is still refused."""
    inner = request("GET", "/smuggled")

    async def main() -> None:
        assert await echoed(request("POST", "/u", inner, *H2C)) == [b"POST /u  " + inner]
        async with front_door(echo) as door:
            chunked = "\r\n".join(["POST /c HTTP/1.1", "Host: x", *H2C, "Transfer-Encoding: chunked", "", ""]).encode()
            assert (await exchange(door.port, chunked + b"-3\r\nabc")).startswith(b"HTTP/1.1 400 ")

    run_virtual(main)


def test_http_1_0() -> None:
    """HTTP/1.0 needs no Host, is closed unless it asks for keep-alive, and never gets chunks."""

    async def streaming(request_: HttpRequest, reply: HttpReply) -> None:
        reply.start(200, [])
        await reply.write(b"a")
        await reply.write(b"b")
        await reply.end()

    async def main() -> None:
        async with front_door(echo) as door, RawClient(door.port) as client:
            for _ in range(2):
                client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                answer = await client.answer()
                assert (answer.body, answer.headers["connection"]) == (b"GET /  ", "keep-alive")
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await client.answer()).headers["connection"] == "close"
            assert await client.rest() == b""
        async with front_door(streaming) as door:
            got = await exchange(door.port, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert got == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab"

    run_virtual(main)


def test_connection_close_ends_the_connection_and_later_bytes_are_not_looked_at() -> None:
    """After a request with `Connection: close` nothing more is answered, even if it came in the same packet."""

    async def main() -> None:
        async with front_door(echo) as door:
            got = await exchange(door.port, request("GET", "/a", b"", "Connection: close") + request("GET", "/b"))
            assert got.count(b"HTTP/1.1") == 1
            assert got.endswith(b"GET /a  ")
            assert door.errors == []

    run_virtual(main)


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("/a/b%2Fc?x=%3F?y", "/a/b%2Fc", "x=%3F?y", "test"),
        ("http://other:81/p?q", "/p", "q", "other:81"),
        ("HTTP://other", "/", "", "other"),
        ("https://other?q", "/", "q", "other"),
        ("/../%2e%2e/x", "/../%2e%2e/x", "", "test"),
        ("//x/y", "//x/y", "", "test"),
    ],
)
def test_targets(target: str, path: str, query: str, host: str) -> None:
    """Origin and absolute form give path and query with percent-encoding left alone; `Host` follows the target."""
    seen: list[HttpRequest] = []

    async def note(request_: HttpRequest, reply: HttpReply) -> None:
        seen.append(request_)
        await whole(reply, b"")

    async def main() -> None:
        async with front_door(note) as door, RawClient(door.port) as client:
            client.send(request("GET", target))
            assert (await client.answer()).status == 200

    run_virtual(main)
    assert (seen[0].path, seen[0].query, seen[0].headers["host"]) == (path, query, host)


def test_asterisk_form() -> None:
    """`OPTIONS *` is taken; `*` means nothing to other methods."""

    async def main() -> None:
        assert await echoed(request("OPTIONS", "*")) == [b"OPTIONS *  "]
        async with front_door(echo) as door:
            assert (await exchange(door.port, request("GET", "*"))).startswith(b"HTTP/1.1 400 ")

    run_virtual(main)


def test_headers_as_a_handler_sees_them() -> None:
    """Names are lower case, repeated fields joined in order, outer blanks gone, high bytes kept as Latin-1."""
    seen: list[HttpRequest] = []

    async def note(request_: HttpRequest, reply: HttpReply) -> None:
        seen.append(request_)
        await whole(reply, b"")

    async def main() -> None:
        async with front_door(note) as door, RawClient(door.port) as client:
            fields = ("X-A: 1", "x-a:2 \t", "X-Empty:", "Cookie: a=1", "Cookie: b=2", "X-High: \xe9")
            client.send(request("GET", "/", b"", *fields))
            await client.answer()

    run_virtual(main)
    expected = {"host": "test", "x-a": "1, 2", "x-empty": "", "cookie": "a=1; b=2", "x-high": "\xe9"}
    assert seen[0].headers == expected


@on_each_loop
def test_expect_continue_is_answered_only_when_the_body_is_wanted(loop: str) -> None:
    """The interim answer comes when the handler asks for the body; a refusal without it comes instead of it."""

    async def picky(request_: HttpRequest, reply: HttpReply) -> None:
        if request_.path == "/no":
            await whole(reply, b"no", 401)
        else:
            await echo(request_, reply)

    async def main() -> None:
        async with front_door(picky) as door:
            async with RawClient(door.port) as client:
                client.send(b"POST /yes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
                assert (await client.answer()).status == 100
                client.send(b"abc")
                assert (await client.answer()).body == b"POST /yes  abc"
            got = await exchange(
                door.port, b"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            assert got.startswith(b"HTTP/1.1 401 ")
            assert b" 100 " not in got

    LOOPS[loop](main)


def test_no_interim_answer_when_the_body_is_there_or_the_client_is_old() -> None:
    """`100 Continue` is not sent after the body has come, nor ever to HTTP/1.0."""

    async def main() -> None:
        for version in (b"1.0", b"1.1"):
            async with front_door(echo) as door, RawClient(door.port) as client:
                head = b"POST / HTTP/%b\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n" % version
                if version == b"1.0":
                    client.send(head)
                    await asyncio.sleep(1)
                    client.send(b"abc")
                else:
                    client.send(head + b"abc")
                assert (await client.answer()).status == 200

    run_virtual(main)


@on_each_loop
def test_large_bodies_arrive_whole(loop: str) -> None:
    """A body of several megabytes, by length or in chunks of odd sizes, is the one that was sent."""
    body = bytes(range(256)) * 12_000

    async def main() -> None:
        async with front_door(echo) as door, RawClient(door.port, limit=1 << 23) as client:
            client.send(request("POST", "/", body))
            assert (await client.answer()).body == b"POST /  " + body
            client.send(CHUNKED)
            for at in range(0, len(body), 9973):
                piece = body[at : at + 9973]
                client.send(b"%X\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
            assert (await client.answer()).body == b"POST /c  " + body

    LOOPS[loop](main)


def test_a_body_nobody_reads_is_not_taken_in() -> None:
    """Until the handler asks for the body, no more than the read-ahead is read; then all of it."""

    async def main() -> None:
        wanted = asyncio.Event()

        async def later(request_: HttpRequest, reply: HttpReply) -> None:
            await wanted.wait()
            await echo(request_, reply)

        body = b"x" * 1_000_000
        async with front_door(later) as door, RawClient(door.port, limit=1 << 21) as client:
            client.send(request("POST", "/", body))
            await asyncio.sleep(1)
            assert client.transport.get_write_buffer_size() > 1_000_000 - 4 * 65536
            wanted.set()
            assert len((await client.answer()).body) == 1_000_000 + 8

    run_virtual(main)


def test_the_body_can_be_read_again() -> None:
    """`body()` gives the same bytes, or the same error, each time."""
    got: list[object] = []

    async def twice(request_: HttpRequest, reply: HttpReply) -> None:
        for _ in range(2):
            try:
                got.append(await request_.body())
            except HttpError as error:
                got.append(error.code.wire)
        await whole(reply, b"")

    async def main() -> None:
        async with front_door(twice, HttpLimits(max_body_bytes=4)) as door:
            await exchange(door.port, request("POST", "/", b"abc", "Connection: close"))
            await exchange(door.port, request("POST", "/", b"abcde"))

    run_virtual(main)
    assert got == [b"abc", b"abc", "body_too_large", "body_too_large"]

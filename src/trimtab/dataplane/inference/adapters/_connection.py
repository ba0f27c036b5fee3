"""One connection to an upstream, and the pool of its origin.

A connection goes back to its pool when the answer's last byte has been parsed; an answer owns what was parsed but not
read. Idle connections are taken youngest first and kept for less than the peer keeps them, since a request sent into a
connection that the peer is closing is lost, and only the caller may decide to send it again.
"""

from __future__ import annotations

import asyncio
import select
from typing import cast

import httptools

from trimtab.dataplane.inference.adapters._answer import AHEAD, Http1Answer
from trimtab.dataplane.inference.dialer import ConnectionLost, MalformedAnswer, Origin, UpstreamError

_MAX_FRAMING = 65536
"""Bytes of one answer that are not body; on top of it a chunk may cost `_CHUNK_FRAMING`."""
_CHUNK_FRAMING = 16
_AHEAD_TOGETHER = 512 << 10
_LEAST_AHEAD = 8192
"""Read ahead by all connections of an origin together, and by each of them however many they are."""
_DEFAULT_KEEP_ALIVE_S = 4.0
"""llama.cpp, vLLM and SGLang close after 5 s."""
_KEEP_ALIVE_MARGIN_S = 1.0


class Pool:
    """The connections of one origin: those in use, and idle ones, the youngest last."""

    def __init__(self, origin: Origin, max_idle: int) -> None:
        self.origin = origin
        self.max_idle = max_idle
        self.active: set[Connection] = set()
        self.idle: list[Connection] = []
        self.buffer = memoryview(bytearray(AHEAD))
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def ahead(self) -> int:
        """Bytes that each connection may read ahead: few streams are read in large pieces, which is faster; of many a
        client that stops reading would leave as much with us each time."""
        return max(_LEAST_AHEAD, min(AHEAD, _AHEAD_TOGETHER // max(1, len(self.active))))

    def take(self) -> Connection | None:
        """The youngest idle connection that is still good."""
        now = self._loop.time()
        while self.idle:
            connection = self.idle.pop()
            if connection.reusable(now):
                self.active.add(connection)
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection) -> None:
        self.active.discard(connection)
        self.idle.append(connection)
        if len(self.idle) > self.max_idle:
            self.idle.pop(0).abort()
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(connection.good_until, self._sweep)

    def forget(self, connection: Connection) -> None:
        self.active.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long; the peer would, a second later."""
        self._sweeper = None
        now = self._loop.time()
        for connection in [c for c in self.idle if c.good_until <= now]:
            self.idle.remove(connection)
            connection.abort()
        if self.idle:
            self._sweeper = self._loop.call_at(min(c.good_until for c in self.idle), self._sweep)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in [*self.idle, *self.active]:
            connection.abort()

    @property
    def is_empty(self) -> bool:
        return not self.idle and not self.active

    def __repr__(self) -> str:
        return f"{self.origin.netloc}: {len(self.active)} active, {len(self.idle)} idle"


class Connection(asyncio.BufferedProtocol):
    """Our end of one connection. At most one request is under way."""

    __slots__ = (
        "_answer",
        "_answers",
        "_fd",
        "_head",
        "_head_bytes",
        "_headers",
        "_keep_alive_s",
        "_llhttp",
        "_loop",
        "_max_answers",
        "_paused",
        "_pool",
        "_received",
        "_sized",
        "_slack",
        "_transport",
        "good_until",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._llhttp: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[Http1Answer] | None = None
        self._answer: Http1Answer | None = None
        self._headers: dict[str, str] = {}
        self._slack = self._head_bytes = 0
        self._received = self._paused = self._sized = False
        self._answers = 0
        self._max_answers = -1
        self._keep_alive_s = _DEFAULT_KEEP_ALIVE_S
        self.good_until = 0.0

    @property
    def origin(self) -> Origin:
        return self._pool.origin

    # --- for the pool and the answer --------------------------------------------------------------------------------

    async def request(self, data: bytes) -> Http1Answer:
        """Send a whole request and wait for the answer's head."""
        if self._transport is None:  # lost before who waited for it could run
            raise ConnectionLost("the connection closed as soon as it was made", sent=False, received=False)
        self._received = False
        self._slack = _MAX_FRAMING
        head: asyncio.Future[Http1Answer] = self._loop.create_future()
        self._head = head
        self._transport.write(data)
        try:
            return await head
        except asyncio.CancelledError:
            # the answer may be there already, and the connection even in other hands
            if self._head is head:
                self.abort()
            elif not head.cancelled() and head.exception() is None:
                head.result().close()
            raise

    def reusable(self, now: float) -> bool:
        """Not too old, not closing, and nothing unread in the socket, be it an end of file."""
        if now >= self.good_until or self._transport is None or self._transport.is_closing():
            return False
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return not poll.poll(0)

    def resume(self) -> None:
        """The reader has caught up."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, whatever is under way. Synchronous: the peer must see it before we do anything else."""
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()
        self._fail(ConnectionLost("the connection was closed by us", sent=True, received=self._received))

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        # under TLS readable bytes may be the session's own
        self._fd = sock.fileno() if sock is not None and transport.get_extra_info("sslcontext") is None else -1

    def get_buffer(self, sizehint: int) -> memoryview:
        """One for all connections of a pool: what is read into it is parsed before anything else is read."""
        answer = self._answer
        if answer is None:
            return self._pool.buffer[: self._pool.ahead]
        return self._pool.buffer[: answer.make_room(self._pool.ahead)]

    def buffer_updated(self, nbytes: int) -> None:
        data = self._pool.buffer[:nbytes]
        if self._head is None and self._answer is None:
            self.abort()  # nobody asked: whatever it is, it is not the next answer
            return
        self._received = True
        self._slack -= nbytes
        try:
            self._llhttp.feed_data(data)  # type: ignore[union-attr]  # None only after connection_lost
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._malformed(exc)
        else:
            if self._slack < 0:
                self._break(MalformedAnswer(f"head, chunk extensions and trailers exceed {_MAX_FRAMING} bytes"))

    def eof_received(self) -> bool:
        answer = self._answer
        if answer is not None and not self._sized:  # the body ends with the connection (RFC 9112 section 6.3)
            self._answer = None
            self._pool.forget(self)
            answer.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        self._transport = self._llhttp = None
        where = "in the middle of its answer" if self._received else "before it answered"
        why = f": {exc}" if exc else ""
        self._fail(ConnectionLost(f"the upstream hung up {where}{why}", sent=True, received=self._received))

    def _fail(self, error: UpstreamError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.end(error)
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(error)

    def _break(self, error: UpstreamError) -> None:
        self._fail(error)
        self.abort()

    def _malformed(self, exc: Exception) -> None:
        cause = exc.__context__ if isinstance(exc, httptools.HttpParserCallbackError) else None
        if isinstance(cause, UpstreamError):
            self._break(cause)
        elif cause is not None:
            self.abort()
            raise cause
        elif self._answer is None and self._head is None:
            self.abort()  # bytes after the answer's end
        else:
            what = "it changed the protocol" if isinstance(exc, httptools.HttpParserUpgrade) else str(exc)
            self._break(MalformedAnswer(f"the upstream's answer is not valid HTTP/1.1: {what}"))

    # --- llhttp's callbacks -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._head is None or self._head.done():
            raise MalformedAnswer("the upstream sent an answer that nobody asked for")
        self._headers = {}
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None:  # a trailer
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > _MAX_FRAMING:
            raise MalformedAnswer(f"the head exceeds {_MAX_FRAMING} bytes")
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").rstrip(" \t")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        llhttp, head = self._llhttp, self._head
        assert llhttp is not None
        status, headers = llhttp.get_status_code(), self._headers
        if llhttp.get_http_version() not in ("1.1", "1.0"):
            raise MalformedAnswer(f"the upstream speaks HTTP/{llhttp.get_http_version()}")
        if (
            status < 200 or head is None or head.done()
        ):  # an interim answer (101 ends in HttpParserUpgrade), or cancelled
            return
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise MalformedAnswer(f"the transfer-encoding {coding!r} was not asked for")
        self._sized = coding is not None or "content-length" in headers or status in (204, 304)
        self._head = None
        self._answer = Http1Answer(self, status, headers)
        head.set_result(self._answer)

    def on_chunk_header(self) -> None:
        self._slack += _CHUNK_FRAMING

    def on_body(self, piece: bytes) -> None:
        self._slack += len(piece)
        if self._answer is not None and self._answer.add(piece) and not self._paused:
            self._paused = True
            assert self._transport is not None
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        answer, transport, llhttp = self._answer, self._transport, self._llhttp
        if answer is None or transport is None or llhttp is None:
            return
        self._answer = None
        self._answers += 1
        self._note_keep_alive(answer.headers)
        may_stay = llhttp.should_keep_alive() and self._keep_alive_s > 0 and self._answers != self._max_answers
        unsent = transport.get_write_buffer_size() > 0
        if may_stay and not unsent:
            self.resume()
            self.good_until = self._loop.time() + self._keep_alive_s
            self._pool.give_back(self)
        else:
            self._pool.forget(self)
            if unsent:  # answered before our request was read: nobody wants the rest of it
                transport.abort()
            else:
                transport.close()
        answer.end()

    def _note_keep_alive(self, headers: dict[str, str]) -> None:
        """`Keep-Alive: timeout=5, max=100` (RFC 2068 section 19.7.1.1): we stay under both."""
        told = headers.get("keep-alive")
        if told is None:
            return
        for part in told.split(","):
            name, _, value = part.strip().partition("=")
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                continue
            if name.lower() == "timeout":
                self._keep_alive_s = int(value) - _KEEP_ALIVE_MARGIN_S
            elif name.lower() == "max":
                self._max_answers = max(int(value) - 1, self._answers)

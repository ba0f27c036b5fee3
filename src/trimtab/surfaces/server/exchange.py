"""One request and its answer, as a handler sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Protocol

import msgspec

from trimtab.core.errors import Code
from trimtab.core.request import Arrival

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}

_EMPTY, _IDENTITY, _CHUNKED, _UNTIL_CLOSE = range(4)


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what one connection may send and how long it may take. Sizes in bytes, times in seconds."""

    max_target_bytes: int = 8192
    max_header_bytes: int = 65536
    """All header fields of a request together, separators included."""
    max_headers: int = 100
    max_body_bytes: int = 8 << 20
    max_held_bytes: int = 256 << 20
    """Bodies of all requests under way together; who sends more is refused (503 `overloaded`). What comes in one read
    with its head is taken all the same."""
    head_timeout_s: float = 15.0
    """From the first byte of a head to its end."""
    body_timeout_s: float = 30.0
    """Between two reads of a body that the handler waits for."""
    idle_timeout_s: float = 75.0
    """A connection without a request, or a closing one whose peer does not read."""
    write_high_water: int = 4096
    """Unsent bytes above which `HttpReply.write` waits."""
    refuse_drain_bytes: int = 1 << 20
    refuse_drain_s: float = 1.0
    """After a refusal the rest of the request is read and dropped within both: a socket closed over unread bytes sends
    a reset, which can destroy the answer before the client has read it (RFC 9112 section 9.6)."""


class HttpError(Exception):
    """The request's bytes can't be served: `code` carries the status, the message says what was seen."""

    def __init__(self, code: Code, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class Wire(Protocol):
    """What a request and its reply need of their connection."""

    gone: bool
    """The client hung up, or the connection is cut: nothing can be sent any more."""

    async def read_body(self, request: HttpRequest) -> None: ...
    def keeps_alive(self, request: HttpRequest) -> bool: ...
    def send(self, data: bytes) -> None: ...
    def send_soon(self, reply: HttpReply) -> None: ...
    async def writable(self) -> None: ...
    def ended(self, reply: HttpReply) -> None: ...
    def cut(self, reset: bool) -> None: ...


class HttpRequest:
    """A request whose head has come. `headers` has names in lower case and repeated fields joined by a comma."""

    __slots__ = (
        "_body",
        "_complete",
        "_error",
        "_wire",
        "arrival",
        "expects",
        "headers",
        "held_bytes",
        "http10",
        "keep_alive",
        "method",
        "path",
        "query",
    )

    arrival: Arrival

    def __init__(
        self, wire: Wire, method: str, path: str, query: str, headers: Mapping[str, str], http10: bool, keep_alive: bool
    ) -> None:
        self._wire = wire
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.http10 = http10
        self.keep_alive = keep_alive
        self.expects = False
        """The client waits for `100 Continue` before it sends the body."""
        self.held_bytes = 0
        """Counted of its body by the hub."""
        self._body: bytes | bytearray = b""
        self._complete = False
        self._error: HttpError | None = None

    async def body(self) -> bytes:
        """The whole body; `HttpError` (413, 408, 400) if it is too large, too slow, or its framing is broken."""
        while not self._complete:
            if self._error is not None:
                raise self._error
            await self._wire.read_body(self)
        if isinstance(self._body, bytearray):
            self._body = bytes(self._body)
        return self._body

    @property
    def buffered(self) -> int:
        """Bytes of the body that have come."""
        return len(self._body)

    @property
    def failed(self) -> bool:
        return self._error is not None

    def add(self, data: bytes) -> None:
        """Take a piece of the body (the connection's side)."""
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body)
            self._body += data

    def complete(self) -> None:
        """The body has come to its end (the connection's side)."""
        self._complete = True

    def fail(self, error: HttpError) -> None:
        """The body can't be had (the connection's side)."""
        if not self._complete:
            self._error = error

    def __repr__(self) -> str:
        return f"<HttpRequest {self.method} {self.path}>"


class HttpReply:
    """The answer to one request. Not more than one task may use it.

    Call `start`, then `write` any number of times, then `end`; or `abort` at any time. With a `content-length` header
    the body is sent as it is and must have that length; without one it is chunked (HTTP/1.1) or ends with the
    connection (HTTP/1.0). Answers to HEAD, 204 and 304 have no body: what is written is dropped.
    """

    __slots__ = ("_body_left", "_framing", "_head", "_request", "_wire", "closes", "ended", "started")

    def __init__(self, wire: Wire, request: HttpRequest) -> None:
        self._wire = wire
        self._request = request
        self._head = b""
        self._framing = _EMPTY
        self._body_left = 0
        self.started = False
        self.ended = False
        self.closes = False
        """The connection ends with this answer."""

    def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Fix status and headers; they leave with the first `write`, or in the loop's next turn.

        Raises ValueError for a header that holds CR, LF or NUL, or that is the connection's own business.
        """
        if self.started or self.ended:
            raise RuntimeError("the reply has already started")
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is not a final HTTP status")
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} "]
        closes = not self._wire.keeps_alive(self._request)
        length: int | None = None
        for name, value in headers:
            key = name.lower()
            if key == "content-length":
                length = _length(value)
            elif key == "connection":
                closes = closes or value.lower() == "close"
                continue
            elif key == "transfer-encoding":
                raise ValueError("transfer-encoding is chosen by the server")
            lines.append(f"{name}: {value}")
        self._frame(status, length, closes, lines)
        self._head = _encode_head(lines)
        self.started = True
        if self._framing >= _CHUNKED:
            self._wire.send_soon(self)

    def _frame(self, status: int, length: int | None, closes: bool, lines: list[str]) -> None:
        """Choose how the body ends (RFC 9112 section 6), and say so in `lines`."""
        request = self._request
        if request.method == "HEAD" or status in (204, 304):
            self._framing = _EMPTY
        elif length is not None:
            self._framing, self._body_left = _IDENTITY, length
        elif request.http10:
            self._framing, closes = _UNTIL_CLOSE, True
        else:
            self._framing = _CHUNKED
            lines.append("transfer-encoding: chunked")
        if closes:
            lines.append("connection: close")
        elif request.http10:
            lines.append("connection: keep-alive")
        self.closes = closes

    async def write(self, data: bytes) -> None:
        """Send `data` now, as one chunk; waits while the client is too slow to take what was sent before."""
        self.push(data)
        del data  # the transport has its copy; a client that does not read may keep this waiting for long
        await self._wire.writable()

    def push(self, data: bytes) -> None:
        """As `write`, without waiting: for the last words to a client that may not be reading."""
        if not self.started or self.ended:
            raise RuntimeError("write() belongs between start() and end()")
        if data:
            self._send_body(data)

    def _send_body(self, data: bytes) -> None:
        if self._framing == _CHUNKED:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))
        elif self._framing == _IDENTITY:
            if len(data) > self._body_left:
                self.abort()
                raise RuntimeError("the body is longer than its content-length")
            self._body_left -= len(data)
            self._send(data)
        elif self._framing == _UNTIL_CLOSE:
            self._send(data)

    async def end(self) -> None:
        """The answer is whole. Raises RuntimeError, and cuts the connection, if it is shorter than it declared."""
        self.finish(b"")

    def finish(self, data: bytes) -> None:
        """`write` and `end` in one, without waiting for a slow client."""
        if not self.started or self.ended:
            raise RuntimeError("end() belongs after start(), once")
        if data:
            self._send_body(data)
        if self._body_left:
            self.abort()
            raise RuntimeError("the body is shorter than its content-length")
        if self._framing == _CHUNKED:
            self._send(b"0\r\n\r\n")
        else:
            self.flush_head()
        self.ended = True
        self._wire.ended(self)

    def abort(self) -> None:
        """Cut the transfer so that the client sees an error: close without the last chunk. Idempotent.

        What was written before is still delivered, except to an HTTP/1.0 client without a length: only a reset tells
        it that the body is not whole.
        """
        if self.ended:
            return
        self.ended = True
        self._wire.cut(reset=self.started and self._framing == _UNTIL_CLOSE)

    def flush_head(self) -> None:
        """Send the head if it still waits for the body's first piece."""
        if self._head:
            self._send(b"")

    def _send(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        self._wire.send(data)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "started" if self.started else "new"
        return f"<HttpReply {state}>"


def _length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"content-length must be digits, not {value!r}")
    return int(value)


def _encode_head(lines: list[str]) -> bytes:
    """The head's bytes; ValueError if any line would be read as two."""
    text = "\r\n".join(lines) + "\r\n\r\n"
    breaks = len(lines) + 1
    if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
        bad = next(line for line in lines if any(c in line for c in "\r\n\0"))
        raise ValueError(f"a header holds a line break or NUL: {bad!r}")
    return text.encode("latin-1")

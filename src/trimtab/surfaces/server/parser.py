"""Requests out of bytes: llhttp's strict parser, and what it does not judge itself.

llhttp refuses CL with TE, doubled or odd lengths, bare CR or LF, NUL, folded lines, odd names, bad chunk sizes. Added
here: one `Host`, `chunked` as the only transfer coding and only in HTTP/1.1, HTTP versions, targets, bounds on all that
is kept, and bounds on what llhttp swallows without telling (an endless header, chunk extensions, trailers).
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from trimtab.core.errors import Code
from trimtab.surfaces.server.exchange import HttpError, HttpLimits, HttpRequest, Wire

SLICE = 4096
"""Bytes fed at once outside a body of known length: what may be parsed beyond the end of a request."""

_CHUNK_OVERHEAD = 16
"""Framing bytes that a chunk may cost on average; the rest is extensions, which nobody needs."""
_ONCE = frozenset({"host", "content-length", "transfer-encoding"})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(:[0-9]*)?")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)

_COMMON: tuple[str, ...] = ("host", "content-type", "content-length", "transfer-encoding", "connection")
_COMMON += ("user-agent", "accept")
_COMMON += ("accept-encoding", "accept-language", "authorization", "expect", "traceparent", "trimtab-channel")
_NAMES = {form.encode(): name for name in _COMMON for form in (name, name.title())}


class _Enough(Exception):  # noqa: N818 - not an error: the request is already answered for
    """Raised inside a callback to stop llhttp, which knows no other way."""


class RequestSink(Protocol):
    """Who takes the requests."""

    def head_began(self) -> None: ...
    def head_came(self, request: HttpRequest) -> None: ...
    def body_ended(self, request: HttpRequest) -> None: ...


class RequestParser:
    """Feeds one connection's bytes to llhttp and tells `sink` of requests; the body goes into the request itself.

    After `feed` has raised, or `deaf` is set, no further byte may be fed.
    """

    __slots__ = (
        "_fed",
        "_fields",
        "_head_bytes",
        "_headers",
        "_length_left",
        "_limits",
        "_llhttp",
        "_overhead",
        "_replaying",
        "_sink",
        "_target",
        "_upgrading",
        "_wire",
        "deaf",
        "in_head",
        "incoming",
    )

    def __init__(self, wire: Wire, sink: RequestSink, limits: HttpLimits) -> None:
        self._wire = wire
        self._sink = sink
        self._limits = limits
        self._llhttp: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._fields = self._head_bytes = self._length_left = self._overhead = self._fed = 0
        self._upgrading = self._replaying = False
        self.deaf = False
        """The last request of this connection has come, or its rest is of no interest."""
        self.in_head = False
        """A head has begun and is not whole."""
        self.incoming: HttpRequest | None = None
        """The request whose body is coming."""

    def close(self) -> None:
        """Let go of llhttp, which holds our methods: no cycle is left to the garbage collector."""
        self._llhttp = self.incoming = None
        self.deaf = True

    @property
    def appetite(self) -> int:
        """Bytes that may be fed at once: the rest of a body of known length, and a slice."""
        return self._length_left + SLICE

    def feed(self, piece: bytes | memoryview) -> None:
        """Parse; HttpError if the bytes can't be served, any other exception is a fault of ours."""
        self._fed += len(piece)
        try:
            self._llhttp.feed_data(piece)  # type: ignore[union-attr]  # None only after close()
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(piece, upgrade.args[0])
        except httptools.HttpParserError as exc:
            self._stopped(exc)
        if self.in_head or self.incoming is not None:
            self._bound()

    def _stopped(self, exc: httptools.HttpParserError) -> None:
        if self.deaf:  # bytes after the last request
            return
        cause = exc.__context__ if isinstance(exc, httptools.HttpParserCallbackError) else None
        if isinstance(cause, _Enough):
            self.deaf = True
        elif cause is not None:
            raise cause from None
        else:
            raise HttpError(Code.MALFORMED_HTTP, f"malformed request: {exc}") from None

    def _bound(self) -> None:
        limits = self._limits
        if self.incoming is not None:
            if self._fed - self.incoming.buffered > limits.max_header_bytes + 2 * SLICE + self._overhead:
                raise HttpError(Code.MALFORMED_HTTP, "chunk extensions or trailers are too long")
        elif self._fed > limits.max_header_bytes + limits.max_target_bytes + SLICE:
            raise self._too_large_head()

    # --- llhttp's callbacks ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        self.in_head = True
        self._target = b""
        self._headers = {}
        self._fields = self._head_bytes = self._fed = self._overhead = 0
        self._sink.head_began()

    def on_url(self, url: bytes) -> None:
        if self._replaying:
            return
        self._target = self._target + url if self._target else url
        limit = self._limits.max_target_bytes
        if len(self._target) > limit:
            raise HttpError(Code.TARGET_TOO_LONG, f"the request target is longer than {limit} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:  # a trailer, or the replayed head of an ignored upgrade
            return
        self._fields += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._fields > self._limits.max_headers or self._head_bytes > self._limits.max_header_bytes:
            raise self._too_large_head()
        key = _NAMES.get(name) or name.decode("latin-1").lower()
        text = value.decode("latin-1").rstrip(" \t")
        headers = self._headers
        if key not in headers:
            headers[key] = text
        elif key in _ONCE:
            raise HttpError(Code.MALFORMED_HTTP, f"the header {key} came twice")
        else:
            headers[key] = f"{headers[key]}{'; ' if key == 'cookie' else ', '}{text}"

    def on_headers_complete(self) -> None:
        if self._replaying:
            self._replaying = False
            return
        llhttp = self._llhttp
        assert llhttp is not None
        request = self._request(llhttp)
        self.in_head = False
        self._upgrading = llhttp.should_upgrade()
        too_large = self._length_left > self._limits.max_body_bytes
        if too_large:
            request.fail(self._too_large_body())
            self._length_left = 0
        else:
            self.incoming = request
        self._sink.head_came(request)
        if too_large:
            raise _Enough

    def _request(self, llhttp: httptools.HttpRequestParser) -> HttpRequest:
        """Build the request from its head; HttpError where llhttp is more patient than we are."""
        headers = self._headers
        version = llhttp.get_http_version()
        http10 = version == "1.0"
        if not http10 and version != "1.1":
            raise HttpError(Code.MALFORMED_HTTP, f"HTTP/{version} is not spoken here, only HTTP/1.1")
        coding = headers.get("transfer-encoding")
        if coding is not None and (http10 or coding.lower() != "chunked"):
            raise HttpError(Code.MALFORMED_HTTP, "the only transfer-encoding is chunked, in HTTP/1.1")
        method = llhttp.get_method().decode("latin-1")
        if method == "CONNECT":
            raise HttpError(Code.METHOD_NOT_ALLOWED, "CONNECT: this is no proxy")
        path, _, query = _origin_form(method, self._target, headers).partition("?")
        host = headers.get("host")
        if (host is None and not http10) or (host and _HOST.fullmatch(host) is None):
            raise HttpError(Code.MALFORMED_HTTP, "the request needs one valid Host header")
        self._length_left = int(headers.get("content-length", 0))
        request = HttpRequest(self._wire, method, path, query, headers, http10, llhttp.should_keep_alive())
        request.expects = not http10 and headers.get("expect", "").lower() == "100-continue"
        return request

    def on_body(self, data: bytes) -> None:
        request = self.incoming
        if request is None:
            return
        if self._length_left:
            self._length_left -= len(data)
        elif request.buffered + len(data) > self._limits.max_body_bytes:
            raise self._too_large_body()
        request.add(data)

    def on_chunk_header(self) -> None:
        self._overhead += _CHUNK_OVERHEAD

    def on_message_complete(self) -> None:
        request = self.incoming
        if self._upgrading or request is None:
            return
        self.incoming = None
        self._target, self._headers = b"", {}  # the request has them: an idle connection is to hold nothing
        request.complete()
        self.deaf = not request.keep_alive
        self._sink.body_ended(request)

    def _ignore_upgrade(self, piece: bytes | memoryview, at: int) -> None:
        """Go on in HTTP/1.1 as if no `Upgrade` had been there (RFC 9110 section 7.8).

        llhttp gives the body of an upgrade request to the next protocol. Java's default client offers h2c on every
        request, bodies included: a fresh parser is told the same framing and given the bytes.
        """
        self._upgrading = False
        chunked = "transfer-encoding" in self._headers
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % self._length_left
        self._llhttp = httptools.HttpRequestParser(self)
        self._replaying = True
        self._llhttp.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        if at < len(piece) and not self.deaf:
            self.feed(piece[at:])

    def _too_large_head(self) -> HttpError:
        fields, size = self._limits.max_headers, self._limits.max_header_bytes
        return HttpError(Code.HEADERS_TOO_LARGE, f"more than {fields} header fields or {size} bytes of them")

    def _too_large_body(self) -> HttpError:
        return HttpError(Code.BODY_TOO_LARGE, f"the body is larger than {self._limits.max_body_bytes} bytes")


def _origin_form(method: str, target: bytes, headers: dict[str, str]) -> str:
    """Path and query of a target in origin, absolute or asterisk form (RFC 9112 section 3.2); `Host` follows it.

    Percent-encoding is left alone: two readings of one path are how requests slip past rules.
    """
    text = target.decode("latin-1")
    if "#" not in text:
        if text.startswith("/") or (text == "*" and method == "OPTIONS"):
            return text
        absolute = _ABSOLUTE.fullmatch(text)
        if absolute is not None:
            headers["host"] = absolute[1]
            return absolute[2] if absolute[2].startswith("/") else "/" + absolute[2]
    raise HttpError(Code.MALFORMED_HTTP, "the request target must be a path")

"""Bytes that are not HTTP/1.1, or could be read in two ways. Each must be 400 and close; what follows is no request.

Request smuggling lives on such bytes: one server reads a length that the next one does not.
"""

from __future__ import annotations

SECOND = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
"""What nobody may ever serve."""
POST = b"POST /first HTTP/1.1\r\nHost: x\r\n"
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def length(value: bytes) -> bytes:
    """A body of three bytes behind this Content-Length."""
    return POST + b"Content-Length:" + value + b"\r\n\r\nabc"


def coding(value: bytes) -> bytes:
    """A chunked body behind this Transfer-Encoding."""
    return POST + b"Transfer-Encoding:" + value + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def field(line: bytes) -> bytes:
    """A GET with this in its head."""
    return b"GET /first HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n"


def line(text: bytes) -> bytes:
    """A request with this first line."""
    return text + b"\r\nHost: x\r\n\r\n"


HEADS = {
    "cl, te": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te, cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "cl twice, equal": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "cl twice, unequal": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    **{
        f"cl {value!r}": length(value)
        for value in (b"-1", b"+3", b"0x3", b"3,3", b"3, 3", b"", b" ", b"3 3", b"3;", b"3.0")
    },
    "cl huge": length(b"9" * 40),
    "cl vertical tab": length(b"3\x0b"),
    **{
        f"te {value!r}": coding(value)
        for value in (
            b"gzip, chunked",
            b"chunked, gzip",
            b"chunked, chunked",
            b"chunked,",
            b",chunked",
            b"identity",
            b"gzip",
            b"x chunked",
            b"xchunked",
            b"chunked;q=1",
            b'"chunked"',
            b"\x0bchunked",
            b"",
        )
    },
    "te twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te identity, then chunked": POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "te tab before colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "te folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "te in http/1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "host list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "host twice in http/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "bare lf": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare lf in a field": field(b"A: b\nC: d"),
    "bare lf at the end": b"GET / HTTP/1.1\r\nHost: x\r\n\n",
    "bare cr in a field": field(b"A: b\rC: d"),
    "cr cr lf": field(b"A: b\r"),
    "nul in a value": field(b"A: b\x00c"),
    "nul in a name": field(b"A\x00: b"),
    "control in a value": field(b"A: \x01"),
    "delete in a value": field(b"A: \x7f"),
    "obs-fold": field(b"A: b\r\n c"),
    "obs-fold by tab": field(b"A: b\r\n\tc"),
    "space before colon": field(b"A : b"),
    "space in a name": field(b"A b: c"),
    "space before the first field": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "odd name (": field(b"A(: b"),
    "odd name utf-8": field(b"\xc3\xa9: b"),
    "empty name": field(b": b"),
    "no colon": field(b"A"),
    "lower-case method": line(b"get / HTTP/1.1"),
    "unknown method": line(b"FOO / HTTP/1.1"),
    "space before the method": line(b" GET / HTTP/1.1"),
    "http/0.9": b"GET /\r\n\r\n",
    "http/1.2": line(b"GET / HTTP/1.2"),
    "http/2.0": line(b"GET / HTTP/2.0"),
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case http": line(b"GET / http/1.1"),
    "blank after the version": line(b"GET / HTTP/1.1 "),
    "nul in the target": line(b"GET /\x00 HTTP/1.1"),
    "utf-8 in the target": line(b"GET /\xc3\xa9 HTTP/1.1"),
    "tab in the target": line(b"GET /a\tb HTTP/1.1"),
    "fragment": line(b"GET /a#b HTTP/1.1"),
    "no slash": line(b"GET a HTTP/1.1"),
    "other scheme": line(b"GET ftp://x/ HTTP/1.1"),
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
}
BODIES = {
    **{
        f"chunk {value!r}": CHUNKS + value
        for value in (
            b"-3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b" 3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"g\r\n",
            b"\r\n",
            b"3 \r\nabc\r\n",
            b"3 ;a\r\nabc\r\n",
            b"3\nabc\r\n",
            b"3\r\rabc\r\n",
            b"3\r\nabc\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc0\r\n",
            b"fffffffffffffffff\r\n",
            b"3;\nabc\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"3;\x00\r\nabc\r\n",
            b'3;a="\r\n"\r\nabc\r\n',
            b"0\n\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
        )
    }
}

CODINGS = {
    "list": (b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,", b",chunked", b"chunked, identity"),
    "other": (b"identity", b"gzip", b"deflate", b"trailers", b"cow", b"true", b"1", b""),
    "near": (b"xchunked", b"x chunked", b"chunked x", b"chunked chunked", b"chunke", b"chunkedd", b"chun ked"),
    "parameter": (b"chunked;q=1", b"chunked;foo", b"chunked ;", b"chunked=1"),
    "quoted": (b'"chunked"', b"'chunked'", b"<chunked>", b"chunked\\"),
    "control": (
        b"\x0bchunked",
        b"chunked\x0b",
        b"\x00chunked",
        b"chunked\x00",
        b"chunked\x7f",
        b"chunked\r",
        b"\x0cchunked",
    ),
    "high": (b"\xa0chunked", b"chunked\xa0", b"chunk\xc3\xa9d", b"\xef\xbb\xbfchunked"),
}
NAMES = (
    *(b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b" Transfer-Encoding: chunked"),
    *(b"Transfer-Encoding\x00: chunked", b"Transfer-Encoding\x0b: chunked", b"Transfer Encoding: chunked"),
    *(b"Transfer-Encoding\r\n : chunked", b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\r\n\tchunked"),
    *(b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked", b"X: y\r\n Transfer-Encoding: chunked"),
    *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
    *(b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:"),
)
TE = {
    **{
        f"te {kind} {value!r}": b"Transfer-Encoding: " + value + b"\r\n"
        for kind, values in CODINGS.items()
        for value in values
    },
    **{f"te name {line!r}": line + b"\r\n" for line in NAMES},
}
"""TE.TE: one line, or two, that some servers take for `Transfer-Encoding: chunked` and others don't."""
_CHUNKED = b"\r\n3\r\nabc\r\n0\r\n\r\n"
TE_TE = {name: POST + line + _CHUNKED for name, line in TE.items()}
TE_TE_CL = {f"{name}, cl": POST + line + b"Content-Length: 5\r\n" + _CHUNKED for name, line in TE.items()}
CL_TE = {
    "cl.te": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "te.cl": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5c\r\nGET /smuggled HTTP/1.1\r\n\r\n0\r\n\r\n",
    "cl.cl": POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "cl list": POST + b"Content-Length: 0, 44\r\n\r\n",
    "cl.0 with te": POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
}
"""Two lengths, each as the attack has it: what one server leaves over is the other's next request."""
CORPUS = {**HEADS, **BODIES, **TE_TE, **TE_TE_CL, **CL_TE}

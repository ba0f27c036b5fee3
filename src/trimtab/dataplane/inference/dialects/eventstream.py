"""Amazon's event stream: messages of binary frames (published with the AWS SDKs, "event stream encoding").

    total length (4) | headers length (4) | CRC32 of these 8 | headers | payload | CRC32 of all before

A header is: length of its name (1), name, type (1), value; of the types only strings (7: length (2), text) matter here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

from trimtab.dataplane.inference.dialer import MalformedAnswer

MAX_FRAME_BYTES = 16 << 20
_PRELUDE, _CRC = 12, 4
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by type; 6 and 7 say how long they are."""


class FrameParser:
    """Feed bytes, get the headers and the payload of each message that became whole."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[tuple[dict[str, str], bytes]]:
        """Raises MalformedAnswer for a checksum that does not hold, or a message larger than we take."""
        data = self._rest + piece
        found, at = [], 0
        while len(data) - at >= _PRELUDE:
            total, headers, check = struct.unpack_from(">III", data, at)
            if check != crc32(data[at : at + 8]) or not _PRELUDE + _CRC + headers <= total <= MAX_FRAME_BYTES:
                raise MalformedAnswer("a frame's prelude is damaged")
            if len(data) - at < total:
                break
            end = at + total - _CRC
            if struct.unpack_from(">I", data, end)[0] != crc32(data[at:end]):
                raise MalformedAnswer("a frame is damaged")
            body = at + _PRELUDE + headers
            found.append((dict(_headers(data[at + _PRELUDE : body])), data[body:end]))
            at += total
        self._rest = data[at:]
        return found

    @property
    def is_clean(self) -> bool:
        """Nothing of a message is waiting for its end."""
        return not self._rest


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    try:
        while at < len(data):
            named = at + 1 + data[at]
            name, kind = data[at + 1 : named].decode(), data[named]
            at = named + 1
            if kind in (6, 7):
                (size,) = struct.unpack_from(">H", data, at)
                at += 2
                if len(data) - at < size:
                    raise MalformedAnswer("a frame's headers are damaged")
                if kind == 7:
                    yield name, data[at : at + size].decode()
                at += size
            else:
                at += _FIXED[kind]
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise MalformedAnswer("a frame's headers are damaged") from None


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message."""
    told = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", _PRELUDE + len(told) + len(payload) + _CRC, len(told))
    data = prelude + struct.pack(">I", crc32(prelude)) + told + payload
    return data + struct.pack(">I", crc32(data))

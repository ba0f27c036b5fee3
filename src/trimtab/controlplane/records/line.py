"""One line of a segment: CRC32C of the JSON (8 hex), space, JSON. Chained by the blake2b-128 of the line before it.

The CRC finds what a disk does, line by line; the chain finds lines that were taken out, put in or moved.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec
from crc32c import crc32c

from trimtab.core.record import Record

GENESIS: Final = "0" * 32
"""`prev` of a worker's very first row."""
_HEAD = 9  # 8 hex digits and the space


class Link(msgspec.Struct):
    """What ties a row to its neighbours."""

    seq: int
    prev: str


def _foreign(value: Any) -> str:
    """A record may carry values of any rule or classifier: better their text than the row lost."""
    return repr(value)


_encode = msgspec.json.Encoder(enc_hook=_foreign).encode
_link = msgspec.json.Decoder(Link).decode


def encode(record: Record, prev: str) -> bytes:
    """The line of a record, without newline; sets `record.prev`. Raises TypeError or OverflowError for what has no
    JSON."""
    record.prev = prev
    body = _encode(record)
    return b"%08x %b" % (crc32c(body), body)


def digest(line: bytes) -> str:
    """What the next line's `prev` must be."""
    return blake2b(line, digest_size=16).hexdigest()


def payload(line: bytes) -> bytes | None:
    """The JSON of a line whose CRC fits; None for anything else."""
    body = line[_HEAD:]
    if len(line) <= _HEAD or line[: _HEAD - 1] != b"%08x" % crc32c(body) or line[_HEAD - 1] != 0x20:
        return None
    return body


def link(body: bytes) -> Link | None:
    """Sequence number and chain of a row; None if they are not there, which a fitting CRC makes a foreign file."""
    try:
        return _link(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None

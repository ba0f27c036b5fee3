"""One line of a segment: a framed JSON row that carries the digest of the line before it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.core.record import Record
from trimtab.foundations.store.line import DIGEST_CHARACTERS, frame

VERSION: Final = 1
"""Of a row, as its `v` says."""
GENESIS: Final = "0" * DIGEST_CHARACTERS
"""`prev` of a worker's very first row."""


class Link(msgspec.Struct):
    """What ties a row to its neighbours. `v`: the version of its layout."""

    seq: int
    prev: str
    v: int = 1


def _foreign(value: Any) -> str:
    """A record may carry values of any rule or classifier: better their text than the row lost."""
    return repr(value)


_encode = msgspec.json.Encoder(enc_hook=_foreign).encode
_link = msgspec.json.Decoder(Link).decode


def encode(record: Record, prev: str) -> bytes:
    """The line of a record, without newline; sets `record.prev`. Raises TypeError or OverflowError for what has no
    JSON."""
    record.prev = prev
    return frame(_encode(record))


def link(body: bytes) -> Link | None:
    """Sequence number and chain of a row; None if they are not there, which a fitting CRC makes a foreign file."""
    try:
        return _link(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None

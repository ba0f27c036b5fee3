"""One way to turn a value into bytes and a name: canonical JSON (sorted keys, UTF-8), blake2b."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Any) -> bytes:
    """Canonical JSON: the same bytes for equal values, whatever order their keys were written in."""
    return _encode(value)


def digest(value: Any, hex_chars: int = 12) -> str:
    """The first `hex_chars` of blake2b over canonical JSON."""
    return blake2b(canonical(value), digest_size=32).hexdigest()[:hex_chars]

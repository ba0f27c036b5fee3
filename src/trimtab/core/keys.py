"""API keys: a typed prefix, 30 random base62 characters, and six of CRC32 so that a typo costs no look-up.

`tt_live_` and `tt_test_` keys carry about 178 random bits, so a plain SHA-256 is all that need be stored. The checksum
(over everything before it) only tells a typo from a key; it proves nothing. `tt-demo-NAME` keys are a class of their
own: not secret, not random, accepted on loopback alone while the workspace says `demo: true`. KEY_PATTERN is published
for secret scanners.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Literal

Kind = Literal["live", "test", "demo"]

KEY_PATTERN = r"tt_(?:live|test)_[0-9A-Za-z]{36}"
DEMO_PATTERN = r"tt-demo-[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM, _CHECK = 30, 6
_key = re.compile(KEY_PATTERN).fullmatch
_demo = re.compile(DEMO_PATTERN).fullmatch


def make(kind: Literal["live", "test"], token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A fresh key. `token_bytes(n)` is the source of randomness; a seeded one makes a test repeat itself."""
    body = f"tt_{kind}_" + _random_text(token_bytes)
    return body + _checksum(body)


def kind_of(text: str) -> Kind | None:
    """The class of a well-shaped key, whether or not its checksum holds; None for any other text."""
    if _key(text):
        return "live" if text.startswith("tt_live_") else "test"
    return "demo" if _demo(text) else None


def checksum_ok(text: str) -> bool:
    """Whether this can be a key at all. False means a typo: nothing need be looked up. Demo keys have no checksum."""
    if _key(text):
        return _checksum(text[:-_CHECK]) == text[-_CHECK:]
    return _demo(text) is not None


def hash_key(text: str) -> str:
    """SHA-256 of the key in hex: the only form in which a key is kept."""
    return sha256(text.encode()).hexdigest()


def key_id(sha256_hex: str) -> str:
    """The public name of a key: `key_` and the first 16 hex of its hash."""
    return "key_" + sha256_hex[:16]


def _random_text(token_bytes: Callable[[int], bytes]) -> str:
    """Unbiased base62: bytes of 248 and above are thrown away, as 248 = 4 x 62."""
    text = ""
    while len(text) < _RANDOM:
        text += "".join(_ALPHABET[byte % 62] for byte in token_bytes(_RANDOM) if byte < 248)
    return text[:_RANDOM]


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    text = ""
    for _ in range(_CHECK):
        value, digit = divmod(value, 62)
        text = _ALPHABET[digit] + text
    return text

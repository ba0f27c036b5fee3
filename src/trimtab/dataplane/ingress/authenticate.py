"""Who asks: the key of a request, checked from the cheapest test to the dearest."""

from __future__ import annotations

from trimtab.core.clock import instant_ns
from trimtab.core.errors import Code, Refusal
from trimtab.core.keys import checksum_ok, hash_key, kind_of
from trimtab.core.request import Arrival, Head
from trimtab.core.tenancy import Key, KeyEntry, Tenancy

_INVALID = Refusal(code=Code.INVALID_API_KEY, message=Code.INVALID_API_KEY.value.cause)
"""One answer for unknown, revoked, expired and not allowed here: nothing is learnt by trying."""


def authenticate(head: Head, arrival: Arrival, tenancy: Tenancy, wall_ns: int) -> KeyEntry | Refusal:
    """The key's entry. A typo fails its checksum and costs no look-up; a key is never repeated in a message."""
    scheme, _, text = head.headers.get("authorization", "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        return Refusal(code=Code.MISSING_API_KEY, message=Code.MISSING_API_KEY.value.cause)
    if not checksum_ok(text):
        return _INVALID
    if kind_of(text) == "demo" and not (tenancy.demo and arrival.loopback):
        return _INVALID
    entry = tenancy.keys.get(hash_key(text))
    if entry is None or not _valid(entry.key, wall_ns):
        return _INVALID
    return entry


def _valid(key: Key, wall_ns: int) -> bool:
    if key.revoked_at is not None and instant_ns(key.revoked_at) <= wall_ns:
        return False
    return key.expires_at is None or wall_ns < instant_ns(key.expires_at)

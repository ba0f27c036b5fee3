"""Who asks: the key of a request, checked from the cheapest test to the dearest."""

from __future__ import annotations

from trimtab.core.clock import instant_ns
from trimtab.core.errors import Code, Refusal
from trimtab.core.keys import checksum_ok, hash_key, kind_of
from trimtab.core.request import Arrival, Head
from trimtab.core.tenancy import KeyEntry, Tenancy

_INVALID = Refusal(code=Code.INVALID_API_KEY, message=Code.INVALID_API_KEY.value.cause)
"""One answer for unknown, revoked and not allowed here: nothing is learnt by trying. That a key has expired is told, to
who has the whole of it: its owner can do something about that, and there is nothing left to guess."""


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
    if entry is None or _reached(entry.key.revoked_at, wall_ns):
        return _INVALID
    if _reached(entry.key.expires_at, wall_ns):
        message = f"the API key {entry.key.id} has expired, at {entry.key.expires_at}"
        return Refusal(code=Code.EXPIRED_API_KEY, message=message)
    return entry


def _reached(time: str | None, wall_ns: int) -> bool:
    return time is not None and instant_ns(time) <= wall_ns

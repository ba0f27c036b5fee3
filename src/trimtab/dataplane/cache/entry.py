"""An answer as it is kept: before its placeholders are restored, with the name of who gave it."""

from __future__ import annotations

import re
from typing import Any, Final, Self

import msgspec

from trimtab.core.models import Tier, Variant
from trimtab.core.money import Usage

# The guard's placeholders, plain and as JSON escapes within tool-call arguments. Rooms don't share code.
_placeholder = re.compile(rb"(?:<|\\u003[cC])([A-Z]+_[0-9]+)(?:>|\\+u003[eE])")
OVERHEAD_BYTES: Final = 1600
"""What an entry takes beyond its JSON: objects, key, queue (1.4 to 1.6 KB for one choice, by tracemalloc)."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer. Shared by all that it answers, so `data` must not be changed."""

    data: dict[str, Any]
    """An OpenAI `chat.completion`, or no more of it than its `choices`."""
    usage: Usage | None
    variant: str
    """Id of the variant that answered."""
    variant_name: str
    tier: Tier
    placeholders: frozenset[str]
    expires_ns: int
    """On the clock of `now_ns`; at this very moment it is stale."""
    size: int
    """Bytes, by estimate."""

    @classmethod
    def of(cls, *, data: dict[str, Any], usage: Usage | None, variant: Variant, expires_ns: int) -> Self:
        """An entry with a copy of `data`: what its maker does to it afterwards does not reach the cache."""
        encoded = msgspec.json.encode(data)
        return cls(
            data=msgspec.json.decode(encoded),
            usage=usage,
            variant=variant.id,
            variant_name=variant.name,
            tier=variant.tier,
            placeholders=frozenset(f"<{name.decode()}>" for name in _placeholder.findall(encoded)),
            expires_ns=expires_ns,
            size=len(encoded) + OVERHEAD_BYTES,
        )


def usable(entry: Entry, values: tuple[tuple[str, str], ...]) -> bool:
    """Whether every placeholder in the answer stands for something in this request."""
    return not entry.placeholders or entry.placeholders.issubset([placeholder for placeholder, _ in values])

"""Identifiers and the one random stream. A seeded `Ids` makes a whole run repeatable."""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Protocol

from trimtab.core.clock import Clock

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_32 = {ord(letter): "0123456789abcdefghijklmnopqrstuv"[place] for place, letter in enumerate(_CROCKFORD)}
_TO_32 |= dict.fromkeys(map(ord, "ILOU_abcdefghijklmnopqrstuvwxyz"), "~")  # no letters of an id: no number
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]  # ten bits at a time: a third of the time of five


class Ids(Protocol):
    """Where identifiers and random choices come from."""

    def record_id(self) -> str:
        """A fresh `rec_` + ULID."""
        ...

    @property
    def random(self) -> random.Random:
        """The random stream: seeded in tests and simulation."""
        ...


def ulid(wall_ms: int, entropy: int) -> str:
    """26 characters of Crockford base 32: 48 bits of milliseconds, 80 bits of `entropy` (github.com/ulid/spec)."""
    value = (wall_ms << 80) | entropy
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def ulid_bits(record_id: str) -> int:
    """The 128 bits of a record's id; of a text that holds no ULID, bits that are always the same."""
    text = record_id.removeprefix("rec_")
    try:
        value = int(text.translate(_TO_32), 32)
    except ValueError:
        value = 0
    if 0 < value < 1 << 128:
        return value
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest())


def arrival_ns(record_id: str) -> int:
    """The wall time in a record's id: when it was made, to the millisecond. Raises ValueError for what is none."""
    wall_ms = 0
    for letter in record_id.removeprefix("rec_")[:10]:
        wall_ms = wall_ms << 5 | _CROCKFORD.index(letter)
    return wall_ms * 1_000_000


class ClockIds:
    """Identifiers from a clock and a random stream; pass a seed for a run that repeats itself."""

    def __init__(self, clock: Clock, seed: int | None = None) -> None:
        self._clock = clock
        # Identifiers need to be unique, not secret: keys are made by `secrets`. A seedable stream serves both worlds.
        self._random = random.Random(seed)  # noqa: S311

    @property
    def random(self) -> random.Random:
        return self._random

    def record_id(self) -> str:
        return "rec_" + ulid(self._clock.wall_ns() // 1_000_000, self._random.getrandbits(80))

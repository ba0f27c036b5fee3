"""A year of requests, minute by minute: at a rate, bad with a small probability, and more so in incidents."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

DAY: Final = 1440
"""Minutes."""
ALLOWED: Final = 0.01
NULL: Final = 0.5
"""Of what is allowed, outside of incidents."""


class Kind(NamedTuple):
    """An incident: this share of requests is bad for so many minutes. `slow`: a ticket is what it calls for."""

    name: str
    bad: float
    minutes: int
    slow: bool = False


KINDS: Final = (
    Kind("all fail for 15 min", 1.0, 15),
    Kind("half fail for 30 min", 0.5, 30),
    Kind("a tenth fails for 2 h", 0.1, 120),
    Kind("3 % fail for a day", 0.03, DAY, slow=True),
    Kind("1.5 % fail for 3 days", 0.015, 3 * DAY, slow=True),
)


class Incident(NamedTuple):
    kind: Kind
    begin: int
    """Minute of the year."""

    @property
    def end(self) -> int:
        return self.begin + self.kind.minutes


class Minute(NamedTuple):
    events: int
    bad: int


def incidents(days: int, each: int, chosen: random.Random) -> list[Incident]:
    """So many of each kind, in an order that is drawn, a stretch of quiet after each."""
    kinds = [kind for kind in KINDS for _ in range(each)]
    chosen.shuffle(kinds)
    room = days * DAY // (len(kinds) + 1)
    found = []
    for number, kind in enumerate(kinds):
        begin = room * (number + 1) - kind.minutes // 2 + chosen.randrange(-60, 60)
        found.append(Incident(kind, begin))
    return found


def minutes(days: int, per_hour: float, found: Sequence[Incident], chosen: random.Random) -> Iterator[Minute]:
    ahead = iter(found)
    now = next(ahead, None)
    for at in range(days * DAY):
        while now is not None and at >= now.end:
            now = next(ahead, None)
        bad = now.kind.bad if now is not None and at >= now.begin else NULL * ALLOWED
        events = _poisson(per_hour / 60, chosen)
        yield Minute(events, sum(chosen.random() < bad for _ in range(events)))


def _poisson(mean: float, chosen: random.Random) -> int:
    """Knuth's: means here are at most some dozens."""
    limit, count, product = math.exp(-mean), 0, chosen.random()
    while product > limit:
        count += 1
        product *= chosen.random()
    return count

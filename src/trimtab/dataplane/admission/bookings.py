"""Bookings: when those who were refused were told to come back, so that there is room for them when they do.

A `Retry-After` is a promise only if somebody remembers it. Otherwise all who were refused in the same second are told
the same time, come back together, and most are refused again: the herd that backoff with jitter only blurs. So each one
who is told a time has a place of its own:

- **Places** follow each other at the pace at which the gate lets requests in. Classes come in order of rank, tenants of
  a class in turns (virtual start tags, as in start-time fair queuing: Goyal, Vin and Cheng, SIGCOMM 1996), so that a
  flood's places lie behind each other, and a quiet tenant's next to now.
- **Who comes back** is known by what it asks: a client that tries again sends the same once more, and has nothing to
  carry along.
- **Not all come back.** A place whose time passed `GRACE_NS` ago lapses, and the share that is taken up (an exponential
  mean) says how much is likely to come (`near`), and how close to each other places lie.

Costs O(log n) and a move of at most `MOST` pointers for each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from itertools import count
from math import inf
from typing import Final, TypeVar

import msgspec

from trimtab.core.clock import NS_PER_MS, NS_PER_S

Key = TypeVar("Key")

MOST: Final = 16_384
"""Places kept: who comes when all are taken is told the last one's time, without one."""
GRACE_NS: Final = 2 * NS_PER_S
"""How long after its time a place is kept: `Retry-After` has whole seconds."""
EARLY_NS: Final = 10 * NS_PER_MS
"""How much too early may be: clocks tick apart."""
NEAR: Final = 256
"""Places that are looked at: with so many promised nobody else has room anyway."""
LEAST_SHOW: Final = 0.01
_WEIGHT: Final = 0.03


class Booking(msgspec.Struct, eq=False):
    """One place."""

    rank: int
    tenant: str
    key: int
    due_ns: int
    tag: float
    number: int


class Bookings:
    """Of one gate."""

    def __init__(self) -> None:
        self.show = 1.0
        """Share of places that are taken up."""
        self._numbers = count()
        self._tags: list[tuple[int, float, float]] = []
        """(rank, tag, number), in the order in which they should be served."""
        self._dues: list[tuple[int, int]] = []
        """(due_ns, number), in order of time."""
        self._places: dict[int, Booking] = {}
        self._keys: dict[int, deque[Booking]] = {}
        self._lines: dict[tuple[int, str], deque[Booking]] = {}
        """Of each tenant of a class, in order of time."""

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<Bookings: {len(self)} places of {len(self._lines)} tenants, {self.show:.0%} taken up>"

    def book(self, rank: int, tenant: str, key: int, first_ns: int, interval_ns: float) -> int:
        """A place for the request `key`, not before `first_ns` and `interval_ns` after the one before it; when it is,
        on the clock."""
        own, apart_ns = self._lines.get((rank, tenant)), self.show * interval_ns
        tag = self._tag(rank, tenant)
        due_ns = first_ns + int(bisect_right(self._tags, (rank, tag, inf)) * apart_ns)
        if own:
            due_ns = max(due_ns, own[-1].due_ns + int(apart_ns * len(self._lines)))
        if len(self) >= MOST:
            return due_ns
        place = Booking(rank, tenant, key, due_ns, tag, next(self._numbers))
        self._places[place.number] = place
        insort(self._tags, (rank, tag, place.number))
        insort(self._dues, (due_ns, place.number))
        self._keys.setdefault(key, deque()).append(place)
        self._lines.setdefault((rank, tenant), deque()).append(place)
        return due_ns

    def claim(self, key: int, now_ns: int) -> bool:
        """A request has come: whether it was told to, about now. It takes its place up."""
        own = self._keys.get(key)
        if not own or own[0].due_ns > now_ns + EARLY_NS:
            return False
        self._drop(own[0])
        self.show += _WEIGHT * (1 - self.show)
        return True

    def give_up(self, key: int) -> None:
        """A request was let in that had a place still to come."""
        if own := self._keys.get(key):
            self._drop(own[0])

    def near(self, rank: int, tenant: str, until_ns: int) -> float:
        """How many are likely to come up to a time, of those whose turn it is before one more of this tenant."""
        last = min(bisect_left(self._dues, (until_ns, 0)), NEAR)
        before = (rank, self._tag(rank, tenant))
        places = (self._places[number] for _, number in self._dues[:last])
        return self.show * sum((one.rank, one.tag) < before for one in places)

    def lapse(self, now_ns: int) -> None:
        """Forget who has not come."""
        while self._dues and self._dues[0][0] + GRACE_NS < now_ns:
            self._drop(self._places[self._dues[0][1]])
            self.show = max(LEAST_SHOW, self.show - _WEIGHT * self.show)

    def _tag(self, rank: int, tenant: str) -> float:
        """Of a tenant's next place: one more than its last, and not before the next of its class: it can't save up."""
        at, own = bisect_left(self._tags, (rank, 0.0, 0)), self._lines.get((rank, tenant))
        least = self._tags[at][1] if at < len(self._tags) and self._tags[at][0] == rank else 1.0
        return max(least, own[-1].tag + 1) if own else least

    def _drop(self, place: Booking) -> None:
        del self._places[place.number]
        del self._tags[bisect_left(self._tags, (place.rank, place.tag, place.number))]
        del self._dues[bisect_left(self._dues, (place.due_ns, place.number))]
        _take(self._keys, place.key, place)
        _take(self._lines, (place.rank, place.tenant), place)


def _take(lines: dict[Key, deque[Booking]], name: Key, place: Booking) -> None:
    line = lines[name]
    line.remove(place)
    if not line:
        del lines[name]

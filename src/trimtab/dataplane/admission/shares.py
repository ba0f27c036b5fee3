"""What a tenant leaves free for others: whoever runs a third of all that runs, not the last places.

Turns alone can't keep a flood from the others: it takes whatever is free, as it should, and who comes then has to wait
until an answer ends, with everybody who came in the same burst. So a tenant that has `MOST` of what runs leaves as many
places free as others have lately come for, up to `KEPT` of all. Nothing is kept where nobody else comes.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from trimtab.core.clock import NS_PER_S

MOST: Final = 1 / 3
"""Share of what runs, from which on a tenant leaves places free."""
KEPT: Final = 1 / 8
"""Share of all places that it leaves at most."""
LATELY_NS: Final = 10 * NS_PER_S
"""Time constant of how many others come."""
TENANTS: Final = 4096
"""Tenants that are known; then those who came longest ago are forgotten."""


class _Lately:
    """A count that fades."""

    __slots__ = ("at_ns", "value")

    def __init__(self) -> None:
        self.value, self.at_ns = 0.0, 0

    def now(self, now_ns: int) -> float:
        return self.value * math.exp(min(0, self.at_ns - now_ns) / LATELY_NS)

    def add(self, now_ns: int) -> None:
        self.value, self.at_ns = self.now(now_ns) + 1, now_ns


class Shares:
    """Who runs how much, and who has come lately, by tenant and class."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._used = 0
        self._come: dict[tuple[int, str], _Lately] = {}
        self._all: dict[int, _Lately] = {}

    def __repr__(self) -> str:
        return f"<Shares: {self._used} run, of {len(self._running)} tenants>"

    def come(self, rank: int, tenant: str, now_ns: int) -> None:
        """Somebody asks, whatever becomes of it."""
        found = self._come.pop((rank, tenant), None) or _Lately()
        self._come[rank, tenant] = found  # the newest last
        found.add(now_ns)
        self._all.setdefault(rank, _Lately()).add(now_ns)
        if len(self._come) > TENANTS:
            del self._come[next(iter(self._come))]

    def begin(self, tenant: str) -> None:
        """One of its requests runs."""
        self._running[tenant] += 1
        self._used += 1

    def end(self, tenant: str) -> None:
        """It runs no more."""
        self._running[tenant] -= 1
        self._used -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def running(self, tenant: str) -> int:
        """Requests of it that run."""
        return self._running.get(tenant, 0)

    def kept(self, rank: int, tenant: str, now_ns: int) -> int:
        """Places that one more of this tenant must leave free: for others of its class and of more urgent ones."""
        most = int(KEPT * (self._used + 1))
        if not most or self.running(tenant) < MOST * self._used:
            return 0
        others = 0.0
        for at, all_ in self._all.items():
            if at <= rank:
                own = self._come.get((at, tenant))
                others += all_.now(now_ns) - (own.now(now_ns) if own is not None else 0.0)
        return min(most, round(others))

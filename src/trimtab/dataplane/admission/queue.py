"""The fair queue: by class, among tenants of a class by what they have had, within a tenant by what is due first.

- **Classes** are strict, except that each has a least share of what is served: one that has had less of the last
  `REMEMBERED` tokens goes first. So the lowest never starves, and the highest waits for little.
- **Tenants** of a class take turns by the virtual token counter (Sheng et al., "Fairness in serving large language
  models", OSDI 2024): who has had least goes first. A counter grows by what a request costs, prompts once and answers
  twice, when it is taken and, for what its answer had more or less than foreseen, at its end. A tenant that comes back
  is lifted to the least of those who wait: it can't save up. Two tenants that always wait so never differ by more than
  two of the dearest requests, whatever they send.
- **Within a tenant** the earliest deadline goes first. Who can't be served in time any more leaves unserved.

Nothing here waits: `Gate` does. Entries are taken out in O(log n), and those who left are swept when they outnumber the
rest, so that the queue of the impatient stays as long as its waiters.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final, Generic, TypeVar

import msgspec

Item = TypeVar("Item")

LEAST: Final[Mapping[int, float]] = {0: 0.0, 1: 0.1, 2: 0.05, 3: 0.02}
"""Least share of a class, by its rank, while it has waiters."""
REMEMBERED: Final = 200_000.0
"""Tokens over which shares are meant."""
ANSWER: Final = 2.0
"""Cost of an answer's token, in prompt tokens (the paper's weights)."""
IDLE_TENANTS: Final = 4096
"""Counters kept of tenants with nobody waiting."""


def cost(prompt: float, output: float) -> float:
    """Of a request, in prompt tokens."""
    return prompt + ANSWER * output


class Entry(msgspec.Struct, Generic[Item], eq=False, kw_only=True):
    """Somebody who waits. `due`: the order within a tenant, on any clock; `gone`: has left, or was taken."""

    item: Item
    rank: int
    tenant: str
    due: int
    tokens: float
    gone: bool = False


class _Tenant(Generic[Item]):
    __slots__ = ("entries", "waiting")

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, Entry[Item]]] = []
        self.waiting = 0

    def head(self) -> Entry[Item] | None:
        while self.entries and self.entries[0][2].gone:
            heapq.heappop(self.entries)
        return self.entries[0][2] if self.entries else None

    def sweep(self) -> None:
        if len(self.entries) > 2 * self.waiting + 16:
            self.entries = [entry for entry in self.entries if not entry[2].gone]
            heapq.heapify(self.entries)


class FairQueue(Generic[Item]):
    """Who waits, in the order in which they should be served: `for entry in queue: ... queue.take(entry)`."""

    def __init__(self, least: Mapping[int, float] = LEAST) -> None:
        self._least = least
        self._classes: dict[int, dict[str, _Tenant[Item]]] = {}
        self._counters: dict[tuple[int, str], float] = {}
        self._had: dict[int, float] = {}
        self._order = count()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<FairQueue: {self._waiting} wait, of {sum(map(len, self._classes.values()))} tenants>"

    def ahead_of(self, rank: int) -> int:
        """How many of this class and of higher ones wait."""
        return sum(
            tenant.waiting for own, tenants in self._classes.items() if own <= rank for tenant in tenants.values()
        )

    def push(self, item: Item, *, rank: int, tenant: str, due: int, tokens: float) -> Entry[Item]:
        """Stand in line; `tokens` is its `cost`."""
        entry = Entry(item=item, rank=rank, tenant=tenant, due=due, tokens=tokens)
        tenants = self._classes.setdefault(rank, {})
        if tenant not in tenants:
            self._lift(rank, tenant, tenants)
            tenants[tenant] = _Tenant()
        line = tenants[tenant]
        heapq.heappush(line.entries, (due, next(self._order), entry))
        line.waiting += 1
        self._waiting += 1
        return entry

    def leave(self, entry: Entry[Item]) -> None:
        """Unserved. Any number of times, also after `take`."""
        if entry.gone:
            return
        entry.gone = True
        tenants = self._classes[entry.rank]
        line = tenants[entry.tenant]
        line.waiting -= 1
        self._waiting -= 1
        line.sweep()
        if not line.waiting:
            del tenants[entry.tenant]
            if not tenants:
                del self._classes[entry.rank]

    def take(self, entry: Entry[Item]) -> None:
        """It is served: its tenant and its class have had its tokens."""
        self.leave(entry)
        self.charge(entry.rank, entry.tenant, entry.tokens)

    def charge(self, rank: int, tenant: str, tokens: float) -> None:
        """What somebody has had who did not wait, or what an answer had more (less: below 0) than foreseen."""
        key = (rank, tenant)
        old = self._counters.pop(key, None)
        if old is None:
            old = min((self._counters[rank, other] for other in self._classes.get(rank, ())), default=0.0)
        self._counters[key] = old + tokens  # the newest last: the first of a full table is the one longest unused
        if len(self._counters) > IDLE_TENANTS:
            self._forget()
        self._had[rank] = self._had.get(rank, 0.0) + tokens
        total = sum(self._had.values())
        if total > REMEMBERED:
            self._had = {one: tokens * REMEMBERED / total for one, tokens in self._had.items()}

    def __iter__(self) -> Iterator[Entry[Item]]:
        """One entry of each tenant, the first to be served first."""
        for rank in self._ranks():
            counters = self._counters
            tenants = self._classes.get(rank, {})
            for name in sorted(tenants, key=lambda tenant: counters[rank, tenant]):
                line = tenants.get(name)
                head = line.head() if line is not None else None
                if head is not None:
                    yield head

    def expired(self, now: int) -> list[Entry[Item]]:
        """Of each tenant those whose `due` has passed, taken out."""
        found = []
        for tenants in list(self._classes.values()):
            for line in list(tenants.values()):
                while (head := line.head()) is not None and head.due <= now:
                    found.append(head)
                    self.leave(head)
        return found

    def _ranks(self) -> list[int]:
        """Classes with waiters: first those that have had less than their share."""
        total = sum(self._had.values())

        def place(rank: int) -> tuple[bool, int]:
            short = total > 0 and self._had.get(rank, 0.0) < self._least.get(rank, 0.0) * total
            return not short, rank

        return sorted(self._classes, key=place)

    def _lift(self, rank: int, tenant: str, tenants: Mapping[str, _Tenant[Item]]) -> None:
        """A tenant comes (back): what it did not use while it was away is nobody's debt."""
        least = min((self._counters[rank, other] for other in tenants), default=0.0)
        key = (rank, tenant)
        self._counters[key] = max(self._counters.pop(key, 0.0), least)

    def _forget(self) -> None:
        for key in list(self._counters):
            if key[1] not in self._classes.get(key[0], {}):
                del self._counters[key]
                if len(self._counters) <= IDLE_TENANTS:
                    return

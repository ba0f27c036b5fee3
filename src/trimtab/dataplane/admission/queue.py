"""The fair queue: by class, among tenants of a class by what they have had, within a tenant by what is due first.

- **Classes** are strict, except that each has a least share of what is served while it waits: that is owed to it, and
  once its next request could be paid with it that one goes first (Shreedhar and Varghese, "Efficient fair queueing
  using deficit round robin", SIGCOMM 1995). So the lowest never starves, and who has just come overtakes nobody.
- **Tenants** of a class take turns by the virtual token counter (Sheng et al., "Fairness in serving large language
  models", OSDI 2024): who has had least goes first. A counter grows by what a request costs, prompts once and answers
  twice, when it is taken and, for what its answer had more or less than foreseen, at its end. Two tenants that always
  wait so never differ by more than two of the dearest requests, whatever they send, and by what is learned of answers
  only at their end.
- **Within a tenant** the earliest deadline goes first. Who leaves, leaves unserved.

A tenant that comes back is lifted to the floor of its class, less `SAVED` requests of usual cost: so much of what
others had meanwhile it may catch up with, and no more. Without that, whoever comes in bursts takes turns with one that
asks all the time as with an equal (Duda and Cheriton, "Borrowed-virtual-time scheduling", SOSP 1999). The floor is the
least counter of those who waited just before the last charge (the paper takes those who wait now, which lifts a tenant
with one request at a time to the others between two of its own: served in turns, not by tokens), and while nobody waits
that of whoever is served (the start tag of Goyal, Vin and Cheng, "Start-time fair queuing", SIGCOMM 1996). It never
falls.

Only differences between counters of a class matter. One that is not above what all are lifted to says nothing and is
dropped with its last waiter, and all are lowered together before they outgrow what a float tells apart.

Nothing here waits: `Gate` does. A pass sorts the tenants that wait, and an entry is taken out in O(log n) of its
tenant's; those who left are swept when they outnumber the rest, so that the queue of the impatient stays as long as its
waiters.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from itertools import count
from math import isfinite
from typing import Final, Generic, TypeVar

import msgspec

Item = TypeVar("Item")

LEAST: Final[Mapping[int, float]] = {0: 0.0, 1: 0.1, 2: 0.05, 3: 0.02}
"""Least share of a class, by its rank, while it has waiters."""
ANSWER: Final = 2.0
"""Cost of an answer's token, in prompt tokens (the paper's weights)."""
SAVED: Final = 8.0
"""Requests of usual cost that a tenant which comes back may be ahead by."""
USUAL: Final = 0.02
"""Weight of the newest request in the usual cost."""
IDLE_TENANTS: Final = 4096
"""Counters kept, in each class, of tenants with nobody waiting."""
HIGH: Final = 2.0**40
"""Floor from which on the counters of a class are lowered: a float tells 1/4096 of a token apart there."""


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


class _Line(Generic[Item]):
    """Who waits of one tenant."""

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


class _Class(Generic[Item]):
    """The tenants of one class. `owed`: tokens that it should have had while it waited. `usual`: a request's cost."""

    __slots__ = ("counters", "floor", "lines", "owed", "saved", "usual")

    def __init__(self, saved: float) -> None:
        self.saved = saved
        self.lines: dict[str, _Line[Item]] = {}
        self.counters: dict[str, float] = {}  # the newest last, so that a full table forgets the one longest unused
        self.floor = 0.0
        self.owed = 0.0
        self.usual: float | None = None

    @property
    def least(self) -> float:
        """What a counter is lifted to."""
        return self.floor - self.saved * (self.usual or 0.0)

    def line(self, tenant: str) -> _Line[Item]:
        """A tenant comes (back): little of what it did not use while it was away is owed to it."""
        found = self.lines.get(tenant)
        if found is None:
            self.counters[tenant] = self._lifted(tenant)
            found = self.lines[tenant] = _Line()
        return found

    def heads(self) -> Iterator[Entry[Item]]:
        """The next of each tenant, whose turn it is first."""
        for name in sorted(self.lines, key=self.counters.__getitem__):
            line = self.lines.get(name)
            head = line.head() if line is not None else None
            if head is not None:
                yield head

    def first(self) -> Entry[Item]:
        """The next of all. Somebody waits."""
        head = self.lines[min(self.lines, key=self.counters.__getitem__)].head()
        assert head is not None, "a line without a waiter is ended"
        return head

    def charge(self, tenant: str, tokens: float) -> None:
        """The floor rises first: to the least of those who wait, or while nobody does to whoever is served."""
        old = self.counters[tenant] if tenant in self.lines else self._lifted(tenant)
        self.floor = max(self.floor, min((self.counters[name] for name in self.lines), default=old))
        self.counters.pop(tenant, None)
        self.counters[tenant] = old + tokens
        if tenant not in self.lines:
            self._idle(tenant)
        if self.floor > HIGH:
            self._lower()

    def had(self, tenant: str) -> float:
        """Its counter, which is not below what all are lifted to unless it waits."""
        least = self.least
        return self.counters[tenant] if tenant in self.lines else max(self.counters.get(tenant, least), least)

    def ahead(self, tenant: str) -> int:
        """How many go before one more of this tenant, at what a request usually costs: as many of each as bring its
        counter up to where this one's will be by then."""
        waiting = self.lines[tenant].waiting if tenant in self.lines else 0
        usual, had, found = self.usual or 1.0, self.had(tenant), waiting
        for name, line in self.lines.items():
            if name != tenant:
                before = math.floor((had - self.counters[name]) / usual) + waiting + 1
                found += min(line.waiting, max(before, 0))
        return found

    def end(self, tenant: str) -> None:
        """The last of a tenant's waiters is gone."""
        del self.lines[tenant]
        self._idle(tenant)

    def _lifted(self, tenant: str) -> float:
        least = self.least
        return max(self.counters.pop(tenant, least), least)

    def _idle(self, tenant: str) -> None:
        """Keep the counter of a tenant with nobody waiting only if it says more than what all are lifted to."""
        if self.counters[tenant] <= self.least:
            del self.counters[tenant]
        elif len(self.counters) - len(self.lines) > IDLE_TENANTS:
            del self.counters[next(name for name in self.counters if name not in self.lines)]

    def _lower(self) -> None:
        """So many tokens off all counters that the floor is 0."""
        least, off, self.floor = self.least, self.floor, 0.0
        kept = ((name, own) for name, own in self.counters.items() if own > least or name in self.lines)
        self.counters = {name: own - off for name, own in kept}


class FairQueue(Generic[Item]):
    """Who waits, in the order in which they should be served: `for entry in queue: ... queue.take(entry)`.

    Whoever is taken changes the order: begin anew then. Not for threads: lives on the event loop.
    """

    def __init__(self, least: Mapping[int, float] = LEAST, *, saved: float = SAVED) -> None:
        self._least, self._saved = least, saved
        self._classes: dict[int, _Class[Item]] = {}
        self._order = count()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<FairQueue: {self._waiting} wait, of {sum(len(one.lines) for one in self._classes.values())} tenants>"

    @property
    def kept(self) -> tuple[int, int]:
        """Entries and counters in memory: at most 2 * waiters + 16 of each tenant that waits, and a counter of each of
        these and of `IDLE_TENANTS` others of a class."""
        classes = self._classes.values()
        entries = sum(len(line.entries) for one in classes for line in one.lines.values())
        return entries, sum(len(one.counters) for one in classes)

    def push(self, item: Item, *, rank: int, tenant: str, due: int, tokens: float) -> Entry[Item]:
        """Stand in line; `tokens` is its `cost`. Raises ValueError for tokens that are no finite number from 0 on."""
        if not (isfinite(tokens) and tokens >= 0):
            raise ValueError(f"a request costs a finite number of tokens from 0 on, got {tokens}")
        entry = Entry(item=item, rank=rank, tenant=tenant, due=due, tokens=tokens)
        line = self._class(rank).line(tenant)
        heapq.heappush(line.entries, (due, next(self._order), entry))
        line.waiting += 1
        self._waiting += 1
        return entry

    def leave(self, entry: Entry[Item]) -> None:
        """Unserved. Any number of times, also after `take`."""
        if entry.gone:
            return
        entry.gone = True
        own = self._classes[entry.rank]
        line = own.lines[entry.tenant]
        line.waiting -= 1
        self._waiting -= 1
        line.sweep()
        if not line.waiting:
            own.end(entry.tenant)

    def take(self, entry: Entry[Item]) -> None:
        """It is served: its tenant and its class have had its tokens. Once, and not after it has left."""
        assert not entry.gone, "an entry was taken that had left or been taken before"
        self.charge(entry.rank, entry.tenant, entry.tokens)  # while it stands in line: who stays must not lift it
        self.leave(entry)

    def charge(self, rank: int, tenant: str, tokens: float) -> None:
        """A request that is served, whether it has waited or not. Raises ValueError for what is no finite number from 0
        on."""
        if not (isfinite(tokens) and tokens >= 0):
            raise ValueError(f"a request costs a finite number of tokens from 0 on, got {tokens}")
        own = self._class(rank)
        own.usual = tokens if own.usual is None else own.usual + USUAL * (tokens - own.usual)
        self.correct(rank, tenant, tokens)

    def correct(self, rank: int, tenant: str, tokens: float) -> None:
        """What an answer had more (less: below 0) than was charged. Raises ValueError for what is no finite number."""
        if not isfinite(tokens):
            raise ValueError(f"what was had is a finite number of tokens, got {tokens}")
        own = self._class(rank)
        own.charge(tenant, tokens)
        for at, one in self._classes.items():
            if one.lines:
                one.owed = max(0.0, one.owed + self._least.get(at, 0.0) * tokens)
        own.owed = max(0.0, own.owed - tokens) if tokens > 0 else own.owed

    def ahead(self, rank: int, tenant: str) -> int:
        """About how many go before one more of this tenant: all of more urgent classes, and of its own who has had
        less by then."""
        more_urgent = sum(line.waiting for at, one in self._classes.items() if at < rank for line in one.lines.values())
        return more_urgent + self._class(rank).ahead(tenant)

    def goes_before(self, rank: int, tenant: str, *, of_equals: bool = False) -> bool:
        """Whether somebody in line goes before one more of this tenant. `of_equals`: also who has had as much as it."""
        first = next(iter(self._ranks()), rank)
        if first != rank:
            return first < rank or self._is_owed(first)
        own = self._class(rank)
        theirs, had = min(map(own.had, own.lines), default=math.inf), own.had(tenant)
        return theirs <= had if of_equals else theirs < had

    def had(self, rank: int, tenant: str) -> float:
        """What a tenant of a class has had, as its turns count it."""
        return self._class(rank).had(tenant)

    def __iter__(self) -> Iterator[Entry[Item]]:
        """One entry of each tenant, the first to be served first. Entries may come and go meanwhile: who has gone does
        not come, who came may be left to the next time."""
        for rank in self._ranks():
            yield from self._classes[rank].heads()

    def _class(self, rank: int) -> _Class[Item]:
        found = self._classes.get(rank)
        if found is None:
            found = self._classes[rank] = _Class(self._saved)
        return found

    def _ranks(self) -> list[int]:
        """Classes with waiters: first those whose next request is owed to them."""

        ranks = (rank for rank, one in self._classes.items() if one.lines)
        return sorted(ranks, key=lambda rank: (not self._is_owed(rank), rank))

    def _is_owed(self, rank: int) -> bool:
        """Whether the next request of a class that waits could be paid with what it should have had."""
        own = self._classes[rank]
        return own.owed > 0 and own.owed >= own.first().tokens

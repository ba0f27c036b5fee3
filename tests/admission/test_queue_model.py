"""The fair queue beside a list that is sorted anew for each question."""

from __future__ import annotations

from itertools import count, product

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trimtab.dataplane.admission.queue import SAVED, USUAL, Entry, FairQueue

EXACT = {0: 0.0, 1: 0.125, 2: 0.0625, 3: 0.03125}
"""Least shares whose products with whole tokens are exact, so that queue and model can't part over a last digit."""
RANKS = st.sampled_from(list(EXACT))
TENANTS = st.sampled_from("abcd")
TOKENS = st.integers(0, 50_000)


class Naive:
    """The definitions, word by word: every question looks at everybody, and nothing is ever forgotten."""

    def __init__(self) -> None:
        self.waiting: list[Entry[int]] = []  # in order of arrival
        self.lines: list[tuple[int, str]] = []  # tenants that wait, in the order in which they began to
        self.counters: dict[tuple[int, str], float] = {}
        self.floor = dict.fromkeys(EXACT, 0.0)
        self.owed: dict[int, float] = {}
        self.usual: dict[int, float] = {}

    def come(self, entry: Entry[int]) -> None:
        line = (entry.rank, entry.tenant)
        if line not in self.lines:
            self.counters[line] = self.lifted(line)
            self.lines.append(line)
        self.waiting.append(entry)

    def lifted(self, line: tuple[int, str]) -> float:
        return max(self.counters.get(line, -1e300), self.least(line[0]))

    def least(self, rank: int) -> float:
        return self.floor[rank] - SAVED * self.usual.get(rank, 0.0)

    def go(self, entry: Entry[int]) -> None:
        line = (entry.rank, entry.tenant)
        self.waiting = [one for one in self.waiting if one is not entry]
        if not any((one.rank, one.tenant) == line for one in self.waiting):
            self.lines.remove(line)
            self.idle(line)

    def idle(self, line: tuple[int, str]) -> None:
        if self.counters[line] <= self.least(line[0]):
            del self.counters[line]

    def charge(self, rank: int, tenant: str, tokens: float) -> None:
        usual = self.usual.get(rank, tokens)
        self.usual[rank] = usual + USUAL * (tokens - usual)
        self.correct(rank, tenant, tokens)

    def correct(self, rank: int, tenant: str, tokens: float) -> None:
        line = (rank, tenant)
        old = self.counters[line] if line in self.lines else self.lifted(line)
        least = min([self.counters[one] for one in self.lines if one[0] == rank] or [old])
        self.floor[rank] = max(self.floor[rank], least)
        self.counters[line] = old + tokens
        if line not in self.lines:
            self.idle(line)
        for own in {own for own, _ in self.lines}:
            self.owed[own] = max(0.0, self.owed.get(own, 0.0) + EXACT[own] * tokens)
        if tokens > 0:
            self.owed[rank] = max(0.0, self.owed.get(rank, 0.0) - tokens)

    def order(self) -> list[Entry[int]]:
        ranks = sorted({rank for rank, _ in self.lines})
        heads = {rank: self._heads(rank) for rank in ranks}
        owed = [rank for rank in ranks if 0 < self.owed.get(rank, 0.0) >= heads[rank][0].tokens]
        return [entry for rank in [*owed, *(rank for rank in ranks if rank not in owed)] for entry in heads[rank]]

    def goes_before(self, rank: int, tenant: str, of_equals: bool) -> bool:
        """Whether who is first of all would still be with one more."""
        for entry in self.order()[:1]:
            owed = 0 < self.owed.get(entry.rank, 0.0) >= entry.tokens
            if entry.rank != rank:
                return owed or entry.rank < rank
            line = (rank, tenant)
            had = self.counters[line] if line in self.lines else self.lifted(line)
            theirs = self.counters[rank, entry.tenant]
            return theirs < had or (of_equals and theirs == had)
        return False

    def ahead(self, rank: int, tenant: str) -> int:
        """All of more urgent classes; its own; and those of its class whose counters, by what a request usually costs,
        have not passed its own by then."""
        had, usual = self.counters[rank, tenant], self.usual.get(rank) or 1.0
        own = sum((one.rank, one.tenant) == (rank, tenant) for one in self.waiting)
        found = own + sum(one.rank < rank for one in self.waiting)
        for at, name in self.lines:
            if at == rank and name != tenant:
                turns = sum((one.rank, one.tenant) == (rank, name) for one in self.waiting)
                found += sum(turn - own <= (had - self.counters[at, name]) / usual for turn in range(turns))
        return found

    def _heads(self, rank: int) -> list[Entry[int]]:
        found = []
        for line in sorted((line for line in self.lines if line[0] == rank), key=lambda line: self.counters[line]):
            own = [entry for entry in self.waiting if (entry.rank, entry.tenant) == line]
            found.append(min(own, key=lambda entry: entry.due))  # of equal ones the first, as it came
        return found


class Machine(RuleBasedStateMachine):
    """Any order of coming, leaving, being taken, being charged and being too late."""

    @initialize()
    def begin(self) -> None:
        self.queue: FairQueue[int] = FairQueue(EXACT)
        self.naive = Naive()
        self.names = count()
        self.pushed: set[int] = set()
        self.out: list[int] = []
        self.all: list[Entry[int]] = []

    @rule(rank=RANKS, tenant=TENANTS, due=st.integers(0, 9), tokens=TOKENS, times=st.integers(1, 3))
    def push(self, rank: int, tenant: str, due: int, tokens: int, times: int) -> None:
        for _ in range(times):
            name = next(self.names)
            entry = self.queue.push(name, rank=rank, tenant=tenant, due=due, tokens=tokens)
            assert (entry.item, entry.gone) == (name, False)
            self.naive.come(entry)
            self.pushed.add(name)
            self.all.append(entry)

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Also who has left or was taken before: nothing happens."""
        entry = data.draw(st.sampled_from(self.all))
        if not entry.gone:
            self.naive.go(entry)
            self.out.append(entry.item)
        self.queue.leave(entry)

    @precondition(lambda self: self.naive.waiting)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Mostly the first; any other that is offered may be what fits."""
        offered = list(self.queue)
        entry = offered[data.draw(st.sampled_from([0, 0, 0, len(offered) - 1]))]
        self.queue.take(entry)
        self.naive.charge(entry.rank, entry.tenant, entry.tokens)
        self.naive.go(entry)
        self.out.append(entry.item)

    @rule(rank=RANKS, tenant=TENANTS, tokens=TOKENS)
    def charge(self, rank: int, tenant: str, tokens: int) -> None:
        self.queue.charge(rank, tenant, tokens)
        self.naive.charge(rank, tenant, tokens)

    @rule(rank=RANKS, tenant=TENANTS, tokens=st.integers(-20_000, 50_000))
    def correct(self, rank: int, tenant: str, tokens: int) -> None:
        self.queue.correct(rank, tenant, tokens)
        self.naive.correct(rank, tenant, tokens)

    @rule(data=st.data())
    def come_and_go_meanwhile(self, data: st.DataObject) -> None:
        """During a pass some leave: who has gone does not come, nobody comes twice, and nothing raises."""
        came: list[Entry[int]] = []
        for entry in self.queue:
            assert not entry.gone
            came.append(entry)
            others = [other for other in self.naive.waiting if other is not entry]
            if others and data.draw(st.booleans()):
                other = data.draw(st.sampled_from(others))
                self.queue.leave(other)
                self.naive.go(other)
                self.out.append(other.item)
        assert len({(entry.rank, entry.tenant) for entry in came}) == len(came)

    @invariant()
    def agrees(self) -> None:
        assert [entry.item for entry in self.queue] == [entry.item for entry in self.naive.order()]
        for rank, tenant in self.naive.lines:
            assert self.queue.ahead(rank, tenant) == self.naive.ahead(rank, tenant)
        for rank in EXACT:
            for tenant, of_equals in product("ad", (True, False)):
                told = self.queue.goes_before(rank, tenant, of_equals=of_equals)
                assert told == self.naive.goes_before(rank, tenant, of_equals)
        assert len(self.queue) == len(self.naive.waiting)

    @invariant()
    def loses_nobody(self) -> None:
        """Who was pushed waits or has gone, once."""
        assert sorted([*self.out, *(entry.item for entry in self.naive.waiting)]) == sorted(self.pushed)

    @invariant()
    def keeps_little(self) -> None:
        entries, counters = self.queue.kept
        lines = len(self.naive.lines)
        assert entries <= 2 * len(self.naive.waiting) + 17 * lines
        assert counters == len(self.naive.counters)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

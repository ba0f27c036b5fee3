"""Places for those who were told to come back: each is taken up at most once, not before its time, and none stays for
good."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trimtab.core.clock import NS_PER_MS, NS_PER_S
from trimtab.dataplane.admission.bookings import EARLY_NS, GRACE_NS, Bookings


class Machine(RuleBasedStateMachine):
    """Beside a plain list of (rank, tenant, key, due_ns)."""

    def __init__(self) -> None:
        super().__init__()
        self.bookings = Bookings()
        self.now_ns = 0
        self.known: list[tuple[int, str, int, int]] = []

    @rule(
        rank=st.integers(0, 3),
        tenant=st.sampled_from("abc"),
        key=st.integers(0, 5),
        ahead_ms=st.integers(0, 5_000),
        interval_ms=st.integers(1, 500),
    )
    def book(self, rank: int, tenant: str, key: int, ahead_ms: int, interval_ms: int) -> None:
        first_ns = self.now_ns + ahead_ms * NS_PER_MS
        due_ns = self.bookings.book(rank, tenant, key, first_ns, interval_ms * NS_PER_MS)
        assert due_ns >= first_ns
        own = [due for r, t, _, due in self.known if (r, t) == (rank, tenant)]
        apart_ns = int(self.bookings.show * interval_ms * NS_PER_MS)
        assert not own or due_ns >= max(own) + apart_ns, "two of a tenant's places lie on each other"
        self.known.append((rank, tenant, key, due_ns))

    @rule(key=st.integers(0, 5))
    def come(self, key: int) -> None:
        self.lapse()
        mine = [one for one in self.known if one[2] == key]
        in_time = bool(mine) and mine[0][3] <= self.now_ns + EARLY_NS
        assert self.bookings.claim(key, self.now_ns) == in_time
        if in_time:
            self.known.remove(mine[0])

    @rule(key=st.integers(0, 5))
    def is_let_in_before(self, key: int) -> None:
        self.bookings.give_up(key)
        mine = [one for one in self.known if one[2] == key]
        if mine:
            self.known.remove(mine[0])

    @rule(ms=st.integers(0, 4_000))
    def pass_time(self, ms: int) -> None:
        self.now_ns += ms * NS_PER_MS
        self.lapse()

    @rule(rank=st.integers(0, 3), tenant=st.sampled_from("abcd"), ms=st.integers(0, 4_000))
    def look_ahead(self, rank: int, tenant: str, ms: int) -> None:
        """All of more urgent classes, all of its own; of others not more than of its own and one."""
        until_ns = self.now_ns + ms * NS_PER_MS
        soon = [one for one in self.known if one[3] < until_ns]
        own = [one for one in self.known if one[:2] == (rank, tenant)]
        least = sum(one[0] < rank or one in own for one in soon)
        near = self.bookings.near(rank, tenant, until_ns) / self.bookings.show
        assert near >= least - 1e-6
        assert near <= sum(one[0] <= rank for one in soon) + 1e-6
        if not own:
            assert near <= least + 1e-6

    @invariant()
    def is_as_long(self) -> None:
        assert len(self.bookings) == len(self.known)
        assert 0 < self.bookings.show <= 1

    def lapse(self) -> None:
        self.bookings.lapse(self.now_ns)
        self.known = [one for one in self.known if one[3] + GRACE_NS >= self.now_ns]


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.integers(1, 200), st.integers(1, 20))
def test_a_quiet_tenant_is_not_put_behind_a_flood(flood: int, quiet: int) -> None:
    """With so many of one tenant's places before it, another's n-th lies about where the flood's n-th does."""
    bookings, interval_ns = Bookings(), 100 * NS_PER_MS
    of_flood = [bookings.book(2, "flood", number, 0, interval_ns) for number in range(flood)]
    of_quiet = [bookings.book(2, "quiet", -1 - number, 0, interval_ns) for number in range(quiet)]
    assert of_flood == sorted(of_flood)
    assert max(of_flood) == (flood - 1) * interval_ns
    for number, due_ns in enumerate(of_quiet):
        assert due_ns <= (2 * number + 1) * interval_ns


def test_a_higher_class_is_told_sooner() -> None:
    bookings = Bookings()
    for number in range(50):
        bookings.book(2, "shop", number, 0, NS_PER_S)
    assert bookings.book(0, "bank", 100, 0, NS_PER_S) == 0
    assert bookings.book(3, "crawler", 101, 0, NS_PER_S) == 51 * NS_PER_S


def test_places_of_those_who_never_come_draw_together() -> None:
    """Room is held for as many as come: of none who were told to, nearly none."""
    bookings, now_ns = Bookings(), 0
    for number in range(300):
        now_ns = bookings.book(2, "shop", number, now_ns, NS_PER_S) + GRACE_NS + 1
        bookings.lapse(now_ns)
    assert bookings.show < 0.02
    bookings.book(2, "shop", 1000, now_ns, NS_PER_S)
    assert bookings.book(2, "shop", 1001, now_ns, NS_PER_S) < now_ns + NS_PER_S // 20


def test_memory_is_bounded() -> None:
    """Whoever comes when all places are given is told a time, too."""
    bookings = Bookings()
    for number in range(17_000):
        bookings.book(2, f"tenant {number % 7}", number, 0, NS_PER_MS)
    assert len(bookings) == 16_384
    assert bookings.book(2, "late", -1, 0, NS_PER_MS) > 0
    assert not bookings.claim(-1, 10**12)

"""What the fair queue promises to tenants and to classes, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.dataplane.admission import queue as module
from trimtab.dataplane.admission.queue import HIGH, IDLE_TENANTS, LEAST, SAVED, Entry, FairQueue, cost


def serve(queue: FairQueue[int], rank: int, tenant: str, tokens: float) -> None:
    """Stand in line, so that somebody of this tenant waits again."""
    queue.push(0, rank=rank, tenant=tenant, due=0, tokens=tokens)


def first(queue: FairQueue[int]) -> Entry[int]:
    return next(iter(queue))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=10),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=10),
    st.lists(st.tuples(st.booleans(), st.integers(1, 10_000)), min_size=20, max_size=120),
)
def test_two_that_always_wait_are_served_alike(
    mine: list[int], yours: list[int], others: list[tuple[bool, int]]
) -> None:
    """Over any stretch of time they differ by at most two of the dearest requests, whatever they send, also while
    others come, go, and are served without waiting; also who has only one request at a time, as long as the next one
    comes before anybody else is served."""
    queue: FairQueue[int] = FairQueue()
    sends = {"a": mine, "b": yours}
    sent, had = {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}
    for tenant in "ab":
        serve(queue, 0, tenant, sends[tenant][0])
    ahead = [0.0]
    for waits, tokens in others:
        if waits:
            serve(queue, 0, "c", tokens)
        else:
            queue.charge(0, "d", tokens)
        for _ in range(2):
            entry = first(queue)
            queue.take(entry)
            if entry.tenant in sends:
                had[entry.tenant] += entry.tokens
                sent[entry.tenant] += 1
                own = sends[entry.tenant]
                serve(queue, 0, entry.tenant, own[sent[entry.tenant] % len(own)])
            ahead.append(had["a"] - had["b"])
    assert max(ahead) - min(ahead) <= 2 * max(*mine, *yours, *(tokens for _, tokens in others))


@pytest.mark.parametrize("others_wait", [True, False])
@pytest.mark.parametrize("how", ["new", "was here", "past the queue"])
def test_who_comes_back_is_lifted(others_wait: bool, how: str) -> None:
    """After hours in which one tenant was served alone, another that comes catches up with some turns and gets every
    second one then, not all of them: neither with somebody waiting at the time nor with the queue just empty."""
    queue: FairQueue[int] = FairQueue()
    if how == "was here":
        serve(queue, 1, "rare", 100)
        queue.take(first(queue))
    for _ in range(1000):
        serve(queue, 1, "busy", 100)
        queue.take(first(queue))
    if others_wait:
        serve(queue, 1, "busy", 100)
    if how == "past the queue":
        for _ in range(1000):
            queue.charge(1, "busy", 100)
    for _ in range(30):
        serve(queue, 1, "rare", 100)
        serve(queue, 1, "busy", 100)
    turns = []
    for _ in range(20):
        entry = first(queue)
        queue.take(entry)
        turns.append(entry.tenant)
    assert turns[-10:].count("rare") == 5
    assert SAVED + 5 <= turns.count("rare") <= SAVED + 7


def test_who_came_meanwhile_saves_nothing_more() -> None:
    """The floor never falls: tenants that come back one after the other, each ahead of it by what is allowed, do not
    lower it for the next."""
    queue: FairQueue[int] = FairQueue()
    for _ in range(100):
        queue.charge(1, "busy", 100)
    for number in range(50):
        serve(queue, 1, f"rare{number}", 100)
        queue.take(first(queue))
    assert queue.had(1, "busy") - queue.had(1, "new") <= (SAVED + 1) * 100


def test_who_is_served_without_waiting_pays() -> None:
    """A tenant far below the others can't have for nothing what it is given past the queue."""
    queue: FairQueue[int] = FairQueue(saved=0)
    queue.charge(1, "sly", 10)
    for tenant in ("a", "b"):
        serve(queue, 1, tenant, 1000)
    for tenant in ("a", "b"):
        queue.charge(1, tenant, 50_000)
    queue.charge(1, "sly", 1500)
    serve(queue, 1, "sly", 1000)
    assert [entry.tenant for entry in queue] == ["a", "b", "sly"]


def test_what_an_answer_had_less_is_given_back() -> None:
    """Who was charged for a long answer and had a short one is ahead by the difference."""
    queue: FairQueue[int] = FairQueue()
    for tenant in "ab":
        for _ in range(5):
            serve(queue, 0, tenant, cost(100, 200))
    queue.take(first(queue))
    assert first(queue).tenant == "b"
    queue.correct(0, "a", -cost(0, 200))
    assert first(queue).tenant == "b"  # a has had 100
    queue.take(first(queue))
    assert [first(queue).tenant, queue.take(first(queue)), first(queue).tenant] == ["a", None, "b"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1, 2, 3]),
    st.lists(st.integers(1, 5000), min_size=1, max_size=6),
    st.lists(st.integers(1, 5000), min_size=1, max_size=6),
)
def test_the_lowest_has_its_share_of_a_flood_and_no_more(rank: int, flood: list[int], trickle: list[int]) -> None:
    """While the highest class always has somebody waiting, a lower one gets its least share of all tokens, short of one
    request, and not more than that and one request: beyond its share classes are strict."""
    queue: FairQueue[int] = FairQueue()
    sends, sent, had = {0: flood, rank: trickle}, {0: 0, rank: 0}, {0: 0.0, rank: 0.0}
    dearest = max(*flood, *trickle)
    for own in sends:
        serve(queue, own, "t", sends[own][0])
    for _ in range(1500):
        entry = first(queue)
        queue.take(entry)
        had[entry.rank] += entry.tokens
        sent[entry.rank] += 1
        own = sends[entry.rank]
        serve(queue, entry.rank, "t", own[sent[entry.rank] % len(own)])
        total = sum(had.values())
        assert LEAST[rank] * total - 2 * dearest <= had[rank] <= LEAST[rank] * total + dearest


def test_all_classes_have_their_shares_at_once() -> None:
    """With everybody waiting, the lowest too; what is left over is the highest class's."""
    queue: FairQueue[int] = FairQueue()
    had = dict.fromkeys(LEAST, 0.0)
    for rank in LEAST:
        serve(queue, rank, "t", 100)
    for _ in range(20_000):
        entry = first(queue)
        queue.take(entry)
        had[entry.rank] += entry.tokens
        serve(queue, entry.rank, "t", 100)
    shares = {rank: tokens / sum(had.values()) for rank, tokens in had.items()}
    for rank in (1, 2, 3):
        assert LEAST[rank] - 0.001 <= shares[rank] <= LEAST[rank] + 0.001
    assert shares[0] > 0.82


def test_who_has_just_come_overtakes_nobody() -> None:
    """However much a higher class has had before: what is owed counts from when somebody waits, and is not saved up."""
    queue: FairQueue[int] = FairQueue()
    for _ in range(1000):
        queue.charge(0, "t", 100)
    serve(queue, 0, "t", 100)
    serve(queue, 3, "t", 100)
    turns = 0
    while first(queue).rank == 0:
        queue.take(first(queue))
        serve(queue, 0, "t", 100)
        turns += 1
    assert turns == round(1 / LEAST[3])
    queue.take(first(queue))
    serve(queue, 3, "t", 100)
    assert first(queue).rank == 0


def test_within_a_tenant_the_earliest_deadline_goes_first() -> None:
    """At equal ones, who came first."""
    queue: FairQueue[str] = FairQueue()
    for item, due in (("late", 9), ("one", 5), ("soon", 1), ("two", 5), ("three", 5)):
        queue.push(item, rank=0, tenant="t", due=due, tokens=1)
    order = []
    while len(queue):
        entry = next(iter(queue))
        queue.take(entry)
        order.append(entry.item)
    assert order == ["soon", "one", "two", "three", "late"]


def test_an_entry_is_taken_once() -> None:
    """Taking it again, or after it left, would be charged for nothing served: it is a mistake of the caller."""
    queue: FairQueue[int] = FairQueue()
    entry = queue.push(0, rank=0, tenant="t", due=0, tokens=1)
    queue.take(entry)
    queue.leave(entry)
    with pytest.raises(AssertionError, match="taken that had left"):
        queue.take(entry)


@pytest.mark.parametrize("tokens", [float("nan"), float("inf"), -1.0])
def test_what_is_no_cost_is_refused(tokens: float) -> None:
    """It would stand in a counter for ever; nothing is changed by it."""
    queue: FairQueue[int] = FairQueue()
    with pytest.raises(ValueError, match="finite number"):
        queue.push(0, rank=0, tenant="t", due=0, tokens=tokens)
    with pytest.raises(ValueError, match="finite number"):
        queue.charge(0, "t", tokens)
    if tokens != -1:
        with pytest.raises(ValueError, match="finite number"):
            queue.correct(0, "t", tokens)
    assert (len(queue), queue.kept) == (0, (0, 0))


def test_memory_is_that_of_who_waits() -> None:
    """A crowd that comes and leaves, one tenant or many, leaves nothing; served tenants leave a bounded table."""
    queue: FairQueue[int] = FairQueue()
    for _ in range(10_000):
        queue.leave(queue.push(0, rank=0, tenant="t", due=0, tokens=1))
    patient = [queue.push(0, rank=0, tenant="t", due=due, tokens=1) for due in range(10)]
    for index in range(10_000):
        queue.leave(queue.push(0, rank=0, tenant="t", due=100 + index, tokens=1))
    assert queue.kept[0] <= 2 * len(patient) + 16
    for index in range(3 * IDLE_TENANTS):
        queue.leave(queue.push(0, rank=0, tenant=f"leaves{index}", due=0, tokens=1))
    assert queue.kept[1] == 1
    for index in range(3 * IDLE_TENANTS):
        queue.charge(0, f"served{index}", 5)
    assert queue.kept[1] == IDLE_TENANTS + 1
    assert [entry.item for entry in queue] == [0]


def test_a_full_table_forgets_who_was_longest_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never one that waits, and not one that was just served."""
    monkeypatch.setattr(module, "IDLE_TENANTS", 2)
    queue: FairQueue[int] = FairQueue(saved=0)
    serve(queue, 0, "waits", 1)
    for tenant in ("a", "b", "a", "c"):  # b is longest away
        queue.charge(0, tenant, 10)
    for tenant in "cba":
        serve(queue, 0, tenant, 1)
    assert [entry.tenant for entry in queue] == ["waits", "b", "c", "a"]


def test_counters_stay_exact_over_years() -> None:
    """The order after 2**61 tokens, when a float knows no single one any more, is that after none."""
    queue: FairQueue[int] = FairQueue(saved=0)
    serve(queue, 0, "a", 3)
    serve(queue, 0, "b", 3)
    for _ in range(1 << 11):
        for tenant in "ab":
            queue.charge(0, tenant, HIGH * 2**10)
    queue.charge(0, "a", 1)
    queue.charge(0, "idle", 0.5)
    assert [entry.tenant for entry in queue] == ["b", "a"]
    serve(queue, 0, "idle", 3)
    assert [entry.tenant for entry in queue] == ["b", "idle", "a"]


def test_its_repr_says_who_waits() -> None:
    """Entries and tenants."""
    queue: FairQueue[int] = FairQueue()
    for tenant in "aab":
        serve(queue, 2, tenant, 1)
    assert repr(queue) == "<FairQueue: 3 wait, of 2 tenants>"

"""Attempts of one request, and of all: the machine is walked through, whatever fails."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import Code, Refusal
from trimtab.dataplane.inference import Fault, RetryBudget, Tries
from trimtab.dataplane.inference.retries import MOST_ATTEMPTS, Next, pause_s

_REFUSAL = Refusal(code=Code.UPSTREAM_FAILED, message="no")


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def wall_ns(self) -> int:
        return self.ns

    async def offload(self, function, *args):  # type: ignore[no-untyped-def]
        return function(*args)


def fault(consequence: str = "retry", reason: str = "http 503", *, again: bool = False, rest_s: float | None = None):  # type: ignore[no-untyped-def]
    return Fault(consequence=consequence, reason=reason, refusal=_REFUSAL, again=again, rest_s=rest_s)  # type: ignore[arg-type]


FAULTS = [
    fault(again=True),
    fault(reason="hung up", again=True),
    fault(reason="http 429", again=True, rest_s=2.0),
    fault(reason="no connection"),
    fault("next", "context length"),
    fault("final", "content filter"),
]


@given(
    st.lists(st.sampled_from(FAULTS), min_size=40, max_size=40),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(0, 30),
)
@settings(max_examples=400)
def test_every_walk_through_the_machine_ends(faults: list[Fault], models: list[int], spent: int) -> None:
    """Any faults, any fleet, any budget: a request asks MOST_ATTEMPTS times at most, a replica once, or twice where a
    fault said so; attempts beyond the first are paid for; a final fault ends it."""
    clock = Hand()
    budget = RetryBudget(clock)
    for _ in range(spent):
        budget.take()
    tries, asked, paid = Tries(budget), [], 0
    told: Next | None = None
    left = iter(faults)
    for model, count in enumerate(models):
        replicas = [f"{model}/{n}" for n in range(count)]
        again: str | None = None
        while True:
            replica = again or next((one for one in replicas if one not in tries.tried), None)
            if replica is None or not tries.pay():
                break
            assert tries.pay(), "paying twice pays once"
            paid += bool(asked)
            tries.begin(replica)
            asked.append((replica, again is not None))
            one = next(left)
            told = tries.failed(replica, one, others=any(other not in tries.tried for other in replicas))
            assert (told == "over") == (one.consequence == "final")
            assert told != "other" or any(other not in tries.tried for other in replicas)
            assert told != "again" or one.again
            again = replica if told == "again" else None
            if told in ("onward", "over"):
                break
        if told == "over":
            break
    assert len(asked) == tries.attempts <= MOST_ATTEMPTS
    assert paid <= max(0.0, 20 - spent + 0.2)
    for replica in {name for name, _ in asked}:
        times = [again for name, again in asked if name == replica]
        assert times in ([False], [False, True])


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 8)), min_size=1, max_size=300), st.integers(1, 3))
@settings(max_examples=200)
def test_over_any_ten_seconds_retries_are_a_fifth_of_the_requests_and_a_hundred(
    steps: list[tuple[int, int]], workers: int
) -> None:
    """Everything fails, and every request would go on asking: attempts <= 1.2 x requests + 10/s, over every window
    that begins at an event, for all workers together."""
    clock = Hand()
    budgets = [RetryBudget(clock, workers) for _ in range(workers)]
    events: list[tuple[int, int, int]] = []  # when, requests, attempts
    for wait_ms, asks in steps:
        clock.ns += wait_ms * 1_000_000
        for budget in budgets:
            budget.request()
            retries = sum(budget.take() for _ in range(asks))
            events.append((clock.ns, 1, 1 + retries))
    for start, _, _ in events:
        window = [event for event in events if start <= event[0] <= start + 10 * NS_PER_S]
        requests, attempts = (sum(event[i] for event in window) for i in (1, 2))
        assert attempts <= 1.2 * requests + 100 + 1e-6


def test_a_budget_fills_with_time_and_with_requests() -> None:
    """Twenty at once; then eight a second, and one for each five requests."""
    clock = Hand()
    budget = RetryBudget(clock)
    assert sum(budget.take() for _ in range(50)) == 20
    clock.ns = NS_PER_S
    assert sum(budget.take() for _ in range(50)) == 8
    for _ in range(5):
        budget.request()
    assert sum(budget.take() for _ in range(50)) == 1


@pytest.mark.parametrize(
    ("one", "least", "most"),
    [
        (fault(reason="hung up", again=True), 0.0, 0.0),
        (fault(again=True), 0.1, 0.15),
        (fault(reason="http 429", again=True, rest_s=2.0), 2.0, 2.0),
    ],
    ids=["hung up", "5xx", "told"],
)
def test_pauses(one: Fault, least: float, most: float) -> None:
    """None for a connection that was closing, a moment that differs by request, or as long as was told."""
    pauses = {pause_s(one, key) for key in range(100)}
    assert least <= min(pauses) <= max(pauses) <= most
    assert len(pauses) == 1 if least == most else len(pauses) > 30

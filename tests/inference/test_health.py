"""The circuit breaker of a replica, as a machine: every walk keeps its rules."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.records import CLOCK
from trimtab.core.clock import NS_PER_S
from trimtab.core.models import HealthTerms
from trimtab.dataplane.inference import Fleet, Origin, Replica
from trimtab.dataplane.inference.health import LEAST_WEIGHT, LONGEST_EJECTION_S, Health

TERMS = HealthTerms(failures=3, eject_s=2.0, slow_start_s=10.0)


class Walk(RuleBasedStateMachine):
    """Requests begin where `takes` allows, and end in any way, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.health = Health(TERMS)
        self.now = 0
        self.running: list[bool] = []
        self.in_a_row = 0
        self.ejected_at: int | None = None

    @rule(ms=st.integers(1, 20_000))
    def passes(self, ms: int) -> None:
        self.now += ms * 1_000_000

    @precondition(lambda self: self.health.takes(self.now))
    @rule()
    def begins(self) -> None:
        self.running.append(self.health.began(self.now))

    @precondition(lambda self: self.running)
    @rule(how=st.sampled_from(["succeeded", "failed", "gone"]))
    def ends(self, how: str) -> None:
        trial = self.running.pop(0)
        before = self.health.state(self.now)
        if how == "succeeded":
            self.health.succeeded(self.now)
            self.in_a_row = 0
            assert self.health.state(self.now) in ("well", "slow") or not (trial or any(self.running))
        elif how == "failed":
            ejected = self.health.failed(self.now)
            self.in_a_row += 1
            if before == "half-open":
                assert ejected, "a trial that fails ejects at once"
            elif before in ("well", "slow"):
                assert ejected == (self.in_a_row >= 3)
            if ejected:
                self.in_a_row, self.ejected_at = 0, self.now
                assert self.health.state(self.now) == "ejected"
        if trial:
            self.health.trial_ended()

    @invariant()
    def rules(self) -> None:
        state = self.health.state(self.now)
        assert state != "ejected" or not self.health.takes(self.now)
        assert LEAST_WEIGHT <= self.health.weight(self.now) <= 1.0
        assert state in ("slow", "half-open", "ejected") or self.health.weight(self.now) == 1.0
        if state == "half-open":
            assert self.health.takes(self.now) == (not any(self.running)), "one trial at a time"
        if state == "ejected":
            assert self.ejected_at is not None
            assert self.now - self.ejected_at < LONGEST_EJECTION_S * NS_PER_S


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_each_ejection_in_a_row_lasts_twice_as_long_and_ends() -> None:
    """2, 4, 8, 16, 16 s; once it was well for its slow start it is 2 s again."""
    health, now, lasted = Health(TERMS), 0, []
    for _ in range(5):
        while not health.failed(now):
            pass
        since = now
        now = health.until_ns()
        lasted.append((now - since) / NS_PER_S)
        assert health.state(now - 1) == "ejected"
        assert health.state(now) == "half-open"
    assert lasted == [2, 4, 8, 16, 16]
    assert not health.succeeded(now), "of an attempt from before the ejection"
    assert health.began(now)
    assert health.succeeded(now)
    health.trial_ended()
    assert health.weight(now) == LEAST_WEIGHT
    assert health.weight(now + 5 * NS_PER_S) == 0.5
    now += 10 * NS_PER_S
    assert (health.state(now), health.weight(now)) == ("well", 1.0)
    assert health.failed(now, at_once=True)
    assert health.until_ns() - now == 2 * NS_PER_S


def test_who_joins_replicas_that_serve_begins_slowly() -> None:
    """An engine that was started again has another address; one that is there from the start, or whose key alone is
    another, is as warm as it was."""

    def replica(name: str, port: int, key: str = "k") -> Replica:
        origin = Origin("http", "127.0.0.1", port, True)
        return Replica(id=name, model="m", origin=origin, path="/", headers=(("authorization", key),))

    fleet = Fleet(CLOCK)

    def states(*replicas: Replica) -> list[str]:
        fleet.update({"m": replicas})
        return [view.health for view in fleet.views()["m"]]

    assert states(replica("a", 1)) == ["well"]
    assert states(replica("a", 1), replica("b", 2)) == ["well", "slow"]
    assert states(replica("b", 2)) == ["slow"]
    assert states(replica("a", 3), replica("b", 2)) == ["slow", "slow"]
    assert states(replica("a", 3, "another"), replica("b", 2)) == ["well", "slow"]
    assert states() == []
    assert states(replica("a", 4)) == ["well"], "nobody served meanwhile"

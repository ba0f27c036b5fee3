"""Retries: how often may a request ask, and what does a failed attempt lead to. No clocks, no network: a machine that
tests can walk through whole.

An attempt that failed leads to one of four things (`Next`):

    again     the same replica, after a pause: it hung up before it answered, answered 5xx, or told when to come back
    other     another replica of the same model
    onward    another plan: this model can't, or has no replica left
    over      nobody can: the caller is told

Rules that hold whatever happens: a request asks MOST_ATTEMPTS times at most; each replica once, and once more only by
`again`; every attempt but a request's first is paid from one budget of all requests (`RetryBudget`).
"""

from __future__ import annotations

from typing import Literal

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.inference.dialect import Fault

MOST_ATTEMPTS = 5
"""Of one request, hedges included."""
SHARE = 0.2
PER_S = 8.0
BURST = 20.0
"""Of the retry budget: 0.2 of the requests, and 10 a second. A window of 10 s may begin with a full bucket, so that
what flows in during it is BURST less: 20 + 8 x 10 = 10 x 10."""
PAUSE_S = 0.1
"""Before the same replica is asked again that told no time; up to half of it more, by the request."""

Next = Literal["again", "other", "onward", "over"]


class RetryBudget:
    """Attempts beyond the first of each request, hedges and fallbacks among them: over any 10 s at most a fifth of the
    requests of these 10 s, and 100. A token bucket, since a window that slides could begin just before a burst.
    """

    def __init__(self, clock: Clock, workers: int = 1) -> None:
        self._clock, self._workers = clock, workers
        self._burst = BURST / workers
        self._tokens = self._burst
        self._at_ns = clock.now_ns()

    def request(self) -> None:
        """A request asks for the first time."""
        self._tokens = min(self._burst, self._flown() + SHARE)

    def take(self) -> bool:
        """One more attempt, if there is one left."""
        self._tokens = self._flown()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _flown(self) -> float:
        now = self._clock.now_ns()
        passed_s, self._at_ns = (now - self._at_ns) / NS_PER_S, now
        return min(self._burst, self._tokens + passed_s * PER_S / self._workers)


class Tries:
    """The attempts of one request, over all of its plans."""

    __slots__ = ("_again", "_asked", "_budget", "_paid", "attempts")

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._asked: set[str] = set()
        self._again: set[str] = set()
        self._paid = False
        self.attempts = 0

    @property
    def tried(self) -> set[str]:
        """Replicas, by id, that are not to be picked any more."""
        return self._asked

    def pay(self) -> bool:
        """Pay for the next attempt now; whether there is one to be had. Called twice it pays once."""
        if self._paid:
            return True
        if self.attempts >= MOST_ATTEMPTS:
            return False
        if self.attempts and not self._budget.take():
            return False
        self._paid = True
        return True

    def begin(self, replica: str) -> None:
        """An attempt begins, which `pay` has paid for."""
        assert self._paid, "an attempt that nobody has paid for"
        if not self.attempts:
            self._budget.request()
        self._paid = False
        self.attempts += 1
        self._asked.add(replica)

    def failed(self, replica: str, fault: Fault, *, others: bool) -> Next:
        """What this fault leads to; `others`: the model has another replica that could be asked."""
        if fault.consequence == "final":
            return "over"
        if fault.consequence == "next":
            return "onward"
        if fault.again and others and fault.reason != "hung up":
            return "other"
        if fault.again and replica not in self._again:
            self._again.add(replica)
            return "again"
        return "other" if others else "onward"


def pause_s(fault: Fault, key: int) -> float:
    """Before a replica is asked again: as it told, or a moment that differs from request to request (`key`)."""
    if fault.reason == "hung up":
        return 0.0  # a kept connection may have been closing under our request: nothing is wrong with the replica
    return fault.rest_s if fault.rest_s is not None else PAUSE_S * (1 + key % 64 / 128)

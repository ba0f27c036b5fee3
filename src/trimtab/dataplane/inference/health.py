"""Health of a replica: a circuit breaker as a small machine of its own, free of clocks and of the network.

    well --(failures in a row)--> ejected --(its time is over)--> half-open --(one trial succeeds)--> slow --> well
                                     ^                                |
                                     +------(the trial fails)---------+

While half-open one request at a time is let through. After a trial has succeeded the replica gets its share back
little by little (slow start), since one that was just started again is cold. Each ejection in a row lasts twice as
long, up to LONGEST_EJECTION_S, so that whoever recovers is found within that time (Envoy's outlier detection).
"""

from __future__ import annotations

from typing import Literal

from trimtab.core.clock import NS_PER_S
from trimtab.core.models import HealthTerms

LONGEST_EJECTION_S = 16.0
LEAST_WEIGHT = 0.1
"""Of a replica whose slow start has just begun; 1 is a whole share."""

State = Literal["well", "ejected", "half-open", "slow"]


class Health:
    """See the module. Times are ns of one monotonic clock."""

    __slots__ = ("_ejections", "_failures", "_found_out", "_slow_since_ns", "_trials", "_until_ns", "terms")

    def __init__(self, terms: HealthTerms) -> None:
        self.terms = terms
        self._failures = self._ejections = self._trials = 0
        self._until_ns: int | None = None
        self._found_out = False
        """Ejected since nobody is there or a probe said so: what a probe can take back."""
        self._slow_since_ns: int | None = None

    def begins_slow(self, now_ns: int) -> None:
        """It has just been started, where others serve already."""
        self._slow_since_ns = now_ns

    def state(self, now_ns: int) -> State:
        if self._until_ns is not None:
            return "ejected" if now_ns < self._until_ns else "half-open"
        if self._slow_since_ns is not None:
            if now_ns - self._slow_since_ns < self.terms.slow_start_s * NS_PER_S:
                return "slow"
            self._slow_since_ns, self._ejections = None, 0
        return "well"

    def takes(self, now_ns: int) -> bool:
        """Whether one more request may be sent there."""
        state = self.state(now_ns)
        return state in ("well", "slow") or (state == "half-open" and not self._trials)

    def weight(self, now_ns: int) -> float:
        """Its share of the requests, beside replicas that are well: LEAST_WEIGHT to 1."""
        if self.state(now_ns) != "slow" or self._slow_since_ns is None:
            return 1.0
        passed = (now_ns - self._slow_since_ns) / NS_PER_S / self.terms.slow_start_s
        return max(LEAST_WEIGHT, passed)

    def until_ns(self) -> int:
        """When its ejection ends or ended; 0 for one that is not ejected."""
        return self._until_ns or 0

    def began(self, now_ns: int) -> bool:
        """A request was sent there; whether it is a trial, to be ended by `trial_ended`."""
        if self._until_ns is None:
            return False
        self._trials += 1
        return True

    def trial_ended(self) -> None:
        """However it ended, also by its caller's hang-up."""
        self._trials -= 1

    def succeeded(self, now_ns: int) -> bool:
        """An answer came whole; whether that has changed anything. One that was sent before the ejection says nothing
        of what came after."""
        self._failures = 0
        if self._until_ns is None or not self._trials:
            return False
        self._until_ns = None
        self._slow_since_ns = now_ns
        return True

    def failed(self, now_ns: int, *, at_once: bool = False, found_out: bool | None = None) -> bool:
        """An answer did not come, or not whole; whether the replica is ejected by it. `at_once`: one failure is enough
        (nobody is there, our key is not taken). `found_out`: a probe may take it back; unset, as `at_once`."""
        self._failures += 1
        state = self.state(now_ns)
        if state == "ejected":
            return False
        if state == "half-open" or at_once or self._failures >= self.terms.failures:
            lasts_s = min(self.terms.eject_s * 2**self._ejections, max(LONGEST_EJECTION_S, self.terms.eject_s))
            self._ejections = min(self._ejections + 1, 16)
            self._until_ns = now_ns + int(lasts_s * NS_PER_S)
            self._slow_since_ns, self._failures, self._found_out = None, 0, at_once if found_out is None else found_out
            return True
        return False

    def seen_well(self, now_ns: int) -> None:
        """A probe was answered: one that nobody could reach may be tried now. Whoever fails its requests is not well
        for having a page that says so."""
        if self._until_ns is not None and self._found_out:
            self._until_ns = min(self._until_ns, now_ns)

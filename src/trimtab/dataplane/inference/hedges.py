"""Hedges: a second attempt beside one that is slower than was foreseen, on another replica; whoever begins first
answers (Dean and Barroso, "The tail at scale", CACM 56(2), 2013).

What they may cost is bounded at all times, not on average: at most SHARE of the requests so far, and SPEND of the money
that requests have cost so far. They are paid from the retry budget as well.
"""

from __future__ import annotations

SHARE = 0.05
SPEND = 0.02


class HedgeBudget:
    """Of one gateway, since its start."""

    def __init__(self) -> None:
        self._requests = self._hedges = 0
        self._spent_nanousd = self._hedged_nanousd = 0

    def request(self, nanousd: int) -> None:
        """A request has ended, and has cost so much in all."""
        self._requests += 1
        self._spent_nanousd += nanousd

    def take(self, nanousd: int) -> bool:
        """One more that may cost so much, if that is within both bounds."""
        if self._hedges + 1 > SHARE * self._requests:
            return False
        if nanousd and self._hedged_nanousd + nanousd > SPEND * self._spent_nanousd:
            return False
        self._hedges += 1
        self._hedged_nanousd += nanousd
        return True

"""Testing by betting: evidence that a mean is above a threshold, that may be looked at whenever and however often.

Values lie in [low, high]. The hypothesis is that each has, given all before it, a mean of at most `threshold`. Capital
starts at 1, and a share of it is put on the opposite: K *= 1 + f (x - threshold) / (threshold - low), f in (0, 1). If
the hypothesis holds, no bet gains on average, so that K ever reaches 1/alpha has probability <= alpha (Ville, 1939).
The right f is not known; capital is divided over several, and their sum is a bet like any other. Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting" (JRSS-B 86, 2024); Ramdas, Gruenwald, Vovk and Shafer,
"Game-theoretic statistics and safe anytime-valid inference" (Statistical Science 38, 2023).

A test with a fixed sample size must not be looked at before its end: one that is looked at after each value rejects a
true hypothesis sooner or later, with certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isfinite, log, log1p
from typing import Final

import msgspec

from trimtab.foundations.stats.base import Certificate

Bets = tuple[tuple[float, float], ...]
BETS: Final[Bets] = tuple((fraction, 1 / 7) for fraction in (0.01, 0.03, 0.08, 0.2, 0.4, 0.7, 0.95))
"""Fractions of the largest stake that can't ruin, and the share of the capital that goes by each. A factor of two in f
costs a quarter of the growth, seven shares cost as much evidence as a factor of seven."""


class EProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """An EProcess between two runs. `logs`: of the capital of each bet; `peak`: of the highest sum ever."""

    threshold: float
    low: float
    high: float
    bets: Bets
    logs: list[float]
    peak: float
    total: float
    observations: int


class EProcess:
    """Evidence that a mean is above `threshold`. Raises ValueError for settings that can't work.

    Several can be averaged for one alarm over all of them, whatever hangs together. O(1) in memory and time, 1 us.
    """

    def __init__(self, threshold: float, *, low: float = 0.0, high: float = 1.0, bets: Bets = BETS) -> None:
        if not low < threshold < high:
            raise ValueError(f"the threshold must lie between {low} and {high}, got {threshold}")
        if not all(0 < fraction < 1 and share > 0 for fraction, share in bets):
            raise ValueError(f"bets are fractions between 0 and 1 with shares above 0, got {bets}")
        if abs(sum(share for _, share in bets) - 1) > 1e-9:
            raise ValueError(f"the shares of all bets are 1 together, got {bets}")
        self.threshold, self.low, self.high, self.bets = threshold, low, high, bets
        self._logs = [log(share) for _, share in bets]
        self._peak = self._total = 0.0
        self._count = 0

    def __repr__(self) -> str:
        return f"<EProcess mean > {self.threshold:g}: e-value {self.e_value:.3g} of {self._count} values>"

    @property
    def e_value(self) -> float:
        """The capital now. A stopping rule may be anything: its mean is at most 1 under the hypothesis."""
        return _exp(_sum(self._logs))

    @property
    def p_value(self) -> float:
        """1 over the highest capital ever: valid at any time, never larger than it was."""
        return min(1.0, _exp(-self._peak))

    def observe(self, value: float) -> None:
        """Raises ValueError for a value outside [low, high]."""
        if not self.low <= value <= self.high:
            raise ValueError(f"a value lies between {self.low} and {self.high}, got {value}")
        gain = (value - self.threshold) / (self.threshold - self.low)
        self._logs = [one + log1p(fraction * gain) for one, (fraction, _) in zip(self._logs, self.bets, strict=True)]
        self._peak = max(self._peak, _sum(self._logs))
        self._total += value
        self._count += 1

    def certificate(self) -> Certificate:
        """That the mean is above the threshold; `error` is the p-value, 1 where nothing speaks for it."""
        return Certificate(
            claim=f"mean above {self.threshold:g}",
            method="betting",
            estimate=self._total / self._count if self._count else None,
            lower=self.threshold,
            upper=self.high,
            error=self.p_value,
            observations=self._count,
        )

    def state(self) -> EProcessState:
        return EProcessState(
            threshold=self.threshold,
            low=self.low,
            high=self.high,
            bets=self.bets,
            logs=list(self._logs),
            peak=self._peak,
            total=self._total,
            observations=self._count,
        )

    @classmethod
    def from_state(cls, state: EProcessState) -> EProcess:
        """Goes on exactly where `state()` was taken. Raises ValueError for a state that no EProcess has."""
        made = cls(state.threshold, low=state.low, high=state.high, bets=state.bets)
        if len(state.logs) != len(state.bets) or not all(map(isfinite, (*state.logs, state.peak, state.total))):
            raise ValueError("the state holds other bets, or what is no number")
        if state.peak < 0 or state.observations < 0 or _sum(state.logs) > state.peak + 1e-9:
            raise ValueError("the state holds a capital above its highest, or counts that can't be")
        made._logs, made._peak = list(state.logs), state.peak
        made._total, made._count = state.total, state.observations
        return made

    def merge(self, other: EProcess) -> EProcess:
        """Both streams as one: each bet was made on both. What one of them had reached alone is no longer known, so the
        highest capital is that of now. Raises ValueError for another hypothesis."""
        if (self.threshold, self.low, self.high, self.bets) != (other.threshold, other.low, other.high, other.bets):
            raise ValueError(f"{self!r} and {other!r} test different things")
        made = EProcess(self.threshold, low=self.low, high=self.high, bets=self.bets)
        made._logs = [a + b - log(share) for a, b, (_, share) in zip(self._logs, other._logs, self.bets, strict=True)]
        made._peak = max(0.0, _sum(made._logs))
        made._total, made._count = self._total + other._total, self._count + other._count
        return made


def _sum(logs: Sequence[float]) -> float:
    """log(sum(exp(logs)))."""
    most = max(logs)
    return most + log(sum([exp(one - most) for one in logs]))


def _exp(value: float) -> float:
    return exp(value) if value < 700 else inf

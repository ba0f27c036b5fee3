"""Has a rate risen, at a time that nobody knows? An e-detector: what pages, and what sees drift.

A bet of `betting.py` that begins at the first value grows slowly once it has lost for a month. So at each value a new
one begins, with a unit of money of its own: M = (M + 1) (1 + f (x - p0) / p0), for each fraction f, averaged. While the
rate is at most p0, M - t has no upward drift. An alarm at M >= A therefore comes at the earliest after A values on
average, counted from the last one: the average run length. Choose A by "at most one false page in so many months" times
the traffic. Shin, Ramdas and Rinaldo, "E-detectors" (New England Journal of Statistics in Data Science, 2024), with the
sum over all beginnings of Shiryaev and Roberts.

Values that come in batches may be given as counts (`observe_counts`): new bets then begin before a batch, none within,
and A counts batches. The bets within one are multiplied, so that their order does not matter. Batches of a minute make
the run length one of time, whatever the traffic: 525,600 is a year.

A window of five minutes that alarms above x % has no such figure: how often it errs hangs on traffic and rate, and it
forgets what happened in the sixth.
"""

from __future__ import annotations

from math import exp, inf, isfinite, log, log1p
from typing import Final

import msgspec

from trimtab.foundations.stats.base import Certificate

FRACTIONS: Final = (0.01, 0.03, 0.08, 0.2, 0.4, 0.7, 0.95)


class DetectorState(msgspec.Struct, frozen=True, kw_only=True):
    """A Detector between two runs. `logs`: of M by fraction, None before the first value."""

    rate: float
    run_length: float
    logs: list[float | None]
    total: float
    observations: int
    alarmed: bool


class Detector:
    """Watches for a mean above `rate` of values in [0, 1]. `run_length`: false alarms are so many values (or, of
    counts, batches) apart, at least, on average. Two can't be merged: they hang on the order of events. O(1), 1 us.
    Raises ValueError."""

    def __init__(self, rate: float, run_length: float) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"a rate lies between 0 and 1, got {rate}")
        if not run_length >= 1:
            raise ValueError(f"a run length is at least 1 value, got {run_length}")
        self.rate, self.run_length = rate, run_length
        self.reset()

    def __repr__(self) -> str:
        return f"<Detector rate > {self.rate:g}: {self.evidence:.3g} of {self.run_length:g}, {self._count} values>"

    def reset(self) -> None:
        """Begin anew, after an alarm was dealt with."""
        self._logs = [-inf] * len(FRACTIONS)
        self._total, self._count = 0.0, 0
        self._alarmed = False

    @property
    def evidence(self) -> float:
        """M. An alarm is due at `run_length`."""
        most = max(self._logs)
        if most == -inf:
            return 0.0
        whole = most + log(sum([exp(one - most) for one in self._logs]) / len(FRACTIONS))
        return exp(whole) if whole < 700 else inf

    @property
    def alarmed(self) -> bool:
        """Whether it was ever due since the last reset."""
        return self._alarmed

    def observe(self, value: float) -> None:
        """Raises ValueError for a value outside [0, 1]."""
        if not 0 <= value <= 1:
            raise ValueError(f"a value lies between 0 and 1, got {value}")
        gain = (value - self.rate) / self.rate
        self._logs = [
            _plus_one(one) + log1p(fraction * gain) for one, fraction in zip(self._logs, FRACTIONS, strict=True)
        ]
        self._total += value
        self._count += 1
        self._alarmed = self._alarmed or self.evidence >= self.run_length

    def observe_counts(self, hits: int, total: int) -> None:
        """A batch of `total` values, `hits` of them 1 and the rest 0. `run_length` then counts batches: give none but
        batches. An empty one is no observation. Raises ValueError for what is no count."""
        if not 0 <= hits <= total:
            raise ValueError(f"{hits} of {total} is no count")
        if not total:
            return
        gain = (1 - self.rate) / self.rate
        self._logs = [
            _plus_one(one) + hits * log1p(fraction * gain) + (total - hits) * log1p(-fraction)
            for one, fraction in zip(self._logs, FRACTIONS, strict=True)
        ]
        self._total += hits
        self._count += total
        self._alarmed = self._alarmed or self.evidence >= self.run_length

    def certificate(self) -> Certificate:
        """After an alarm: that the rate has been above `rate` since some time. `error` is the share of values (or
        batches) at which such an alarm is false; 1 without one."""
        return Certificate(
            claim=f"rate risen above {self.rate:g}",
            method="e-detector",
            estimate=self._total / self._count if self._count else None,
            lower=self.rate if self._alarmed else 0.0,
            upper=1.0,
            error=1 / self.run_length if self._alarmed else 1.0,
            observations=self._count,
        )

    def state(self) -> DetectorState:
        return DetectorState(
            rate=self.rate,
            run_length=self.run_length,
            logs=[None if one == -inf else one for one in self._logs],
            total=self._total,
            observations=self._count,
            alarmed=self._alarmed,
        )

    @classmethod
    def from_state(cls, state: DetectorState) -> Detector:
        """Goes on exactly where `state()` was taken. Raises ValueError for a state that no Detector has."""
        made = cls(state.rate, state.run_length)
        logs = [-inf if one is None else one for one in state.logs]
        if len(logs) != len(FRACTIONS) or not all(one == -inf or isfinite(one) for one in logs):
            raise ValueError("the state holds other fractions, or what is no number")
        if state.observations < 0 or not isfinite(state.total):
            raise ValueError("the state holds counts that can't be")
        made._logs, made._alarmed = logs, state.alarmed
        made._total, made._count = state.total, state.observations
        return made


def _plus_one(value: float) -> float:
    """log(exp(value) + 1)."""
    return log1p(exp(value)) if value < 35 else value

"""Exact binomial bounds (Clopper and Pearson, Biometrika 26, 1934): the tail summed, the bound found by bisection.

Of a fixed number of trials that is looked at once. For a rate that is watched, `sequences.Mean`.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

import msgspec

from trimtab.foundations.stats.base import Certificate


class ShareState(msgspec.Struct, frozen=True, kw_only=True):
    """A Share between two runs."""

    confidence: float
    hits: int
    total: int


class Share:
    """How often something happens, with both exact bounds. Counts merge. Raises ValueError for no confidence."""

    def __init__(self, confidence: float = 0.95) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
        self.confidence = confidence
        self.hits = self.total = 0

    def __repr__(self) -> str:
        return f"<Share {self.hits} of {self.total}>"

    def observe(self, value: bool) -> None:
        self.hits += value
        self.total += 1

    def certificate(self) -> Certificate:
        """That the rate lies between both one-sided bounds; `error` is that of both together."""
        return Certificate(
            claim="rate",
            method="clopper-pearson",
            estimate=self.hits / self.total if self.total else None,
            lower=lower(self.hits, self.total, self.confidence),
            upper=upper(self.hits, self.total, self.confidence),
            error=2 * (1 - self.confidence),
            observations=self.total,
        )

    def state(self) -> ShareState:
        return ShareState(confidence=self.confidence, hits=self.hits, total=self.total)

    @classmethod
    def from_state(cls, state: ShareState) -> Share:
        """Raises ValueError for a state that no Share has."""
        if not 0 <= state.hits <= state.total:
            raise ValueError(f"{state.hits} of {state.total} is no count")
        made = cls(state.confidence)
        made.hits, made.total = state.hits, state.total
        return made

    def merge(self, other: Share) -> Share:
        """Both together. Raises ValueError for another confidence."""
        if self.confidence != other.confidence:
            raise ValueError(f"confidences {self.confidence} and {other.confidence} don't merge")
        return Share.from_state(
            ShareState(confidence=self.confidence, hits=self.hits + other.hits, total=self.total + other.total)
        )


def upper(hits: int, total: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a rate: at it, `hits` or fewer of `total` are seen with probability 1 - confidence.
    Nothing seen bounds nothing: 1.0 for a total of 0. Raises ValueError where hits are not within the total."""
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} of {total} is no count")
    if hits >= total:
        return 1.0
    low, high = hits / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if at_most(hits, total, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def lower(hits: int, total: int, confidence: float = 0.95) -> float:
    """The one-sided lower bound; 0.0 for a total of 0."""
    return 1 - upper(total - hits, total, confidence) if total else 0.0


def at_most(hits: int, total: int, rate: float) -> float:
    """The probability of `hits` or fewer of `total`. The terms are summed from the largest on, until they add nothing:
    a million trials cost some thousand terms."""
    if hits < 0:
        return 0.0
    if rate <= 0 or hits >= total:
        return 1.0
    if rate >= 1:
        return 0.0
    mode = min(hits, int((total + 1) * rate))
    odds = rate / (1 - rate)
    first = exp(
        lgamma(total + 1)
        - lgamma(mode + 1)
        - lgamma(total - mode + 1)
        + mode * log(rate)
        + (total - mode) * log1p(-rate)
    )
    whole = term = first
    for k in range(mode, 0, -1):
        term *= k / (total - k + 1) / odds
        whole += term
        if term < whole * 1e-17:
            break
    term = first
    for k in range(mode, hits):
        term *= (total - k) / (k + 1) * odds
        whole += term
        if term < whole * 1e-17:
            break
    return min(1.0, whole)

"""Exact binomial bounds (Clopper and Pearson, Biometrika 26, 1934): the tail summed, the bound found by bisection."""

from __future__ import annotations

from math import exp, lgamma, log


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
        if _at_most(hits, total, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def lower(hits: int, total: int, confidence: float = 0.95) -> float:
    """The one-sided lower bound; 0.0 for a total of 0."""
    return 1 - upper(total - hits, total, confidence) if total else 0.0


def _at_most(hits: int, total: int, rate: float) -> float:
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return float(hits >= total)
    logs = (lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1) + k * log(rate) + (total - k) * log(1 - rate)
            for k in range(hits + 1))  # fmt: skip
    return min(1.0, sum(exp(one) for one in logs))

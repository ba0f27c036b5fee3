"""How far two distributions are apart, from a sample of each (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant,
Annals of Probability 18, 1990).

The distance is the largest difference of the two distribution functions: between 0 (equal) and 1. A sample's function
is nowhere further from the true one than sqrt(ln(2/error) / 2n), whatever the distribution, steps or not, so that
nothing has to be put into bins; of names the order is that of the alphabet. Of two fixed samples, looked at once, whose
observations are independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import log, sqrt
from typing import TypeVar

from trimtab.foundations.stats.base import Certificate

Value = TypeVar("Value", float, Decimal, str)


def distance(first: Mapping[Value, int], second: Mapping[Value, int], error: float = 0.05) -> Certificate:
    """`first`, `second`: how often each value was seen. Nothing seen bounds nothing. Raises ValueError for an error
    outside (0, 1)."""
    if not 0 < error < 1:
        raise ValueError(f"an error lies between 0 and 1, got {error}")
    seen = sum(first.values()), sum(second.values())
    estimate = _largest(first, second, *seen) if all(seen) else None
    room = sum(sqrt(log(4 / error) / (2 * total)) if total else 1.0 for total in seen)  # half of the error each
    return Certificate(
        claim="largest difference of the distribution functions",
        method="dvoretzky-kiefer-wolfowitz-massart",
        estimate=estimate,
        lower=0.0 if estimate is None else max(0.0, estimate - room),
        upper=1.0 if estimate is None else min(1.0, estimate + room),
        error=error,
        observations=sum(seen),
    )


def _largest(first: Mapping[Value, int], second: Mapping[Value, int], of_first: int, of_second: int) -> float:
    below = [0, 0]
    largest = 0.0
    for value in sorted(set[Value](first) | set[Value](second)):
        below[0] += first.get(value, 0)
        below[1] += second.get(value, 0)
        largest = max(largest, abs(below[0] / of_first - below[1] / of_second))
    return largest


__all__ = ["distance"]

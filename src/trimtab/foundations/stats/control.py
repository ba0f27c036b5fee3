"""A threshold whose risk is bounded: a router's cut, a cache's similarity, a groundedness score.

`certify` walks from the safest threshold to the boldest and stops at the first whose risk it can't call small enough
(Learn then Test with fixed sequence testing: Angelopoulos, Bates, Candes, Jordan and Lei, Annals of Applied Statistics,
2025). Each step is one test of "the risk is above epsilon" at the whole of delta, since it is only asked if all before
it were passed: the probability that the chosen threshold's true risk exceeds epsilon is at most delta, without any
share of delta lost to the number of thresholds. `expected` bounds the risk on average instead, and is less careful: by
one calibration set it may be exceeded (conformal risk control: Angelopoulos, Bates, Fisch, Lei and Schuster, ICLR
2024).

A threshold that is chosen because it looked best on the same data has no such bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from trimtab.foundations.stats.base import Certificate
from trimtab.foundations.stats.betting import EProcess
from trimtab.foundations.stats.binomial import at_most


class Choice(NamedTuple):
    """`threshold` None: not even the safest could be certified."""

    threshold: float | None
    certificate: Certificate


def certify(thresholds: Sequence[float], losses: Sequence[Sequence[float]], *, epsilon: float, delta: float) -> Choice:
    """The boldest threshold, as far as each safer one passed, whose risk is at most `epsilon` with confidence
    1 - `delta`. `thresholds`: safest first; `losses[i]`: of the calibration cases, in [0, 1], were `thresholds[i]` set.

    Losses of 0 and 1 are tested exactly (binomial tail), others by betting. Raises ValueError for shapes or settings
    that don't fit.
    """
    if len(thresholds) != len(losses) or not thresholds:
        raise ValueError(f"{len(thresholds)} thresholds and {len(losses)} rows of losses don't fit")
    if not 0 < epsilon < 1 or not 0 < delta < 1:
        raise ValueError(f"epsilon and delta are shares between 0 and 1, got {epsilon} and {delta}")
    chosen: int | None = None
    for index, row in enumerate(losses):
        if p_value(row, epsilon) > delta:
            break
        chosen = index
    shown = losses[chosen if chosen is not None else 0]
    return Choice(
        None if chosen is None else thresholds[chosen],
        Certificate(
            claim=f"risk of the threshold at most {epsilon:g}",
            method="learn-then-test",
            estimate=sum(shown) / len(shown) if shown else None,
            lower=0.0,
            upper=epsilon if chosen is not None else 1.0,
            error=delta if chosen is not None else 0.0,
            observations=len(shown),
        ),
    )


def p_value(losses: Sequence[float], epsilon: float) -> float:
    """Of "the mean loss is above epsilon". Raises ValueError for a loss outside [0, 1]."""
    if not losses:
        return 1.0
    if all(loss in (0, 1) for loss in losses):
        return at_most(int(sum(losses)), len(losses), epsilon)
    bets = EProcess(1 - epsilon)
    for loss in losses:
        bets.observe(1 - loss)
    return bets.p_value


def expected(
    thresholds: Sequence[float], losses: Sequence[Sequence[float]], *, epsilon: float, worst: float = 1.0
) -> Choice:
    """The boldest threshold at which the next case's loss is at most `epsilon` on average over calibration sets. Losses
    must not fall from one threshold to the next, for any case, and are at most `worst`. Raises ValueError."""
    if len(thresholds) != len(losses) or not thresholds or not losses[0]:
        raise ValueError("thresholds and losses don't fit, or there are no cases")
    for safer, bolder in pairwise(losses):
        if any(a > b for a, b in zip(safer, bolder, strict=True)):
            raise ValueError("a loss falls from one threshold to a bolder one")
    count = len(losses[0])
    passed = [row for row in range(len(losses)) if (sum(losses[row]) + worst) / (count + 1) <= epsilon]
    shown = losses[passed[-1] if passed else 0]
    return Choice(
        thresholds[passed[-1]] if passed else None,
        Certificate(
            claim=f"expected loss of the next case at most {epsilon:g}",
            method="conformal-risk-control",
            estimate=sum(shown) / count,
            lower=0.0,
            upper=epsilon if passed else worst,
            error=0.0,
            observations=count,
        ),
    )

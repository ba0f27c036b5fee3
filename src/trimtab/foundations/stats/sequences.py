"""Confidence sequences: bounds of a mean that hold at all times at once, so that looking often costs nothing.

A mean m is in doubt while nobody has grown rich by betting against it. For every m of a grid two capitals are kept, one
that bets on "more than m", one on "less", of half the money each; m is out as soon as either has reached 1/alpha, with
probability <= alpha for the true one (hedged capital, Waudby-Smith and Ramdas, JRSS-B 86, 2024, section 4.4). The bets
are theirs, too: sqrt(2 log(2/alpha) / (variance so far * t log(1 + t))), known before the value and cut at half of what
could ruin. They find the variance by themselves: a rate of one in a thousand is bounded after thousands of values, not
after millions as Hoeffding's inequality, which knows of no variance, would have it.

The grid is dense near the ends, sin^2 of equal steps, since rare events live there; bounds are rounded outwards to it.
"""

from __future__ import annotations

from math import isfinite, log, log1p, pi, sqrt
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.foundations.stats.base import Certificate
from trimtab.foundations.stats.pairs import Pairs, Seen

GRID: Final = 500
_CUT: Final = 0.5
_Floats = NDArray[np.float64]
_GRID: Final[_Floats] = np.sin(np.arange(1, GRID) * (pi / (2 * GRID))) ** 2
_UP: Final[_Floats] = _CUT / _GRID
_DOWN: Final[_Floats] = _CUT / (1 - _GRID)


class MeanState(msgspec.Struct, frozen=True, kw_only=True):
    """A Mean between two runs. `more`, `less`: logs of the capitals; `out`: 1 where a mean of the grid is out."""

    alpha: float
    low: float
    high: float
    more: list[float]
    less: list[float]
    out: list[int]
    total: float
    squares: float
    observations: int


class Mean:
    """Bounds of the mean of values in [low, high], each of which has that mean given all before it; wrong at any time
    with probability `alpha`. About 15 us a value. Raises ValueError for settings that can't work."""

    def __init__(self, alpha: float = 0.05, *, low: float = 0.0, high: float = 1.0) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is a share between 0 and 1, got {alpha}")
        if not low < high:
            raise ValueError(f"values lie between low and high, got {low} and {high}")
        self.alpha, self.low, self.high = alpha, low, high
        self._more: _Floats = np.full(GRID - 1, log(0.5))
        self._less: _Floats = np.full(GRID - 1, log(0.5))
        self._out = np.zeros(GRID - 1, dtype=bool)
        self._total = 0.0  # of values scaled to [0, 1]
        self._squares = 0.25
        self._count = 0

    def __repr__(self) -> str:
        lower, upper = self.bounds()
        return f"<Mean in [{lower:.4g}, {upper:.4g}] at alpha {self.alpha:g}: {self._count} values>"

    def observe(self, value: float) -> None:
        """Raises ValueError for a value outside [low, high]."""
        if not self.low <= value <= self.high:
            raise ValueError(f"a value lies between {self.low} and {self.high}, got {value}")
        scaled = (value - self.low) / (self.high - self.low)
        at = self._count + 1
        variance = self._squares / at
        bet = sqrt(2 * log(2 / self.alpha) / (variance * at * log1p(at)))
        gain = scaled - _GRID
        self._more += np.log1p(np.minimum(bet, _UP) * gain)
        self._less += np.log1p(np.minimum(bet, _DOWN) * -gain)
        self._out |= np.maximum(self._more, self._less) >= log(1 / self.alpha)
        self._total += scaled
        self._count = at
        mean = (0.5 + self._total) / (at + 1)
        self._squares += (scaled - mean) ** 2

    @property
    def estimate(self) -> float | None:
        """The mean of what was seen; None before anything was."""
        return self.low + (self.high - self.low) * self._total / self._count if self._count else None

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest mean that is not out, rounded outwards."""
        kept = np.flatnonzero(~self._out)
        if len(kept) == 0:  # the true mean lies between two of the grid, or the values have no common mean
            kept = np.array([int(np.searchsorted(_GRID, self._total / self._count))]).clip(0, GRID - 2)
        first, last = int(kept[0]), int(kept[-1])
        lower = float(_GRID[first - 1]) if first else 0.0
        upper = float(_GRID[last + 1]) if last + 1 < len(_GRID) else 1.0
        span = self.high - self.low
        return self.low + lower * span, self.low + upper * span

    def certificate(self) -> Certificate:
        """That the mean lies within the bounds, now and at every time before and after."""
        lower, upper = self.bounds()
        return Certificate(
            claim="mean",
            method="hedged-capital",
            estimate=self.estimate,
            lower=lower,
            upper=upper,
            error=self.alpha,
            observations=self._count,
        )

    def state(self) -> MeanState:
        return MeanState(
            alpha=self.alpha,
            low=self.low,
            high=self.high,
            more=self._more.tolist(),
            less=self._less.tolist(),
            out=self._out.astype(int).tolist(),
            total=self._total,
            squares=self._squares,
            observations=self._count,
        )

    @classmethod
    def from_state(cls, state: MeanState) -> Mean:
        """Goes on exactly where `state()` was taken. Raises ValueError for a state that no Mean has."""
        made = cls(state.alpha, low=state.low, high=state.high)
        sizes = {len(state.more), len(state.less), len(state.out)}
        if sizes != {GRID - 1} or not all(map(isfinite, (*state.more, *state.less, state.total, state.squares))):
            raise ValueError("the state holds another grid, or what is no number")
        if state.observations < 0 or state.squares <= 0:
            raise ValueError("the state holds sums that can't be")
        made._more, made._less = np.array(state.more), np.array(state.less)
        made._out = np.array(state.out, dtype=bool)
        made._total, made._squares, made._count = state.total, state.squares, state.observations
        return made

    def merge(self, other: Mean) -> Mean:
        """Both streams as one, where they have one mean: the bets of both against each m, multiplied. What was out by
        one stream's past alone is not carried over. Raises ValueError for another question."""
        if (self.alpha, self.low, self.high) != (other.alpha, other.low, other.high):
            raise ValueError(f"{self!r} and {other!r} bound different things")
        made = Mean(self.alpha, low=self.low, high=self.high)
        made._more = self._more + other._more - log(0.5)
        made._less = self._less + other._less - log(0.5)
        made._out = np.maximum(made._more, made._less) >= log(1 / self.alpha)
        made._total, made._count = self._total + other._total, self._count + other._count
        made._squares = self._squares + other._squares - 0.25
        return made


class DifferenceState(msgspec.Struct, frozen=True, kw_only=True):
    """A Difference between two runs."""

    mean: MeanState
    waiting: dict[str, list[float]]


class Difference:
    """Bounds of how much more the new arm loses than the old one, by stratum like with like: what promotes a release.
    Wrong at any time with probability `alpha`."""

    def __init__(self, alpha: float = 0.05) -> None:
        self._mean = Mean(alpha, low=-1.0, high=1.0)
        self._pairs = Pairs()

    def __repr__(self) -> str:
        lower, upper = self.bounds()
        return f"<Difference in [{lower:.4g}, {upper:.4g}]>"

    def observe(self, value: Seen) -> None:
        """Raises ValueError for a loss outside [0, 1]."""
        difference = self._pairs.add(value)
        if difference is not None:
            self._mean.observe(difference)

    def bounds(self) -> tuple[float, float]:
        return self._mean.bounds()

    def certificate(self) -> Certificate:
        """Observations are pairs."""
        return msgspec.structs.replace(self._mean.certificate(), claim="mean loss of the new arm less the old one's")

    def state(self) -> DifferenceState:
        return DifferenceState(mean=self._mean.state(), waiting=self._pairs.state())

    @classmethod
    def from_state(cls, state: DifferenceState) -> Difference:
        """Raises ValueError for a state that no Difference has."""
        if (state.mean.low, state.mean.high) != (-1.0, 1.0):
            raise ValueError("the state is of another mean")
        made = cls(state.mean.alpha)
        made._mean, made._pairs = Mean.from_state(state.mean), Pairs.from_state(state.waiting)
        return made

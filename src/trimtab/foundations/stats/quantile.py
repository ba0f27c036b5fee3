"""The conformal quantile: a value that at most a share alpha of what comes next will exceed, whatever the drift.

The last `window` values are kept. At level a the prediction is the k-th smallest of the n kept,
k = ceil((1 - a)(n + 1)): exact where the next value is exchangeable with them. Traffic is not, so the level is
corrected by what happened (adaptive conformal inference, Gibbs and Candes, NeurIPS 2021): a += gamma (alpha - missed).
A level <= 0 predicts +inf, which can't be exceeded, and one >= 1 predicts -inf, which always is. That alone keeps every
level in [-gamma, 1 + gamma], hence

    |missed / n - alpha| <= (max(alpha, 1 - alpha) + gamma) / (gamma n)   for every sequence, an adversary's too.

No gamma suits both a calm and a broken stream. Several run side by side, weighted by the pinball loss of their levels
(DtACI, Gibbs and Candes, JMLR 25, 2024). The weighted level alone loses the bound above, so the sum of its own errors
is added to it, with the smallest gamma, called g (an integrator as in conformal PID control, Angelopoulos, Candes and
Tibshirani, NeurIPS 2023). Whatever the weights do, the weighted level stays in [-G, 1 + G], G the largest gamma; so the
sum stays within 1 + G + g, and the bound is (1 + G + g) / (g n).

Ties: a value that equals kept ones could stand at any rank among them. It counts as missed by the share of those ranks
that lie above k, never less than truly missed. The bound then holds for the share so counted, and from above for the
true one. Without it a stream of one value (all answers cut at the same cap) would have to be missed on purpose.

Why not a quantile of the window alone: behind a change it is wrong until the window is full of new values. Of the
19,366 answers of the Azure conversation trace (2023) at alpha = 0.1, the worst run of 200 has 27 % misses with it and
13 % here, for 1 % more pinball loss. Why not a stochastic approximation of the quantile itself: its step has a unit,
the level's has none. `observe` and `predict` take about 4 us together.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import Final

import msgspec

from trimtab.foundations.stats.base import Certificate

WINDOW: Final = 500
GAMMAS: Final = (0.005, 0.02, 0.08)
HORIZON: Final = 500
"""Observations over which the weights should find the best gamma."""


class QuantileState(msgspec.Struct, frozen=True, kw_only=True):
    """A Quantile between two runs. `values` in order of arrival."""

    alpha: float
    window: int
    gammas: tuple[float, ...]
    horizon: int
    values: list[float]
    levels: list[float]
    weights: list[float]
    integral: float
    predicted: int
    missed: int


class Quantile:
    """Predicts a value that the next one exceeds with a long-run share of `alpha`.

    The claim is about the prediction that stands when a value is observed. Values are any finite floats of one unit,
    which is the unit of the prediction; only their order matters. Memory: `window` floats twice. Two quantiles can't be
    merged: the bound rests on the order of events. Raises ValueError for settings that can't work.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        window: int = WINDOW,
        gammas: tuple[float, ...] = GAMMAS,
        horizon: int = HORIZON,
    ) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is a share between 0 and 1, got {alpha}")
        if not gammas or not all(0 < gamma <= 1 for gamma in gammas):
            raise ValueError(f"gammas are steps above 0 and at most 1, got {gammas}")
        if horizon < 1:
            raise ValueError(f"horizon is at least 1 observation, got {horizon}")
        self.alpha, self.window, self.gammas, self.horizon = alpha, window, gammas, horizon
        self.needed = _needed(alpha)
        """Values before the first prediction: fewer have no quantile that high."""
        if window < self.needed:
            raise ValueError(f"a window of {window} can't hold the {self.needed} values that alpha = {alpha} needs")
        self._arrived: deque[float] = deque()
        self._sorted: list[float] = []
        self._levels = [alpha] * len(gammas)
        self._weights = [1 / len(gammas)] * len(gammas)
        self._integral = 0.0
        self._level = alpha
        self._gain = min(gammas) if len(gammas) > 1 else 0.0
        self._rate, self._share = _learning(alpha, len(gammas), horizon)
        self._predicted = self._missed = 0

    def __repr__(self) -> str:
        if len(self._sorted) < self.needed:
            return f"<Quantile alpha {self.alpha:g}: {len(self._sorted)} of {self.needed} values>"
        return (
            f"<Quantile alpha {self.alpha:g}: {self.predict():g} at level {self._level:.3f}, "
            f"missed {self._missed} of {self._predicted}>"
        )

    def predict(self) -> float | None:
        """What the next value should not exceed. None before `needed` values were seen.

        +inf where no seen value would do and -inf where any would: keep it within the caller's own cap and floor. A cap
        that no value exceeds leaves the upper bound as it is.
        """
        kept = self._sorted
        if len(kept) < self.needed:
            return None
        rank = math.ceil((1 - self._level) * (len(kept) + 1))
        if rank > len(kept):
            return math.inf
        return kept[rank - 1] if rank > 0 else -math.inf

    @property
    def largest(self) -> float | None:
        """Of the values kept; None while there are none. What a caller without a cap of its own may take for +inf."""
        return self._sorted[-1] if self._sorted else None

    def above(self, share: float) -> float | None:
        """What the next value exceeds with this share if it is like those kept, whatever the levels have become: the
        largest kept where none is that high, the least where all are; None while none is kept."""
        kept = self._sorted
        if not kept:
            return None
        rank = math.ceil((1 - share) * (len(kept) + 1))
        return kept[min(max(rank, 1), len(kept)) - 1]

    def observe(self, value: float) -> None:
        """A value has come: the levels learn from whether they covered it, the window takes it. Raises ValueError for
        what is not finite."""
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"a value is a finite number, got {value}")
        kept = self._sorted
        if len(kept) >= self.needed:
            self._learn(bisect_left(kept, value), bisect_right(kept, value))
        if len(kept) >= self.window:
            del kept[bisect_left(kept, self._arrived.popleft())]
        self._arrived.append(value)
        insort(kept, value)

    def forget(self) -> None:
        """All values: they are of another stream than those to come. The levels stay, and with them the bound, which
        holds whatever the window is full of."""
        self._arrived.clear()
        self._sorted.clear()

    def certificate(self) -> Certificate:
        """That no more than `upper` of the values exceeded their predictions, whatever they were and will be."""
        count = self._predicted
        return Certificate(
            claim=f"share of values above their prediction, {self.alpha:g} in the long run",
            method="dtaci" if self._gain else "aci",
            estimate=self._missed / count if count else None,
            lower=0.0,
            upper=min(1.0, self.alpha + self.slack(count)),
            error=0.0,
            observations=count,
        )

    def slack(self, predictions: int) -> float:
        """How far from alpha the share of missed predictions can be after so many: the bound at the head of this
        file."""
        most = max(self.gammas)
        reach = 1 + most + self._gain if self._gain else max(self.alpha, 1 - self.alpha) + most
        return reach / ((self._gain or most) * predictions) if predictions else math.inf

    def state(self) -> QuantileState:
        return QuantileState(
            alpha=self.alpha,
            window=self.window,
            gammas=self.gammas,
            horizon=self.horizon,
            values=list(self._arrived),
            levels=list(self._levels),
            weights=list(self._weights),
            integral=self._integral,
            predicted=self._predicted,
            missed=self._missed,
        )

    @classmethod
    def from_state(cls, state: QuantileState) -> Quantile:
        """Goes on exactly where `state()` was taken. Raises ValueError for a state that no Quantile has."""
        made = cls(state.alpha, window=state.window, gammas=state.gammas, horizon=state.horizon)
        sizes = {len(state.levels), len(state.weights), len(state.gammas)}
        numbers = [*state.values, *state.levels, *state.weights, state.integral]
        if len(sizes) > 1 or len(state.values) > state.window or not all(map(math.isfinite, numbers)):
            raise ValueError("the state holds other levels, weights or values than its settings allow")
        if not 0 <= state.missed <= state.predicted or min(state.weights) <= 0:
            raise ValueError("the state holds counts or weights that can't be")
        made._arrived, made._sorted = deque(state.values), sorted(state.values)
        made._levels, made._weights, made._integral = list(state.levels), list(state.weights), state.integral
        made._predicted, made._missed = state.predicted, state.missed
        made._level = made._aggregate()
        return made

    def _learn(self, below: int, through: int) -> None:
        """`below` kept values are less than the new one, `through` are not more: its ranks are below+1 .. through+1."""
        alpha, size = self.alpha, len(self._sorted) + 1
        span = through - below + 1
        rank = math.ceil((1 - self._level) * size)
        self._predicted += 1
        self._missed += below >= rank
        self._integral += self._gain * (alpha - min(max(through + 1 - rank, 0), span) / span)
        # The largest level that covers the value: what the levels are judged by.
        best = 1 - (below + through) / (2 * size)
        levels, weights, rate = self._levels, self._weights, self._rate
        total = 0.0
        for index, gamma in enumerate(self.gammas):
            level = levels[index]
            off = best - level
            weights[index] *= math.exp(-rate * (alpha * off if off > 0 else (alpha - 1) * off))
            total += weights[index]
            above = through + 1 - math.ceil((1 - level) * size)
            missed = 0.0 if above <= 0 else min(above, span) / span
            levels[index] = level + gamma * (alpha - missed)
        spread = self._share / len(weights)
        for index, weight in enumerate(weights):
            weights[index] = (1 - self._share) * weight / total + spread
        self._level = self._aggregate()

    def _aggregate(self) -> float:
        return self._integral + sum(map(float.__mul__, self._weights, self._levels))


def _needed(alpha: float) -> int:
    """The fewest values of which the quantile at level alpha is one."""
    count = max(1, math.floor(1 / alpha) - 2)
    while math.ceil((1 - alpha) * (count + 1)) > count:
        count += 1
    return count


def _learning(alpha: float, experts: int, horizon: int) -> tuple[float, float]:
    """Learning rate and share of the weights (Gibbs and Candes 2024, 3.2): least regret over `horizon` observations."""
    mean_square = (1 - alpha) ** 2 * alpha**3 + alpha**2 * (1 - alpha) ** 3
    rate = math.sqrt(3 / horizon) * math.sqrt((math.log(experts * horizon) + 2) / mean_square)
    return rate, 1 / (2 * horizon)

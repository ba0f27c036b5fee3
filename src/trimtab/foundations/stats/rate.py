"""How often something happens, with bounds that hold at all times at once, from two counts.

Of n trials with s hits the likelihood, averaged over all rates by Jeffreys' weights, is compared with that of a rate p:

    K(p) = B(s + 1/2, n - s + 1/2) / B(1/2, 1/2) / (p^s (1 - p)^(n - s))

For the true p this is a fair game's capital that began at 1, so that it ever reaches 1/alpha with probability <= alpha
(Ville); p is out from then on (Robbins, Ann. Math. Stat. 41, 1970; exact for hits and misses, where Howard et al., Ann.
Stat. 49, 2021, section 3, bound them). Bounds come from the counts as they are: nothing else is kept.

Each trial is to have the rate given all before it. Where rates differ, the claim is that they were not all above the
upper bound, nor all below the lower one.
"""

from __future__ import annotations

from math import lgamma, log, log1p
from typing import Final

import msgspec

from trimtab.foundations.stats.base import Certificate

_STEPS: Final = 50
_NOTHING: Final = lgamma(0.5) + lgamma(0.5) - lgamma(1.0)


class RateState(msgspec.Struct, frozen=True, kw_only=True):
    """A Rate between two runs."""

    alpha: float
    hits: int
    total: int


class Rate:
    """A rate that is watched, wrong at any time with probability `alpha`. `observe` costs nothing, `certificate` some
    50 us. Counts don't merge: which of them came first is part of the game. Raises ValueError for no alpha."""

    def __init__(self, alpha: float = 0.05) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is a share between 0 and 1, got {alpha}")
        self.alpha = alpha
        self.hits = self.total = 0

    def __repr__(self) -> str:
        return f"<Rate {self.hits} of {self.total}>"

    def observe(self, value: bool, /) -> None:
        self.hits += value
        self.total += 1

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest rate that is not out."""
        hits, total = self.hits, self.total
        if not total:
            return 0.0, 1.0
        rate = hits / total
        return self._edge(rate, 0.0) if hits else 0.0, self._edge(rate, 1.0) if hits < total else 1.0

    def certificate(self) -> Certificate:
        """That the rate lies within the bounds, now and at every time before and after."""
        lower, upper = self.bounds()
        return Certificate(
            claim="rate",
            method="beta-binomial",
            estimate=self.hits / self.total if self.total else None,
            lower=lower,
            upper=upper,
            error=self.alpha,
            observations=self.total,
        )

    def state(self) -> RateState:
        return RateState(alpha=self.alpha, hits=self.hits, total=self.total)

    @classmethod
    def from_state(cls, state: RateState) -> Rate:
        """Raises ValueError for a state that no Rate has."""
        if not 0 <= state.hits <= state.total:
            raise ValueError(f"{state.hits} of {state.total} is no count")
        made = cls(state.alpha)
        made.hits, made.total = state.hits, state.total
        return made

    def _edge(self, inside: float, outside: float) -> float:
        """Between a rate that is in and the end of the scale: where the capital reaches 1/alpha, rounded outwards."""
        hits, misses = self.hits, self.total - self.hits
        mixed = lgamma(hits + 0.5) + lgamma(misses + 0.5) - lgamma(self.total + 1) - _NOTHING
        most = mixed + log(self.alpha)
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            if not 0 < middle < 1:
                break
            if hits * log(middle) + misses * log1p(-middle) > most:
                inside = middle
            else:
                outside = middle
        return outside

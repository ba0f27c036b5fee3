"""The level of a decision, corrected by what came of it.

Adaptive conformal inference (Gibbs and Candes, NeurIPS 2021) corrects the level of a quantile by whether it covered
what came. The same holds for any decision that becomes stricter as its level falls: after each outcome

    a += gamma (alpha - missed),  kept within [alpha, 1]

So it is the decision's own misses that are held to alpha. A quantile that covers all but alpha of *every* outcome is
stricter than that where most decisions are not close: of those with time to spare nearly none is missed. That quantile
is where the level begins, and the strictest that it becomes: without a floor one late answer in a calm hour shuts a
gate, and a gate that is shut learns nothing any more.

While the level is off its floor, the share of misses is alpha but for 1 / (gamma n), whatever comes. At its floor
nothing is promised but what the quantile itself does; how often outcomes were missed is for a `Rate` to say.
"""

from __future__ import annotations

from typing import Final

GAMMA: Final = 0.02


class Level:
    """Holds the share of missed outcomes to `alpha` in the long run: decide by `value`, then `observe` what came of it.

    `gamma`: how fast. Raises ValueError for settings that can't work.
    """

    __slots__ = ("alpha", "gamma", "value")

    def __init__(self, alpha: float, *, gamma: float = GAMMA) -> None:
        if not 0 < alpha < 1 or not 0 < gamma <= 1:
            raise ValueError(f"alpha and gamma are shares above 0, at most 1, got {alpha} and {gamma}")
        self.alpha, self.gamma = alpha, gamma
        self.value = alpha

    def __repr__(self) -> str:
        return f"<Level {self.value:.3f} for {self.alpha:g}>"

    def observe(self, missed: bool, /) -> None:
        """Whether an outcome was missed."""
        self.value = min(max(self.value + self.gamma * (self.alpha - missed), self.alpha), 1.0)

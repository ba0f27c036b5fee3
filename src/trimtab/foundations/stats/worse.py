"""Evidence that a new arm (a canary, a variant of an experiment, a shadow) is worse than the old one by more than a
margin: what rolls a release back.

The bet of `betting.py` on the differences of `pairs.py`. Waiting values of the old arm are averaged first, so that with
a canary of 5 % each difference has about twenty values behind it.

Half of the capital goes by the largest bet, which finds a failure rate that doubles soonest; by it alone a rise by
half would never be found. At alpha = .001, 5 % of the traffic and margin 0, 5 % -> 10 % is found after 442 of the
canary's requests (the largest bet alone: 409, seven equal shares: 470), 5 % -> 7 % after 2,690 (never; 2,500). A test
that knew both rates would need 356.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab.foundations.stats.base import Certificate
from trimtab.foundations.stats.betting import Bets, EProcess, EProcessState
from trimtab.foundations.stats.pairs import Pairs, Seen

_BETS: Final[Bets] = ((0.05, 0.2), (0.25, 0.3), (0.95, 0.5))


class WorseState(msgspec.Struct, frozen=True, kw_only=True):
    """A Worse between two runs."""

    bets: EProcessState
    waiting: dict[str, list[float]]
    losses: list[float]


class Worse:
    """Tests "the new arm's mean loss is at most the old one's plus `margin`". Raises ValueError for a margin not
    in [0, 1)."""

    def __init__(self, margin: float) -> None:
        if not 0 <= margin < 1:
            raise ValueError(f"a margin is a share from 0 to below 1, got {margin}")
        self.margin = margin
        self._bets = EProcess(margin, low=-1.0, bets=_BETS)
        self._pairs = Pairs()
        self._losses = [0.0, 0.0, 0.0, 0.0]

    def __repr__(self) -> str:
        return f"<Worse by more than {self.margin:g}: e-value {self.e_value:.3g}>"

    @property
    def e_value(self) -> float:
        return self._bets.e_value

    @property
    def p_value(self) -> float:
        return self._bets.p_value

    def observe(self, value: Seen) -> None:
        """Raises ValueError for a loss outside [0, 1]."""
        difference = self._pairs.add(value)
        at = 0 if value.arm == "new" else 2
        self._losses[at] += 1
        self._losses[at + 1] += value.loss
        if difference is not None:
            self._bets.observe(difference)

    def certificate(self) -> Certificate:
        """That the new arm loses more by the margin; `error` is the p-value. Observations are those of the new arm."""
        new, new_loss, old, old_loss = self._losses
        return Certificate(
            claim=f"mean loss of the new arm above the old one's by more than {self.margin:g}",
            method="betting",
            estimate=new_loss / new - old_loss / old if new and old else None,
            lower=self.margin,
            upper=1.0,
            error=self.p_value,
            observations=int(new),
        )

    def state(self) -> WorseState:
        return WorseState(bets=self._bets.state(), waiting=self._pairs.state(), losses=list(self._losses))

    @classmethod
    def from_state(cls, state: WorseState) -> Worse:
        """Raises ValueError for a state that no Worse has."""
        if state.bets.low != -1 or state.bets.high != 1 or len(state.losses) != 4:
            raise ValueError("the state is of another test")
        made = cls(state.bets.threshold)
        made._bets, made._pairs = EProcess.from_state(state.bets), Pairs.from_state(state.waiting)
        made._losses = list(state.losses)
        return made

"""Two arms of an experiment as one stream of differences, whatever share of the traffic each gets.

The values of the old arm wait for one of the new; then the mean of each is taken and the difference told. A new one
that finds none waits for the next new one, rather than meet the first old one alone, whose loss by chance would ruin a
bet. Which values meet is decided by the order of arrival, never by a value, so that a difference has the difference of
the arms' means as its own, and lies in [-1, 1] for losses in [0, 1]. In strata (channel, tier, language) like meets
like: an arm that got more of the hard questions is not blamed for them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, NamedTuple

Arm = Literal["new", "old"]
MOST_STRATA: Final = 1024


class Seen(NamedTuple):
    """A loss in [0, 1] of one arm: 1 where the contract was missed, or a share of it."""

    arm: Arm
    loss: float
    stratum: str = ""


class Pairs:
    """Waiting values, by stratum. Beyond `MOST_STRATA` the one that was seen longest ago is forgotten: which one that
    is hangs on arrivals alone."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[float]] = OrderedDict()

    def add(self, seen: Seen) -> float | None:
        """The mean of the new arm's values that waited less that of the old one's; None: the other has none yet. Raises
        ValueError for a loss outside [0, 1]."""
        if not 0 <= seen.loss <= 1:
            raise ValueError(f"a loss lies between 0 and 1, got {seen.loss}")
        waiting = self._waiting.setdefault(seen.stratum, [0, 0.0, 0, 0.0])
        self._waiting.move_to_end(seen.stratum)
        at = 0 if seen.arm == "new" else 2
        waiting[at] += 1
        waiting[at + 1] += seen.loss
        new, new_loss, old, old_loss = waiting
        if seen.arm == "old" or not old:
            if len(self._waiting) > MOST_STRATA:
                self._waiting.popitem(last=False)
            return None
        del self._waiting[seen.stratum]
        return new_loss / new - old_loss / old

    def state(self) -> dict[str, list[float]]:
        """By stratum: how many of the new arm wait and their sum, and of the old one."""
        return {stratum: list(waiting) for stratum, waiting in self._waiting.items()}

    @classmethod
    def from_state(cls, state: dict[str, list[float]]) -> Pairs:
        """Raises ValueError for a state that no Pairs has."""
        for waiting in state.values():
            if len(waiting) != 4 or min(waiting) < 0 or waiting[1] > waiting[0] or waiting[3] > waiting[2]:
                raise ValueError("the state holds sums that no losses have")
        made = cls()
        made._waiting = OrderedDict((stratum, list(waiting)) for stratum, waiting in state.items())
        return made

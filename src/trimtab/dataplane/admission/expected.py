"""How many tokens requests have, before anybody has counted them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from trimtab.foundations.podmodel import Ask

PROMPT: Final = 0.25
"""Tokens expected for each that a prompt can't exceed, where nothing is known: four bytes each."""
OUTPUT: Final = 128.0
"""Tokens expected of an answer where nothing is known."""
BEFORE: Final = 5
"""Answers that weigh as much as what was believed before: of all that began together the short ones end first."""
MOST_KEPT: Final = 512
"""Callers whose answers are known; who was asked for longest ago goes first."""
_WEIGHT: Final = 0.05


class _Mean:
    """Of the last twenty or so, beginning at what is believed."""

    __slots__ = ("count", "value")

    def __init__(self, believed: float) -> None:
        self.value, self.count = believed, BEFORE

    def observe(self, value: float) -> None:
        self.count += 1
        self.value += max(_WEIGHT, 1 / self.count) * (value - self.value)


class Expected:
    """Prompts as a share of their bound, answers by who asks, or as all others' where nobody knows."""

    def __init__(self) -> None:
        self._share = PROMPT
        self._all = _Mean(OUTPUT)
        self._outputs: OrderedDict[tuple[str, str], _Mean] = OrderedDict()

    def __len__(self) -> int:
        return len(self._outputs)

    def ask(self, caller: tuple[str, str], bound: int, most: int) -> Ask:
        """Of a prompt that has at most `bound` tokens and an answer of at most `most`."""
        output = self._outputs.get(caller, self._all).value
        return Ask(prompt=max(1.0, bound * self._share), output=max(1.0, min(most, output)))

    def learn(self, caller: tuple[str, str], bound: int, prompt: int, output: int) -> None:
        """What it came to."""
        if bound > 0:
            self._share += _WEIGHT * (prompt / bound - self._share)
        known = self._outputs.pop(caller, None) or _Mean(self._all.value)
        self._all.observe(output)
        known.observe(output)
        self._outputs[caller] = known
        if len(self._outputs) > MOST_KEPT:
            self._outputs.popitem(last=False)

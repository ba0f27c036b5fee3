"""How many tokens requests have, before anybody has counted them."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from trimtab.foundations.podmodel import Ask

Caller = tuple[str, str]
"""Tenant and channel."""

PROMPT: Final = 0.25
"""Tokens expected for each that a prompt can't exceed, where nothing is known: four bytes each."""
OUTPUT: Final = 128.0
"""Tokens expected of an answer where nothing is known."""
BEFORE: Final = 3.0
"""Answers that weigh as much as what was believed before."""
MEMORY: Final = 40.0
"""Answers that are remembered."""
MOST_KEPT: Final = 512
"""Callers whose answers are known; who was asked for longest ago goes first."""
_WEIGHT: Final = 0.05


class _Length:
    """Of answers: tokens that were written for each answer that ended. The mean of those that ended would be too short
    for as long as there are longer ones that still run (the estimate of maximum likelihood for exponential lengths
    that are cut by the end of the observation)."""

    __slots__ = ("ended", "tokens")

    def __init__(self, believed: float) -> None:
        self.tokens, self.ended = BEFORE * believed, BEFORE

    @property
    def mean(self) -> float:
        return self.tokens / self.ended

    def end(self) -> None:
        kept = 1 - 1 / MEMORY
        self.tokens, self.ended = kept * self.tokens, kept * (self.ended + 1)


class Expected:
    """Prompts as a share of their bound, answers by who asks, or as all others' where nobody knows."""

    def __init__(self) -> None:
        self._share = PROMPT
        self._all = _Length(OUTPUT)
        self._lengths: OrderedDict[Caller, _Length] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lengths)

    def ask(self, caller: Caller, bound: int, most: int) -> Ask:
        """Of a prompt that has at most `bound` tokens and an answer of at most `most`."""
        output = self._lengths.get(caller, self._all).mean
        return Ask(prompt=max(1.0, bound * self._share), output=max(1.0, min(most, output)))

    def state(self) -> tuple[float, float, list[tuple[str, str, float]]]:
        """Share of prompts, mean length of all answers, and by who asks: tenant, channel, mean length."""
        return self._share, self._all.mean, [(*caller, length.mean) for caller, length in self._lengths.items()]

    def restore(self, share: float, output: float, outputs: list[tuple[str, str, float]]) -> None:
        """Go on from there. Raises ValueError for what no requests leave behind; nothing is changed then."""
        if not all(0 <= number < math.inf for number in (share, output, *(own for _, _, own in outputs))):
            raise ValueError("the state holds lengths that no requests have")
        self._share, self._all = share, _Length(output)
        self._lengths = OrderedDict(((tenant, channel), _Length(own)) for tenant, channel, own in outputs[-MOST_KEPT:])

    def read(self, bound: int, prompt: int) -> None:
        """What a prompt came to."""
        if bound > 0:
            self._share += _WEIGHT * (prompt / bound - self._share)

    def wrote(self, caller: Caller, tokens: int, *, ended: bool = False) -> None:
        """So many more tokens of an answer have come, or its last ones. Below 0: those of one that broke off, which
        says nothing of how long it would have been."""
        own = self._lengths.pop(caller, None) or _Length(self._all.mean)
        self._lengths[caller] = own
        for length in (own, self._all):
            length.tokens = max(length.tokens + tokens, length.ended)
            if ended:
                length.end()
        if len(self._lengths) > MOST_KEPT:
            self._lengths.popitem(last=False)

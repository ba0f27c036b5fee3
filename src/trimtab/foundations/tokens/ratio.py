"""Unknown tokenizers: an online quantile of characters per token, learnt from what upstreams report.

Stochastic approximation in the logarithm (Robbins-Monro): after each observation x, q += step x (p - [x < q]) in log
space, with a step that falls as 1/sqrt(n) to a floor, so that it settles and still follows a change of traffic. Low
quantile of characters per token = high quantile of tokens, which is the side that an estimate should err on.

Why not a mean: code, Chinese and English differ by a factor of six; a mean is wrong for half of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from trimtab.foundations.tokens.bound import prompt_bound

QUANTILE: Final = 0.25
START: Final = 3.0
"""Characters per token before anything was seen: less than English (4.2) and more than code (2.8)."""
_FIRST_STEP, _LEAST_STEP = 0.5, 0.01
_LEAST, _MOST = 0.1, 20.0  # characters per token, beyond which a report is not believed


class RatioEstimator:
    """A TokenCounter that guesses, one for each unknown model. Not for threads: lives on the event loop."""

    def __init__(self, quantile: float = QUANTILE, start: float = START) -> None:
        if not 0 < quantile < 1:
            raise ValueError(f"a quantile lies between 0 and 1, got {quantile}")
        self._quantile = quantile
        self._log = math.log(start)
        self._seen = 0

    def __repr__(self) -> str:
        return f"<RatioEstimator {self.chars_per_token:.2f} characters a token after {self._seen} reports>"

    @property
    def source(self) -> Literal["counted", "estimated"]:
        return "estimated"

    @property
    def chars_per_token(self) -> float:
        return math.exp(self._log)

    def observe(self, characters: int, tokens: int) -> None:
        """An upstream reported `tokens` for a prompt of so many characters. What no tokenizer does is not learnt."""
        if characters <= 0 or tokens <= 0 or not _LEAST <= characters / tokens <= _MOST:
            return
        self._seen += 1
        below = math.log(characters / tokens) < self._log
        step = max(_FIRST_STEP / math.sqrt(self._seen), _LEAST_STEP)
        self._log += step * (self._quantile - below)

    def count(self, text: str) -> int:
        """A guess; no text that is not empty has no token."""
        return math.ceil(len(text) / self.chars_per_token)

    def upper_bound(self, messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any] | None = None) -> int | None:
        return prompt_bound(messages, extra)

"""Unknown tokenizers: online quantiles of characters per token, learnt from what upstreams report.

Stochastic approximation in the logarithm (Robbins-Monro): after each observation x, q += step x (p - [x < q]) in log
space, with a step that falls as 1/sqrt(n) to a floor, so that it settles and still follows a change of traffic; and
never more than it was off lately, so that what does not vary is known exactly. Low
quantile of characters per token = high quantile of tokens, which is the side that an estimate should err on.

Why not a mean: code, Chinese and English differ by a factor of six; a mean is wrong for half of them.

Answers have quantiles of their own, since they are written in other words than questions. Most servers send an event
for each token, and then the number of pieces tells more than their characters: both are learnt, and the one that was
nearer so far is asked.
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
_LEAST, _MOST = 0.1, 20.0  # characters or pieces per token, beyond which a report is not believed
_FEWEST_PIECES = 4  # an answer that came whole says nothing of pieces
_NEWEST = 0.05  # weight of the newest error


class _Ratio:
    """A low quantile of so many units per token, and how far it was off lately, in log space."""

    __slots__ = ("_log", "_quantile", "error", "seen")

    def __init__(self, quantile: float, start: float) -> None:
        self._quantile, self._log = quantile, math.log(start)
        self.seen = 0
        self.error = math.inf

    @property
    def per_token(self) -> float:
        return math.exp(self._log)

    def observe(self, units: int, tokens: int) -> None:
        """What no tokenizer does is not learnt."""
        if units <= 0 or tokens <= 0 or not _LEAST <= units / tokens <= _MOST:
            return
        seen = math.log(units / tokens)
        off = abs(seen - self._log)
        self.error = off if self.seen < 2 else self.error + _NEWEST * (off - self.error)
        self.seen += 1
        step = min(max(_FIRST_STEP / math.sqrt(self.seen), _LEAST_STEP), self.error)
        self._log += step * (self._quantile - (seen < self._log))

    def tokens(self, units: int) -> int:
        return math.ceil(units / self.per_token)


class RatioEstimator:
    """A TokenCounter that guesses, one for each unknown model. Not for threads: lives on the event loop."""

    def __init__(self, quantile: float = QUANTILE, start: float = START) -> None:
        if not 0 < quantile < 1:
            raise ValueError(f"a quantile lies between 0 and 1, got {quantile}")
        self._asked, self._characters = _Ratio(quantile, start), _Ratio(quantile, start)
        self._pieces = _Ratio(quantile, 1.0)

    def __repr__(self) -> str:
        return f"<RatioEstimator {self.chars_per_token:.2f} characters a token after {self._asked.seen} reports>"

    @property
    def source(self) -> Literal["counted", "estimated"]:
        return "estimated"

    @property
    def chars_per_token(self) -> float:
        """Of prompts."""
        return self._asked.per_token

    def observe(self, characters: int, tokens: int) -> None:
        """An upstream reported `tokens` for a prompt of so many characters."""
        self._asked.observe(characters, tokens)

    def observe_answer(self, characters: int, pieces: int, tokens: int) -> None:
        """And so many for an answer of so many characters in so many pieces."""
        self._characters.observe(characters, tokens)
        if pieces >= _FEWEST_PIECES:
            self._pieces.observe(pieces, tokens)

    def count(self, text: str) -> int:
        """A guess; no text that is not empty has no token."""
        return self._asked.tokens(len(text))

    def written(self, text: str, pieces: int) -> int:
        """A guess by what was nearer for the answers before."""
        if self._pieces.error < self._characters.error and pieces >= _FEWEST_PIECES:
            return self._pieces.tokens(pieces)
        ratio = self._characters if self._characters.seen else self._asked
        return ratio.tokens(len(text))

    def upper_bound(self, messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any] | None = None) -> int | None:
        return prompt_bound(messages, extra)

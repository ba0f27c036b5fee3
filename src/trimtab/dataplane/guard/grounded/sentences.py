"""Texts to sentences, in scripts with spaces and without. A text's sentences are cut out of it unchanged."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from trimtab.dataplane.guard.grounded.lexicon import LANGUAGES, lexicon, plain
from trimtab.dataplane.guard.grounded.memo import remembered

_end = re.compile(r"(?<=[.!?؟۔।])([\"'”’»)\]]*)\s+|(?<=[。！？])([」』”）]*)|\n\s*(?:[-*•]\s+|\d{1,2}[.)]\s+|#+\s+)?")
_last_word = re.compile(r"([^\W\d_]+)\.$|\b(\d{1,2})\.$")
_first_word = re.compile(r"\w+")
_ABBREVIATED: Final = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "abs", "bzw", "ca", "etc", "eg", "ie", "vs", "approx", "inc", "ltd", "tel",
     "sr", "sra", "sres", "incl", "zzgl", "ggf", "usw", "dept", "pág", "págs")
)  # fmt: skip
_BEFORE_NUMBERS: Final = frozenset(("no", "nr", "art", "núm", "vol", "fig", "min", "max"))


@remembered(1024)
def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, without what stands around them."""
    found: list[str] = []
    start = 0
    for match in _end.finditer(text):
        if "\n" not in match[0] and _goes_on(text[start : match.start()].rstrip(), text[match.end() :]):
            continue
        found.append(text[start : match.start() + len(match[1] or match[2] or "")])
        start = match.end()
    found.append(text[start:])
    return tuple(one for one in (piece.strip().lstrip("-*•# ") for piece in found) if one)


def _goes_on(before: str, after: str) -> bool:
    """Whether the full stop ends an abbreviation or an ordinal rather than the sentence."""
    last = _last_word.search(before)
    if last is None:
        return False
    following = _first_word.match(after)
    if last[2]:
        return following is not None and plain(following[0]).casefold() in _months()
    word = last[1].casefold()
    if word in _BEFORE_NUMBERS:
        return after[:1].isdecimal()
    return len(word) == 1 or word in _ABBREVIATED or (following is not None and after[0].islower())


@lru_cache(maxsize=1)
def _months() -> frozenset[str]:
    known = (lexicon(language) for language in LANGUAGES)
    return frozenset(month for one in known if one is not None for month in one.months)

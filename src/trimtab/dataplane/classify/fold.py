"""How a text is read when it is searched for cues: case, compatibility forms and accents that people leave out mean
nothing, except where an accent makes another word of it (Vietnamese)."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963"
_word = re.compile(rf"[^\W\d_][\w{_MARKS}]*")
_ascii_word = re.compile(r"[a-zA-Z]\w*", re.ASCII)  # the same of a text that has no other letters, in half the time
_accents = re.compile("(?<=[a-zα-ω])[\u0300-\u036f]+")
_points = re.compile("[\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0640\u0670]")
_LETTERS: Final = str.maketrans(
    {"ł": "l", "đ": "d", "ı": "i", "ø": "o", "أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه"}
)
_unspaced = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def marked(text: str) -> str:
    """Folded, accents kept."""
    return text.casefold() if text.isascii() else normalize("NFKC", text).casefold()


def bare(folded: str) -> str:
    """A folded text without accents on Latin and Greek letters, vowel points, and spellings of one letter."""
    if folded.isascii():
        return folded
    stripped = _points.sub("", _accents.sub("", normalize("NFD", folded)))
    return normalize("NFC", stripped).translate(_LETTERS)


def words(folded: str) -> list[str]:
    """Words of scripts that part them; a run of Chinese or Japanese counts as one."""
    return (_ascii_word if folded.isascii() else _word).findall(folded)


def unspaced(folded: str) -> list[str]:
    """Runs of Chinese and Japanese."""
    return [] if folded.isascii() else _unspaced.findall(folded)

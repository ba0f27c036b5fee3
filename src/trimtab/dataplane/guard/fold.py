"""How text is read when it is compared: case, compatibility forms, white space and invisible characters mean nothing.

Folding goes character by character (a ligature or `ß` becomes several), so it is the same wherever a stream is cut, and
what a folded match covers can be told in the original. Letters stay composed: over decomposed text the syllable `가`
would be found in `각`, and `cafe` in `café`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from unicodedata import normalize

IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point (soft hyphen, zero width, direction, variation), inside a regex class."""

_ignorable = re.compile(f"[{IGNORABLE}]")
_astral = re.compile("[\U00010000-\U0010ffff]")


def visible(text: str) -> str:
    """The text without ignorable characters."""
    return text if text.isascii() else _ignorable.sub("", text)


@lru_cache(maxsize=16384)
def fold(character: str) -> str:
    """What one character counts as: nothing if it is ignorable, one space for any white space.

    Characters beyond the BMP become their two surrogates, as JSON escapes write them: `😀` and `\\ud83d\\ude00` are the
    same text.
    """
    if _ignorable.match(character):
        return ""
    if character.isspace():
        return " "
    return _astral.sub(_surrogates, normalize("NFKC", character).casefold())


def folded(text: str) -> str:
    """A whole text as it is compared: runs of white space are one space, none at the ends."""
    return " ".join("".join(map(fold, normalize("NFC", text))).split())


def is_blank(text: str) -> bool:
    """Whether nothing of the text is left to compare."""
    return not folded(text)


def _surrogates(match: re.Match[str]) -> str:
    code = ord(match[0]) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))

"""Meaning-changing edits made by rule from any English sentence: wrong answers whose label needs no judge."""

from __future__ import annotations

import re
from collections.abc import Iterator

_swaps = [
    ("number", r"\b(\d+)\b", lambda m: str(int(m[1]) + 1)),
    ("negation", r"\b(is|are|was|were|can|will|should|may|must|has|have) not\b", lambda m: m[1]),
    ("negation", r"\b(is|are|was|were|can|will|should|may|must)\b(?! not)", lambda m: m[1] + " not"),
    ("modality", r"\b(must|should)\b", lambda m: "may"),
    ("modality", r"\b(can|may|might|could)\b", lambda m: "must"),
    ("quantifier", r"\b(all|every|most)\b", lambda m: "some"),
    ("quantifier", r"\b(some|many|several)\b", lambda m: "all"),
    ("condition", r"\b(before)\b", lambda m: "after"),
    ("condition", r"\b(after)\b", lambda m: "before"),
    ("condition", r"\b(without)\b", lambda m: "with"),
    ("condition", r"\b(if)\b", lambda m: "unless"),
    ("entity", r"(?<=[a-z,] )([A-Z][a-z]{3,})\b", lambda m: "Zorbland"),
]


def edits(sentence: str) -> Iterator[tuple[str, str]]:
    """(kind, edited sentence), one for each rule that changes it, at its first place."""
    for kind, pattern, by in _swaps:
        edited = re.sub(pattern, by, sentence, count=1)
        if edited != sentence:
            yield kind, edited

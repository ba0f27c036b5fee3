"""The nearest of the known names: what a mistyped key was meant to be.

Optimal string alignment distance (Damerau-Levenshtein without repeated edits), because a swap of two letters is one
slip of the fingers; difflib's ratio counts it as two and prefers long common runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec


def distance(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours from `a` to `b`."""
    older: list[int] = []
    old = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            cost = min(old[j] + 1, new[j - 1] + 1, old[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            new.append(cost)
        older, old = old, new
    return old[-1]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` was most likely meant to be; None if nothing is near enough to be told."""
    plain = _plain(word)
    best: tuple[int, int, int, str] | None = None
    for name in known:
        most = max(1, min(len(name), len(word)) // 3)
        if abs(len(name) - len(word)) > most:  # no need to count, and a caller's long word costs nothing
            continue
        far = distance(plain, _plain(name))
        if far > most:
            continue
        score = (far, -_common_prefix(word, name), abs(len(word) - len(name)), name)
        best = score if best is None else min(best, score)
    return best[3] if best else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean x?`, or the list of what is known, or nothing where nothing is known."""
    names = sorted(set(known))
    found = nearest(word, names)
    if found:
        return f"Did you mean {found}?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"Known: {shown}."


def unknown_field(error: msgspec.ValidationError, type_: type[msgspec.Struct]) -> str:
    """The error in words; of an unknown field of `type_`, with the field that was meant."""
    found = re.fullmatch(r"Object contains unknown field `([^`]*)`", str(error))
    if found is None:
        return str(error)
    return f"there is no field {found.group(1)!r}. {did_you_mean(found.group(1), type_.__struct_encode_fields__)}"


def _plain(word: str) -> str:
    return word.casefold().replace("-", "_")


def _common_prefix(a: str, b: str) -> int:
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))

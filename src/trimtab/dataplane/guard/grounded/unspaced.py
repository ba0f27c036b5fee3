"""Clauses of scripts that set no spaces: numbers, then cues, then particles are cut out; bigrams of the rest remain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from trimtab.dataplane.guard.grounded.lexicon import LABELS, Lexicon, plain
from trimtab.dataplane.guard.grounded.numerals import CLOCK, Number, han, parsed
from trimtab.dataplane.guard.grounded.reading import Clause, add, normalised

_cut = re.compile(r"[,，、；;:：()（）]")
_run = re.compile(r"[^\W\d_a-zA-Z]+|[A-Za-z][\w-]*|<[A-Z]+_\d+>|\d[\w-]*")
_time = re.compile(r"(\d{1,2}):(\d{2})|(\d{1,2})[点時时](?!间|間)")
_range = re.compile(r"\s*(?:[-–—~〜至到]|から)\s*$")
_NUMBER: Final = r"[¥€$£]?\s?(?:\d+(?:[.,]\d+)*|[〇零一二两三四五六七八九十百千]+)"


def clauses_of(text: str, known: Lexicon) -> Iterator[Clause]:
    for piece in _cut.split(re.sub(r"(?<=\d)[,，](?=\d{3})", "", plain(text))):
        yield _clause(piece, known)


@lru_cache(maxsize=16)
def _patterns(known: Lexicon) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], dict[str, str]]:
    labels = {plain(one): label for label in sorted(LABELS) for one in known.listed(label)}
    units = "|".join(sorted(map(re.escape, known.units), key=lambda one: (-len(one), one)))
    number = re.compile(rf"({_NUMBER})\s?({units})?")
    return number, _any_of(labels), _any_of(known.stop | known.generic | known.wh), labels


def _any_of(phrases: object) -> re.Pattern[str]:
    longest = sorted((str(one) for one in phrases), key=lambda one: (-len(one), one))  # type: ignore[attr-defined]
    return re.compile("|".join(map(re.escape, longest)))


def _clause(piece: str, known: Lexicon) -> Clause:
    number, cue, stop, labels = _patterns(known)
    numbers: list[Number] = []
    units: set[str] = set()
    last = [-1]

    def take_time(match: re.Match[str]) -> str:
        hours, minutes = (match[1], match[2]) if match[1] else (match[3], "0")
        numbers.append(Number(parsed(hours) * 60 + parsed(minutes), CLOCK))
        return " "

    def take_number(match: re.Match[str]) -> str:
        digits, unit = match[1].lstrip("¥€$£ "), match[2] or match[1][0]
        is_han = not digits[0].isdecimal()
        if is_han and not match[2]:
            return match[0]
        value = han(digits) if is_han else parsed(digits)
        if match[2]:
            units.add(match[2])
        name = str(known.units[unit]) if unit in known.units else ""
        paired = last[0] >= 0 and _range.fullmatch(match.string[last[0] : match.start()]) is not None
        if paired and numbers:
            numbers[-1] = Number(numbers[-1].value, numbers[-1].unit or name, True)
        numbers.append(Number(value, name, paired))
        last[0] = match.end()
        return " "

    rest = number.sub(take_number, _time.sub(take_time, piece))
    found: set[str] = set()

    def take_cue(match: re.Match[str]) -> str:
        add(found, labels[match[0]], known)
        return " "

    rest = stop.sub(" ", cue.sub(take_cue, rest))
    words: set[str] = set()
    names: set[str] = set()
    for run in _run.findall(rest):
        if run[0].isascii():
            words.add(run.casefold())
            names.add(run.casefold())
        else:
            words.update(run[at : at + 2] for at in range(max(1, len(run) - 1)))
    return Clause(frozenset(words), frozenset(names), frozenset(units), tuple(numbers), normalised(found))

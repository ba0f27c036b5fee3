"""What is known of a language, read from `data/LANGUAGE.txt`: cues, numbers, units, endings.

A language without a file is one whose negations nobody can see: only verbatim answers are believed in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Final, TypeAlias
from unicodedata import normalize

from trimtab.dataplane.guard.fold import visible

_POLARITY: Final = ("neg", "skip", "without", "forbidden")
_MODALITY: Final = ("may", "can", "must", "should", "optional")
_QUANTITY: Final = ("only", "all", "some", "most", "few", "always", "sometimes", "usually", "about")
_COMPARISON: Final = ("atleast", "atmost", "more", "less", "within")
_CONDITION: Final = ("except", "unless", "if", "even", "before", "after", "until", "or")
LABELS: Final = frozenset(_POLARITY + _MODALITY + _QUANTITY + _COMPARISON + _CONDITION)
"""Sections whose phrases change what a sentence claims."""
Phrases: TypeAlias = dict[str, tuple[tuple[tuple[str, ...], str], ...]]
"""First word to (phrase, what it is), longest first."""
_word = re.compile(r"\w+")
_marks = re.compile("[\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0640]")
_arabic = str.maketrans("أإآٱىؤئ", "ااااىوي")


def plain(text: str) -> str:
    """The text with its case kept: compatibility forms, invisible characters and vowel points mean nothing."""
    if text.isascii():
        return text
    text = _marks.sub("", visible(normalize("NFKC", text))).translate(_arabic).replace("ى", "ي")
    return text.replace("’", "'").replace("‘", "'")


DURATIONS: Final = frozenset("123456")
"""The first of each language's units: day, week, month, year, hour, minute."""
MONEY: Final = frozenset({"7", "8", "9", "10", "16", ""})
"""Percent and the currencies among them; none is one that the list does not know, or a half of the price."""


_LONGEST_WORD: Final = 64
"""Of those that are remembered."""


class Lexicon:
    """One language. Immutable."""

    def __init__(self, name: str, sections: dict[str, list[str]]) -> None:
        self.name = name
        self.unspaced, self.concord = "unspaced" in sections, "concord" in sections
        self._sections = sections
        self.stop = self._words("stop")
        self.generic = self._words("generic")
        self.yes, self.no = self._words("yes"), self._words("no")
        self.wh, self.join = self._words("wh"), self._words("join")
        self.range = self._words("range")
        self.clause, self.clock = self._words("clause"), self._words("clock")
        self.qualifiers, self.grant, self.half = self._words("qualifiers"), self._words("grant"), self._words("half")
        self.suffixes = tuple(sorted(sections.get("suffixes", ()), key=lambda one: (-len(one), one)))
        self.prefixes = tuple(sections.get("prefixes", ()))
        self.negative_prefixes = tuple(sections.get("negprefix", ()))
        self.units = self._groups("units")
        self.months = self._groups("months")
        self.irregular = self._groups("irregular")
        self.antonyms = self._antonyms()
        self.numbers = dict(self._numbers())
        self.phrases = self._phrases()
        self.quantity = tuple(tuple(_word.findall(one)) for one in sections.get("quantity", ()))
        self.duration = tuple(tuple(_word.findall(plain(one))) for one in sections.get("duration", ()))
        self.amount = tuple(tuple(_word.findall(plain(one))) for one in sections.get("amount", ()))
        self.price = self._words("price")
        pairs = [tuple(one.split(">")) for one in sections.get("rewrite", ())]
        self.rewrites = tuple((re.compile(re.escape(a.strip()), re.IGNORECASE), f" {b.strip()}") for a, b in pairs)

    def __repr__(self) -> str:
        return f"<Lexicon {self.name}, {sum(map(len, self.phrases.values()))} cues>"

    def listed(self, section: str) -> list[str]:
        """The entries of a section, as they are written."""
        return self._sections.get(section, [])

    def stems(self, word: str) -> frozenset[str]:
        """The forms by which a folded word is compared: two words are the same if they share one."""
        return self._known_stems(word) if len(word) <= _LONGEST_WORD else self._stems(word)

    @lru_cache(maxsize=16384)  # noqa: B019  lexicons live as long as the process
    def _known_stems(self, word: str) -> frozenset[str]:
        return self._stems(word)

    def _stems(self, word: str) -> frozenset[str]:
        found = {word}
        for base in self._bases(word):
            found.add(base)
            for suffix in self.suffixes:
                if base.endswith(suffix):
                    stem = base[: len(base) - len(suffix)]
                    if len(stem) >= (3 if len(suffix) < 3 else 4):
                        found.add(stem)
                        if len(stem) > 4 and stem[-1] == stem[-2]:
                            found.add(stem[:-1])
        if word in self.irregular:
            found.add(f"#{self.irregular[word]}")
        return frozenset(found)

    def _bases(self, word: str) -> Iterator[str]:
        yield word
        for prefix in self.prefixes:
            if word.startswith(prefix) and len(word) - len(prefix) >= 3:
                yield word[len(prefix) :]
        if self.name == "de":
            bare = _infix.sub(r"\1", word, count=1)
            if bare != word and len(bare) > 3:
                yield bare

    def _words(self, section: str) -> frozenset[str]:
        return frozenset(plain(one).casefold() for one in self._sections.get(section, ()))

    def _groups(self, section: str) -> dict[str, int]:
        groups = enumerate(self._sections.get(section, ()), 1)
        return {plain(form.strip()).casefold(): number for number, line in groups for form in line.split(",")}

    def _antonyms(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for line in self._sections.get("antonyms", ()):
            first, *others = (plain(one.strip()).casefold() for one in line.split(","))
            found[first] = found.get(first, frozenset()) | frozenset(others)
            for other in others:
                found[other] = found.get(other, frozenset()) | {first}
        return found

    def _numbers(self) -> Iterator[tuple[tuple[str, ...], float]]:
        small = [[tuple(_word.findall(plain(w).casefold())) for w in one.split(",")] for one in self.listed("number")]
        tens = [tuple(_word.findall(plain(one.split(",")[0]).casefold())) for one in self.listed("tens")]
        for value, forms in enumerate(small):
            yield from ((form, float(value)) for form in forms if form)
        for count, line in enumerate(self.listed("tens")):
            yield from ((tuple(_word.findall(plain(w).casefold())), 30.0 + 10 * count) for w in line.split(","))
        if len(small) > 20:
            tens = [small[20][0], *tens]
        units = {"de": "ein", "fr": "un", "es": "uno", "pt": "um"}
        for count, ten in enumerate(tens):
            for value in range(1, 20 if self.name == "fr" else 10):
                one: tuple[str, ...] = (units[self.name],) if value == 1 and self.name in units else ()
                unit = one or (small[value][0] if value < len(small) else ())
                if not unit:
                    continue
                total = 20.0 + 10 * count + value
                if self.name == "de":
                    yield (f"{unit[0]}und{ten[0]}",), total
                    continue
                yield (*ten, *unit), total
                yield from (((*ten, join, *unit), total) for join in sorted(self.join))
        for line in self.listed("compounds"):
            word, _, number = line.partition("=")
            yield (word,), float(number)

    def _phrases(self) -> Phrases:
        found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for label in sorted(LABELS):
            for one in self.listed(label):
                words = tuple(_word.findall(plain(one).casefold()))
                if words:
                    found.setdefault(words[0], []).append((words, label))
        for number, value in self.numbers.items():
            found.setdefault(number[0], []).append((number, f"={value}"))
        for first, rows in found.items():
            rows.sort(key=lambda row: (-len(row[0]), row[1]))
            found[first] = rows
        return {first: tuple(rows) for first, rows in found.items()}


_separable = "zurück|heraus|hinein|herein|aus|ab|an|auf|ein|mit|vor|um|nach|weg|her|hin|los|fest|zu"
_infix = re.compile(f"^((?:{_separable})?)(?:ge|zu)")


@lru_cache(maxsize=64)
def lexicon(language: str | None) -> Lexicon | None:
    """The lexicon of a language tag (`de`, `pt-BR`); None where there is no file."""
    base = (language or "").split("-")[0].split("_")[0].lower()
    return _loaded(base) if base in LANGUAGES else None


@lru_cache(maxsize=16)
def _loaded(base: str) -> Lexicon:
    sections: dict[str, list[str]] = {}
    text = (files(__package__) / "data" / f"{base}.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        if colon and not line.startswith("#"):
            entries = [one.strip() if name != "rewrite" else one for one in rest.split("|")]
            sections.setdefault(name.strip(), []).extend(one for one in entries if one.strip())
    return Lexicon(base, sections)


LANGUAGES: Final = ("ar", "de", "en", "es", "fr", "he", "ja", "pt", "zh")

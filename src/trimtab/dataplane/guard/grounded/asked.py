"""A question as answers are held against it: its content, the kind of thing it asks for, whether yes or no is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log
from typing import NamedTuple

from trimtab.dataplane.guard.grounded.lexicon import DURATIONS, MONEY, Lexicon, plain
from trimtab.dataplane.guard.grounded.memo import remembered
from trimtab.dataplane.guard.grounded.numerals import Number
from trimtab.dataplane.guard.grounded.reading import Clause, Sentence, read

_word = re.compile(r"\w+")


class Asked(NamedTuple):
    """`words` without those that every question has; `polar`: no question word, so yes or no."""

    words: frozenset[str]
    soft: frozenset[str]
    numbers: tuple[Number, ...]
    labels: frozenset[str]
    polar: bool
    quantity: bool
    units: frozenset[str]
    """In which of them the number that is asked for must be; empty: in any, or in none."""
    negated: bool
    every: frozenset[str] = frozenset()
    """The words that every question has, too: enough to choose between two sentences."""

    @property
    def terms(self) -> int:
        return len(self.words) + len(self.numbers)


@remembered(256)
def asked(question: str, known: Lexicon) -> Asked:
    found = read(question, known)
    labels = frozenset[str]().union(*(one.labels for one in found)) if found else frozenset[str]()
    text = plain(question).casefold()
    words = tuple(_word.findall(text))
    if known.unspaced:
        polar = bool(words) and not any(one in text for one in known.wh)
        quantity = any("".join(one) in text for one in known.quantity)
    else:
        # `when` is a condition inside a question: only what stands near its beginning asks
        polar = bool(words) and not any(word in known.wh for word in words[:6])
        quantity = any(words[at : at + len(one)] == one for one in known.quantity for at in range(len(words)))
    units = frozenset[str]() if known.unspaced else _units(words, known)
    content = frozenset[str]().union(*(one.words for one in found)) if found else frozenset[str]()
    return Asked(
        frozenset(word for word in content if word not in known.generic),
        frozenset[str]().union(*(one.soft for one in found)) if found else frozenset(),
        tuple(number for one in found for number in one.numbers),
        labels - {"can"} if not polar else labels,
        polar,
        quantity or bool(units),
        units,
        "neg" in labels,
        content,
    )


def _units(words: tuple[str, ...], known: Lexicon) -> frozenset[str]:
    """`how long`: any time; `how many days`: days; `how much ... cost`: money."""
    for at in range(len(words)):
        if any(words[at : at + len(one)] == one for one in known.duration):
            return DURATIONS
        for one in known.quantity:
            after = at + len(one)
            if words[at:after] == one and after < len(words) and words[after] in known.units:
                return frozenset({str(known.units[words[after]])})
        if not known.price.isdisjoint(words[at:]) and any(words[at : at + len(one)] == one for one in known.amount):
            return MONEY
    return frozenset()


class Matcher:
    """Words of one text, found by any of their forms."""

    __slots__ = ("_known", "_stems", "words")

    def __init__(self, words: frozenset[str], known: Lexicon) -> None:
        self.words, self._known = words, known
        stems: set[str] = set()
        for word in words:
            stems |= known.stems(word) if not known.unspaced else {word}
        self._stems = stems

    def __contains__(self, word: object) -> bool:
        if not isinstance(word, str):
            return False
        if self._known.unspaced:
            # where two pieces of the passage are set together, their seam is a bigram of its own
            return word in self._stems or all(any(one in other for other in self._stems) for one in word)
        return not self._stems.isdisjoint(self._known.stems(word))


def is_opposed(word: str, matcher: Matcher, known: Lexicon) -> bool:
    """Whether a text has the word's opposite in its place: `closed` for `open`, `unworn` for `worn`."""
    opposites = frozenset[str]().union(*(known.antonyms.get(stem, frozenset()) for stem in known.stems(word)))
    return any(one in matcher for one in opposites) or any(p + word in matcher.words for p in known.negative_prefixes)


def covered(
    question: Asked, sentence: Sentence, title: frozenset[str], rarity: dict[str, float], known: Lexicon
) -> float:
    """The share of the question's content that a sentence with its headings holds."""
    if not question.terms:
        return 1.0
    matcher = Matcher(sentence.soft | title, known)
    numbers = {number.value for number in sentence.numbers}
    most = max(rarity.values(), default=1.0)
    got = sum(rarity[word] for word in question.words if word in matcher or is_opposed(word, matcher, known))
    got += sum(most for number in question.numbers if number.value in numbers)
    return got / (sum(rarity.values()) + most * len(question.numbers))


def rarities(question: Asked, sentences: Sequence[tuple[Sentence, frozenset[str]]], known: Lexicon) -> dict[str, float]:
    """How much each word of the question says, by how few of the sentences have it."""
    matchers = [Matcher(one.soft | title, known) for one, title in sentences]
    found = {}
    for word in sorted(question.words):
        count = sum(word in matcher for matcher in matchers)
        found[word] = log(2 + (len(matchers) + 1) / (count + 1))
    return found


def title_words(title: str, known: Lexicon) -> frozenset[str]:
    return frozenset[str]().union(*(one.soft for one in read(title.replace(">", "."), known))) if title else frozenset()


def lead(clause: Clause, known: Lexicon) -> frozenset[str]:
    """A clause's content without the words that every answer has."""
    return frozenset(word for word in clause.words if word not in known.generic)

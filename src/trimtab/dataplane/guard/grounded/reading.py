"""A sentence as it is compared: clauses, each with its content words, numbers and the labels of its cues.

A clause is what lies between commas, semicolons and joining words, so that "shoes can be returned, hats can't" says
two things; a piece without a content word goes with the next one ("we do not, however, refund ..."). A cue's label
holds for its whole clause. In scripts without spaces content is character bigrams of what cues and particles leave.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from trimtab.dataplane.guard.grounded.lexicon import Lexicon, plain
from trimtab.dataplane.guard.grounded.memo import remembered
from trimtab.dataplane.guard.grounded.numerals import CLOCK, MONTH, Number, han, parsed
from trimtab.dataplane.guard.grounded.sentences import sentences

_token = re.compile(
    r"(?P<code><[A-Z]+_\d+>|https?://\S+|www\.\S+|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+|[A-Za-z]{1,24}-?\d[\w-]*)"
    r"|(?P<time>\d{1,2}[:h]\d{2}(?!\d))|(?P<iso>\d{4}-\d{2}-\d{2})"
    r"|(?P<number>(?<!\d)\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,٫٬]\d+)*)"
    r"|(?P<half>½)|(?P<word>[^\W\d_]+)|(?P<sign>[%€$£¥₪])|(?P<range>(?<=[\d%€$£ ])[-–—](?=[\d€$£ ]))"
    r"|(?P<cut>[,;:()—–，、；：（）،؛])"
)
_RANGE: Final = "range"
_SKIP: Final = frozenset({"th", "st", "nd", "rd"})
FOREIGN: Final = "code"
DOUBLE: Final = "double"
"""Two negations in one clause that don't just agree with each other: not to be weighed up, only to be repeated."""


class Clause(NamedTuple):
    """`names` are the words that name something (capitals, codes); `soft` ones may be matched but need not be."""

    words: frozenset[str]
    names: frozenset[str]
    soft: frozenset[str]
    numbers: tuple[Number, ...]
    labels: frozenset[str]
    grants: bool = False

    @property
    def empty(self) -> bool:
        return not self.words and not self.numbers


class Sentence(NamedTuple):
    """`text` as it was written."""

    text: str
    clauses: tuple[Clause, ...]

    @property
    def words(self) -> frozenset[str]:
        return frozenset().union(*(clause.words for clause in self.clauses))

    @property
    def soft(self) -> frozenset[str]:
        return frozenset().union(*(clause.soft | clause.words for clause in self.clauses))

    @property
    def numbers(self) -> tuple[Number, ...]:
        return tuple(number for clause in self.clauses for number in clause.numbers)

    @property
    def labels(self) -> frozenset[str]:
        return frozenset().union(*(clause.labels for clause in self.clauses))


class _Token(NamedTuple):
    kind: str
    text: str
    folded: str


@remembered(1024)
def read(text: str, known: Lexicon) -> tuple[Sentence, ...]:
    """The sentences of a text."""
    return tuple(read_sentence(one, known) for one in sentences(text))


@remembered(4096)
def read_sentence(text: str, known: Lexicon) -> Sentence:
    if known.unspaced:
        from trimtab.dataplane.guard.grounded.unspaced import clauses_of

        return Sentence(text, _merged(clauses_of(text, known)))
    return Sentence(text, _merged(_spaced(text, known)))


def _spaced(text: str, known: Lexicon) -> Iterator[Clause]:
    text = plain(text)
    for pattern, by in known.rewrites:
        text = pattern.sub(by, text)
    tokens = list(_tokens(text))
    clause = _Builder(known)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "cut":
            yield clause.build()
            clause = _Builder(known)
            at += 1
            continue
        if token.kind == "word" and token.folded in known.clause and not clause.is_range(tokens, at):
            yield clause.build()
            clause = _Builder(known)
        at += clause.take(tokens, at)
    yield clause.build()


def _tokens(text: str) -> Iterator[_Token]:
    for match in _token.finditer(text):
        yield _Token(str(match.lastgroup), match[0], match[0].casefold())


class _Builder:
    """One clause while its tokens are read."""

    def __init__(self, known: Lexicon) -> None:
        self._known = known
        self._words: set[str] = set()
        self._names: set[str] = set()
        self._soft: set[str] = set()
        self._numbers: list[Number] = []
        self._labels: set[str] = set()
        self._grants = False

    def build(self) -> Clause:
        labels = normalised(self._labels)
        return Clause(
            frozenset(self._words),
            frozenset(self._names),
            frozenset(self._soft),
            tuple(self._numbers),
            labels,
            self._grants,
        )

    def take(self, tokens: list[_Token], at: int) -> int:
        """Read the token at `at`; how many were used."""
        token = tokens[at]
        if token.kind in ("number", "time", "iso", "half"):
            return self._number(tokens, at, _value(token), 1)
        if token.kind == FOREIGN:
            self._words.add(token.folded.rstrip(".,;:!?)"))
            self._names.add(token.folded.rstrip(".,;:!?)"))
        elif token.kind == "word":
            return self._word(tokens, at)
        return 1

    def is_range(self, tokens: list[_Token], at: int) -> bool:
        """Whether the joining word stands between two numbers."""
        if not 0 < at < len(tokens) - 1 or tokens[at].folded not in self._known.range:
            return False
        return self._is_number(tokens, at - 1) and self._is_number(tokens, at + 1)

    def _is_number(self, tokens: list[_Token], at: int) -> bool:
        token = tokens[at]
        return token.kind in ("number", "time") or (token.folded,) in self._known.numbers

    def _word(self, tokens: list[_Token], at: int) -> int:
        known, token = self._known, tokens[at]
        month = token.folded in known.months and any(
            0 <= near < len(tokens) and tokens[near].kind == "number" for near in (at - 1, at + 1)
        )
        if month:
            self._soft.add(token.folded)
            return 1
        for phrase, label in known.phrases.get(token.folded, ()):
            size = len(phrase)
            if size == 1 or tuple(one.folded for one in tokens[at : at + size]) == phrase:
                if label[0] == "=":
                    return self._number(tokens, at, float(label[1:]), size)
                add(self._labels, label, known)
                return size
        if token.folded in known.half:
            self._numbers.append(Number(0.5, ""))
            return 1
        if token.folded in known.grant:
            self._grants = True
        if token.folded in known.stop or token.folded in _SKIP:
            return 1
        self._words.add(token.folded)
        if at and token.text[0].isupper() and known.name != "de":
            self._names.add(token.folded)
        return 1

    def _number(self, tokens: list[_Token], at: int, value: float, size: int) -> int:
        known = self._known
        end = at + size
        if tokens[at].kind in ("time", "iso"):
            self._numbers.append(Number(self._clock(tokens, end, value), CLOCK))
            return size + (end < len(tokens) and tokens[end].folded in known.clock)
        before = tokens[at - 1] if at else None
        partner = self._partner(tokens, at, end)
        if before is not None and before.kind == "sign" and before.folded in known.units:
            self._numbers.append(Number(value, str(known.units[before.folded]), partner is not None))
            return size
        where = end if partner is None or partner < end else self._after(tokens, partner)
        unit, used = self._unit(tokens, where, before)
        if unit == CLOCK:
            value = self._clock(tokens, where, value * 60)
        self._numbers.append(Number(value, unit, partner is not None))
        return size + (used if where == end else 0)

    def _after(self, tokens: list[_Token], at: int) -> int:
        """Behind the number at `at`."""
        for phrase, label in self._known.phrases.get(tokens[at].folded, ()):
            if label[0] == "=" and tuple(one.folded for one in tokens[at : at + len(phrase)]) == phrase:
                return at + len(phrase)
        return at + 1

    def _partner(self, tokens: list[_Token], at: int, end: int) -> int | None:
        """Where the other number of the range stands, of which this one is an end."""
        for near, far in ((end, end + 1), (at - 1, at - 2)):
            if not (0 <= far < len(tokens) and 0 <= near < len(tokens) and self._is_number(tokens, far)):
                continue
            if tokens[near].kind == _RANGE or tokens[near].folded in self._known.range:
                return far
        return None

    def _unit(self, tokens: list[_Token], at: int, before: _Token | None) -> tuple[str, int]:
        """The unit that follows, and how many tokens it took; a day's month may also stand before."""
        known = self._known
        qualifier = ""
        start = at
        following = tokens[at + 1].folded if at + 1 < len(tokens) else ""
        if at < len(tokens) and tokens[at].folded in known.qualifiers and following in known.units:
            qualifier, at = tokens[at].folded, at + 1
        if at < len(tokens):
            token = tokens[at]
            if token.folded in known.months:
                self._soft.add(token.folded)
                return f"{MONTH}{known.months[token.folded]}", 1
            if token.folded in known.clock:
                return CLOCK, at + 1 - start
            if token.folded in known.units:
                self._soft.add(token.folded)
                after = tokens[at + 1].folded if at + 1 < len(tokens) else ""
                if not qualifier and after in known.qualifiers:
                    qualifier, at = after, at + 1
                if qualifier:
                    self._soft.add(qualifier)
                return f"{known.units[token.folded]} {qualifier}".strip(), at + 1 - start
        if before is not None and before.folded in known.months:
            return f"{MONTH}{known.months[before.folded]}", 0
        return "", 0

    def _clock(self, tokens: list[_Token], at: int, minutes: float) -> float:
        """Minutes of the day: `pm` adds twelve hours."""
        if at < len(tokens) and tokens[at].folded == "pm" and minutes < 720:
            return minutes + 720
        return minutes


def _value(token: _Token) -> float:
    if token.kind == "time":
        hours, minutes = re.split("[:h]", token.folded)
        return parsed(hours) * 60 + parsed(minutes)
    if token.kind == "iso":
        return parsed(token.folded.replace("-", ""))
    return 0.5 if token.kind == "half" else parsed(token.text)


def add(labels: set[str], label: str, known: Lexicon) -> None:
    """A second cue of a kind counts as another: "some of them" in a sentence that has "part of" too says more."""
    if label in labels and label != "skip":
        label = (label if known.concord else DOUBLE) if label == "neg" else f"{label} 2"
    labels.add(label)


def normalised(labels: set[str]) -> frozenset[str]:
    """`forbidden` is what "not allowed" says, and not so once more; a phrase that only looks like a cue is none."""
    if "forbidden" in labels:
        labels = labels - {"forbidden"} | {"neg", "can"} | ({DOUBLE} if "neg" in labels else set())
    return frozenset(labels) - {"skip", "skip 2"}


def _merged(clauses: Iterator[Clause]) -> tuple[Clause, ...]:
    """A piece without content goes with the next one, the last with the one before."""
    found: list[Clause] = []
    waiting: Clause | None = None
    for clause in clauses:
        if waiting is not None:
            clause = _joined(waiting, clause)
        if clause.empty:
            waiting = clause
            continue
        found.append(clause)
        waiting = None
    if waiting is not None and (found or waiting.labels):
        found = [*found[:-1], _joined(found[-1], waiting)] if found else [waiting]
    return tuple(found)


def _joined(one: Clause, other: Clause) -> Clause:
    return Clause(
        one.words | other.words,
        one.names | other.names,
        one.soft | other.soft,
        one.numbers + other.numbers,
        one.labels | other.labels | ({DOUBLE} if "neg" in one.labels & other.labels else frozenset()),
        one.grants or other.grants,
    )


__all__ = ["Clause", "Sentence", "han", "normalised", "read", "read_sentence"]

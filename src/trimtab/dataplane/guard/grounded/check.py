"""Check: does an answer say what its passages say? Precision first: what can't be seen to be right is not supported.

    for every sentence of the answer: a sentence of the evidence that
        says it word for word, or
        has every content word, every number with its unit, and the same cues in the clauses concerned (compare.py)
    yes / no:       fits the polarity of the best such sentence and of the question, and leaves no condition out
    about it:       the sentences it stands on hold the question's content, no less than the best sentence does
    language:       the question's

Not a similarity with a threshold: a wrong answer differs from the right one by one word of ten (`not`, `60` for `30`),
and so scores as high as a right one in other words; on such edits the best threshold of word overlap accepts most of
them. Nor an entailment model: none fits the time, nor the languages. The price is coverage: an answer in other words
than the passage's is quoted instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from trimtab.dataplane.guard.fold import folded
from trimtab.dataplane.guard.grounded.asked import (
    Asked,
    Matcher,
    asked,
    covered,
    is_opposed,
    lead,
    rarities,
    title_words,
)
from trimtab.dataplane.guard.grounded.compare import Compared, compare, granting_all, labels_wrong
from trimtab.dataplane.guard.grounded.language import guessed, in_language
from trimtab.dataplane.guard.grounded.lexicon import Lexicon, lexicon
from trimtab.dataplane.guard.grounded.numerals import Number
from trimtab.dataplane.guard.grounded.reading import Clause, Sentence, read
from trimtab.dataplane.guard.grounded.sentences import sentences
from trimtab.dataplane.guard.grounded.thresholds import TOPIC_LEAD, TOPIC_MARGIN, TOPIC_POLAR, TOPIC_WH
from trimtab.dataplane.guard.grounded.values import Evidence, Grounding

PARTS: Final = ("support", "number", "entity", "negation", "modality", "condition", "topic", "language")
_word = re.compile(r"\w+")
_ENDS: Final = ".!?。！？؟…:;, \t\"'”“»«"


class _Stand(NamedTuple):
    """A sentence of the evidence that an answer may stand on."""

    sentence: Sentence
    title: frozenset[str]
    plain: str


def check(question: str, answer: str, evidence: Sequence[Evidence], *, language: str | None) -> Grounding:
    """See the module. Pure; a text in any script, or none, has a verdict."""
    return Checker(question, evidence).check(answer, language=language)


class Checker:
    """Answers to one question, held against the same passages: what they share is read once."""

    def __init__(self, question: str, evidence: Sequence[Evidence]) -> None:
        self._question, self._evidence = question, evidence
        self._sides: dict[str, _Side] = {}

    def check(self, answer: str, *, language: str | None) -> Grounding:
        """As the function of this name."""
        parts = dict.fromkeys(PARTS, 1.0)
        reasons: list[str] = []

        def fault(reason: str, part: str, score: float = 0.0) -> None:
            reasons.append(reason)
            parts[part] = min(parts[part], score)

        if not in_language(answer, language):
            fault("language", "language")
        known = lexicon(language or guessed(answer) or guessed(self._question))
        said = sentences(answer)
        if not said:
            fault("unsupported", "support")
        elif known is None:
            whole = {_plain(one) for passage in self._evidence for one in sentences(passage.text)}
            if not all(_plain(one) in whole for one in said):
                fault("unsupported", "support")
            if not _shares(self._question, answer):
                fault("off topic", "topic")
        else:
            for reason, part, score in _Check(self._side(known), answer, known).faults():
                fault(reason, part, score)
        score = min(parts.values())
        return Grounding(score, not reasons, tuple(dict.fromkeys(reasons)), parts)

    def _side(self, known: Lexicon) -> _Side:
        side = self._sides.get(known.name)
        if side is None:
            side = self._sides[known.name] = _side(self._question, self._evidence, known)
        return side


class _Side(NamedTuple):
    """Question and passages as one lexicon reads them. `covers`: how much of the question each sentence holds with its
    headings, `own`: without them."""

    question: Asked
    stands: list[_Stand]
    covers: list[float]
    own: list[float]


def _side(question: str, evidence: Sequence[Evidence], known: Lexicon) -> _Side:
    wanted, stands = asked(question, known), _stands(evidence, known)
    rarity = rarities(wanted, [(one.sentence, one.title) for one in stands], known)
    covers = [covered(wanted, one.sentence, one.title, rarity, known) for one in stands]
    own = [covered(wanted, one.sentence, frozenset(), rarity, known) for one in stands]
    return _Side(wanted, stands, covers, own)


class _Check:
    """One answer in a language that has a lexicon."""

    def __init__(self, side: _Side, answer: str, known: Lexicon) -> None:
        self._known = known
        self._question, self._stands, self._covers, self._own = side
        self._said, self._yes = _without_yes(read(answer, known), answer, known)
        self._on: list[int] = []
        """The sentences of the evidence that the answer stands on."""

    def faults(self) -> list[tuple[str, str, float]]:
        """Reason, part, score of the part."""
        found: list[tuple[str, str, float]] = []
        said = [one for one in self._said if one.clauses or one.text]
        polar = self._question.polar or self._yes is not None
        if self._yes is not None and not self._question.polar:
            found.append(("off topic", "topic", 0.0))
        content = [one for one in said if any(not clause.empty for clause in one.clauses)]
        for one in content:
            found += self._sentence(one, strict=polar)
        if not content and self._yes is None:
            return [*found, ("unsupported", "support", 0.0)]
        if self._yes is not None:
            found += self._yes_or_no(content)
        elif self._question.polar and not found:
            found += self._answers_polar()
        return found + (self._topic(content) if not found else [])

    def _sentence(self, said: Sentence, *, strict: bool) -> list[tuple[str, str, float]]:
        if said.text.rstrip().endswith(("?", "？", "؟")):
            return [("unsupported", "support", 0.0)]
        plain = _plain(said.text)
        order = sorted(range(len(self._stands)), key=lambda at: (-self._covers[at], at))
        for at in order:
            if self._stands[at].plain == plain:
                self._on.append(at)
                return []
        best: Compared | None = None
        for at in order:
            stand = self._stands[at]
            result = compare(said, stand.sentence, stand.title, self._question, self._known, strict=strict)
            if result.holds:
                self._on.append(at)
                return []
            if best is None or _nearness(result) > _nearness(best):
                best = result
        return _reasons(said, best, self._known)

    def _yes_or_no(self, content: list[Sentence]) -> list[tuple[str, str, float]]:
        if not self._stands:
            return [("unsupported", "support", 0.0)]
        at = self._on[0] if self._on else max(range(len(self._stands)), key=lambda one: (self._covers[one], -one))
        stand = self._stands[at]
        clauses = self._about(stand, content)
        if not clauses:
            return [("off topic", "topic", 0.0)]
        labels = granting_all(clauses)
        found = []
        positive = ("neg" in labels) == self._question.negated
        if self._opposites(clauses) % 2:
            positive = not positive
        if positive != self._yes:
            found.append(("negation", "negation", 0.0))
        if not content:
            self._on.append(at)
            asked_for = self._question.labels - {"neg"}
            for code in labels_wrong(asked_for, labels - {"neg"}, strict=True):
                found.append((code, code, 0.0))
            theirs = Matcher(self._question.words | self._question.soft, self._known)
            heading = Matcher(stand.title, self._known)
            left = [w for one in clauses for w in lead(one, self._known) if w not in theirs and w not in heading]
            if left or any(one.numbers for one in clauses):
                found.append(("condition", "condition", 0.0))
        elif self._question.labels - {"neg", "can", "may"} - labels:
            found.append(("condition", "condition", 0.0))
        return found

    def _about(self, stand: _Stand, content: list[Sentence]) -> list[Clause]:
        """The clauses that the question, or the answer's own words, speak of."""
        words = self._question.words
        for one in content:
            words = words | one.words
        matcher = Matcher(words, self._known)
        near = [one for one in stand.sentence.clauses if any(word in matcher for word in lead(one, self._known))]
        if not near:
            return []
        # a condition beside it belongs to it, whatever its words are
        beside = [one for one in stand.sentence.clauses if one not in near and one.labels & {"except", "unless", "if"}]
        return near + beside

    def _answers_polar(self) -> list[tuple[str, str, float]]:
        """A statement where yes or no was asked: the other word of a pair would answer another question."""
        clauses = [clause for at in self._on for clause in self._stands[at].sentence.clauses]
        missing = {number.value for number in self._question.numbers}
        missing -= {number.value for clause in clauses for number in clause.numbers}
        return [("condition", "condition", 0.0)] if missing else []

    def _opposites(self, clauses: list[Clause]) -> int:
        """How many words of the question stand in the clauses as their opposites."""
        known = self._known
        there = frozenset[str]().union(*(one.words for one in clauses))
        matcher = Matcher(there, known)
        count = 0
        for word in self._question.words:
            if word in matcher:
                continue
            count += is_opposed(word, matcher, known)
        return count

    def _topic(self, content: list[Sentence]) -> list[tuple[str, str, float]]:
        question = self._question
        least = TOPIC_POLAR if question.polar else TOPIC_WH
        share = max((self._covers[at] for at in self._on), default=0.0)
        best = max(self._covers, default=0.0)
        off = [("off topic", "topic", min(share, 0.99))]
        if share < least or share < best - TOPIC_MARGIN or self._rivalled():
            return off
        if question.polar:
            return []
        clauses = [clause for at in self._on for clause in self._stands[at].sentence.clauses]
        if self._opposites(clauses):
            return [("condition", "condition", 0.0)]
        numbers = [number for one in content for number in one.numbers]
        if question.quantity and not any(self._asked_for(number) for number in numbers):
            return off
        theirs = Matcher(question.words | question.soft, self._known)
        news = any(
            word not in theirs for one in content for clause in one.clauses for word in lead(clause, self._known)
        )
        return [] if news or numbers else off

    def _rivalled(self) -> bool:
        """Whether a sentence that the answer leaves out holds as much of the question itself, without its headings, and
        could as well be what was asked for. Both are then quoted together."""
        if self._known.unspaced:
            return False  # bigrams of short sentences are too few to tell rivals by
        own = self._own
        mine = max((own[at] for at in self._on), default=0.0)
        texts = {self._stands[at].plain for at in self._on}
        numbered = any(self._stands[at].sentence.numbers for at in self._on)
        for at, stand in enumerate(self._stands):
            if at in self._on or stand.plain in texts:
                continue
            if self._question.quantity and not any(self._asked_for(one) for one in stand.sentence.numbers):
                continue
            tells_more = not self._question.polar and bool(stand.sentence.numbers) and not numbered
            if own[at] >= mine - (TOPIC_LEAD if tells_more else 0.0) and own[at] > 0:
                return True
        return False

    def _asked_for(self, number: Number) -> bool:
        units = self._question.units
        return not units or number.unit.partition(" ")[0] in units


def _stands(evidence: Sequence[Evidence], known: Lexicon) -> list[_Stand]:
    found = []
    for passage in evidence:
        own = lexicon(passage.language)
        if own is not None and own is not known:
            continue
        title = title_words(passage.title, known)
        found += [_Stand(one, title, _plain(one.text)) for one in read(passage.text, known)]
    return found


def _without_yes(said: tuple[Sentence, ...], answer: str, known: Lexicon) -> tuple[list[Sentence], bool | None]:
    """The answer without the yes or no that it begins with, and which it was."""
    answer = _unframed(answer, known)
    start = answer.casefold()
    for words, value in ((known.no, False), (known.yes, True)):
        for word in sorted(words, key=lambda one: (-len(one), one)):
            rest = start[len(word) :]
            # "no refunds are given" says no of refunds: only what is set apart by a sign answers the question
            if start.startswith(word) and (not rest.strip() or rest[0] in ",.!;:，。、！،؛"):
                left = answer[len(word) :].lstrip(" ,.!;:，。、！،؛-–—")
                return list(read(left, known)), value
    return list(said if known.unspaced else read(answer, known)), None


def _unframed(answer: str, known: Lexicon) -> str:
    """The answer without what only announces it ("The answer is: ..."), and without the quotation marks around it."""
    frame, colon, rest = answer.partition(":")
    words = [word.casefold() for word in _word.findall(frame)]
    framed = bool(colon and words and all(word in known.generic or word in known.stop for word in words))
    return (rest if framed else answer).strip(" \t\n\"'“”«»„")


def _nearness(result: Compared) -> tuple[int, int, int]:
    return (-len(result.missing) - len(result.numbers), result.matched, -len(result.wrong))


def _reasons(said: Sentence, best: Compared | None, known: Lexicon) -> list[tuple[str, str, float]]:
    found: list[tuple[str, str, float]] = []
    if best is None or (not best.matched and not best.numbers):
        return [("unsupported", "support", 0.0)]
    for number in best.numbers:
        found.append((f"number {number} not in evidence", "number", 0.0))
    if best.names:
        found.append(("entity", "entity", 0.0))
    if best.missing - best.names:
        words = sum(len(lead(clause, known)) for clause in said.clauses)
        found.append(("unsupported", "support", 1 - len(best.missing) / max(words, 1)))
    for code in best.wrong:
        found.append((code, code if code in PARTS else "support", 0.0))
    return found or [("unsupported", "support", 0.0)]


def _plain(text: str) -> str:
    return folded(text).strip(_ENDS)


def _shares(question: str, answer: str) -> bool:
    """Whether both have letters in a row in common: all that can be said without knowing the language."""
    grams = {one[at : at + 4] for one in [folded(question)] for at in range(max(1, len(one) - 3))}
    text = folded(answer)
    return not folded(question) or any(gram in text for gram in grams)

"""One sentence of an answer against one sentence of the evidence: every word found, every number, every cue the same.

What must agree is strict, since one word decides (`may` for `must`, `over` for `under`), and what an answer may leave
out is little: `all`, `always`, `within`, an `if` where no yes or no was asked. It may add nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from trimtab.dataplane.guard.grounded.asked import Asked, Matcher, lead
from trimtab.dataplane.guard.grounded.lexicon import Lexicon
from trimtab.dataplane.guard.grounded.numerals import Number, same
from trimtab.dataplane.guard.grounded.reading import DOUBLE, Clause, Sentence

POLARITY: Final = frozenset({"neg", "without", DOUBLE})
MODALITY: Final = frozenset({"may", "can", "must", "should", "optional"})
MAY_DROP: Final = frozenset({"all", "always", "within", "if", "since", "even"})
"""What an answer may leave out of a sentence and still claim no more than it."""
REACHES: Final = frozenset({"except", "unless"})
"""What holds for the clauses beside it too."""


class Compared(NamedTuple):
    """`missing`: words of the answer that the sentence lacks; `wrong`: reason codes."""

    missing: frozenset[str]
    names: frozenset[str]
    numbers: tuple[Number, ...]
    wrong: tuple[str, ...]
    matched: int

    @property
    def holds(self) -> bool:
        return not (self.missing or self.numbers or self.wrong) and self.matched > 0


def compare(
    said: Sentence, stands: Sentence, title: frozenset[str], question: Asked, known: Lexicon, *, strict: bool
) -> Compared:
    """`strict`: yes or no was asked, so that a condition left out changes the answer."""
    whole = Matcher(stands.soft, known)
    left = list(stands.numbers)
    heading = Matcher(title, known)
    missing: set[str] = set()
    names: set[str] = set()
    numbers: list[Number] = []
    wrong: list[str] = []
    matched = 0
    for clause in said.clauses:
        lacks = {word for word in lead(clause, known) if word not in whole and word not in heading}
        missing |= lacks
        names |= lacks & clause.names
        numbers += _taken(clause.numbers, left)
        matched += sum(word in whole for word in lead(clause, known)) + len(clause.numbers)
        if not lacks:
            wrong += _clause(clause, said, stands, heading, question, known, strict)
    return Compared(frozenset(missing), frozenset(names), tuple(numbers), tuple(dict.fromkeys(wrong)), matched)


def _taken(numbers: tuple[Number, ...], left: list[Number]) -> list[Number]:
    """Those that `left` lacks; each takes one away, so that "from 10 to 10" does not stand on one 10."""
    lacking = []
    for one in numbers:
        found = next((other for other in left if same(one, other)), None)
        if found is None:
            lacking.append(one)
        else:
            left.remove(found)
    return lacking


def _clause(
    clause: Clause,
    said: Sentence,
    stands: Sentence,
    heading: Matcher,
    question: Asked,
    known: Lexicon,
    strict: bool,
) -> list[str]:
    mine = Matcher(clause.words | clause.soft, known)
    near = [at for at, other in enumerate(stands.clauses) if _meets(clause, mine, other, known)]
    if not near:
        # "where we can" has no content to be found by: it is held against the pieces like it, or against all
        bare = [other for other in stands.clauses if not lead(other, known) and not other.numbers]
        labels = granting_all(bare or stands.clauses)
        return labels_wrong(granting(clause), labels if bare else labels & granting(clause), strict=strict)
    # where one clause of the evidence has it all, the cues of others that share a word with it say nothing of it
    alone = [at for at in near if _is_whole(clause, stands.clauses[at], _matcher(stands, at, known), heading, known)]
    near = alone or near
    full = [at for at in near if _is_whole(stands.clauses[at], clause, mine, heading, known)]
    wrong: list[str] = []
    if len(near) > 1 and not full:
        wrong.append("unsupported")
    if _is_crossed(clause, [stands.clauses[at] for at in near], heading, known):
        wrong.append("number")
    relevant = [stands.clauses[at] for at in near]
    labels = frozenset[str]().union(*(one.labels for one in relevant))
    for at in near:
        for beside in (at - 1, at + 1):
            if 0 <= beside < len(stands.clauses):
                labels |= stands.clauses[beside].labels & (REACHES | {"if"} if strict else REACHES)
    wrong += labels_wrong(_reaching(clause, said), labels | granting_all(relevant), strict=strict)
    for at in full:
        other = stands.clauses[at]
        if len(lead(other, known)) > 1 and ("neg" in other.labels) != ("neg" in clause.labels):
            wrong.append("negation")
    if strict:
        wrong += _left_out(relevant, mine, clause, heading, question, known)
    return wrong


def _reaching(clause: Clause, said: Sentence) -> frozenset[str]:
    """The labels of a clause of the answer, with what reaches it from the clauses beside it."""
    at = said.clauses.index(clause)
    beside = [said.clauses[near] for near in (at - 1, at + 1) if 0 <= near < len(said.clauses)]
    return granting(clause) | frozenset[str]().union(*(one.labels & (REACHES | {"if"}) for one in beside))


def _left_out(
    relevant: list[Clause], mine: Matcher, clause: Clause, heading: Matcher, question: Asked, known: Lexicon
) -> list[str]:
    """A word that neither question nor answer has may be the condition under which yes is no."""
    theirs = Matcher(question.words | question.soft, known)
    for other in relevant:
        if any(word not in mine and word not in theirs and word not in heading for word in lead(other, known)):
            return ["condition"]
        have = (*clause.numbers, *question.numbers)
        if any(all(number.value != one.value for one in have) for number in other.numbers):
            return ["condition"]
    return []


def granting(clause: Clause) -> frozenset[str]:
    """The labels, with `can` where somebody "has 30 days to" do it."""
    return clause.labels | {"can"} if clause.grants and clause.numbers else clause.labels


def granting_all(clauses: Iterable[Clause]) -> frozenset[str]:
    return frozenset[str]().union(*(granting(clause) for clause in clauses))


def labels_wrong(said: frozenset[str], stands: frozenset[str], *, strict: bool) -> list[str]:
    """Reason codes for cues that one side has and the other lacks."""
    free = MAY_DROP - {"if"} if strict else MAY_DROP
    dropped = frozenset(one for one in stands - said if one.removesuffix(" 2") not in free)
    different = frozenset(one.removesuffix(" 2") for one in (said - stands) | dropped)
    found = []
    if different & POLARITY:
        found.append("negation")
    if different & MODALITY:
        found.append("modality")
    if different - POLARITY - MODALITY:
        found.append("condition")
    return found


def _matcher(stands: Sentence, at: int, known: Lexicon) -> Matcher:
    return Matcher(stands.clauses[at].words | stands.clauses[at].soft, known)


def _meets(clause: Clause, mine: Matcher, other: Clause, known: Lexicon) -> bool:
    if any(word in mine for word in lead(other, known)):
        return True
    return any(same(one, number) for one in clause.numbers for number in other.numbers)


def _is_whole(other: Clause, clause: Clause, mine: Matcher, heading: Matcher, known: Lexicon) -> bool:
    """Whether the answer's clause holds all that this clause of the evidence says."""
    return all(word in mine or word in heading for word in lead(other, known)) and all(
        any(same(one, number) or one.value == number.value for one in clause.numbers) for number in other.numbers
    )


def _is_crossed(clause: Clause, relevant: list[Clause], heading: Matcher, known: Lexicon) -> bool:
    """Whether a number was put to words of another clause that has a number of that unit for itself."""
    mine = Matcher(clause.words | clause.soft, known)
    for number in clause.numbers:
        own = [one for one in relevant if any(same(number, other) for other in one.numbers)]
        there = Matcher(frozenset[str]().union(*(one.soft | one.words for one in own)), known) if own else heading
        for other in relevant:
            if other in own or not any(one.unit == number.unit for one in other.numbers):
                continue
            theirs = [word for word in lead(other, known) if word not in there and word not in heading]
            taken = [word for word in theirs if word in mine]
            # "students 8 euros" may take the verb from "adults pay 15 euros", if all that it says itself is said
            lent = len(taken) < len(theirs) and all(_is_whole(one, clause, mine, heading, known) for one in own)
            if taken and not lent:
                return True
    return False

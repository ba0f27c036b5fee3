"""In scope: how likely the passages are about the question at all, so that what is out of scope is refused, not quoted.

    logit = bias + a * (best cosine) + b * (share of the question's content words that the best passage has)

Cosines of one embedder lie in a narrow band, in which an unrelated passage of the same language scores as high as a
related one of another; words alone miss what is asked in other words or another language. Together they part both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from trimtab.dataplane.guard.grounded.asked import Asked, Matcher, asked, title_words
from trimtab.dataplane.guard.grounded.language import base_of, guessed
from trimtab.dataplane.guard.grounded.lexicon import Lexicon, lexicon
from trimtab.dataplane.guard.grounded.reading import read
from trimtab.dataplane.guard.grounded.thresholds import SCOPE, SCOPE_FOREIGN, SCOPE_LEXICAL
from trimtab.dataplane.guard.grounded.values import Evidence


def in_scope(question: str, evidence: Sequence[Evidence], cosines: Sequence[float | None]) -> float:
    """0..1, see the module. `cosines`: of question and passage, in the order of the evidence; None where unknown."""
    if not evidence:
        return 0.0
    known = lexicon(guessed(question)) or lexicon("en")
    assert known is not None, "English is shipped"
    share = coverage(question, evidence, known)
    known_cosines = [one for one in cosines if one is not None]
    if not known_cosines:
        bias, weight = SCOPE_LEXICAL
        return _logistic(bias + weight * share)
    foreign = all(one.language is not None and base_of(one.language) != known.name for one in evidence)
    bias, cosine, weight = SCOPE_FOREIGN if foreign else SCOPE
    return _logistic(bias + cosine * max(known_cosines) + weight * share)


def coverage(question: str, evidence: Sequence[Evidence], known: Lexicon) -> float:
    """The greatest share of the question's content that one passage has."""
    wanted = asked(question, known)
    if not wanted.words:
        return 0.0
    return max(_share(wanted, one, known) for one in evidence)


def _share(wanted: Asked, passage: Evidence, known: Lexicon) -> float:
    reader = lexicon(passage.language) or known
    words = title_words(passage.title, known)
    for sentence in read(passage.text, reader):
        words |= sentence.soft
    matcher = Matcher(words, known)
    return sum(word in matcher for word in wanted.words) / len(wanted.words)


def _logistic(logit: float) -> float:
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))

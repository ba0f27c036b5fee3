"""Best quote: the one to three adjoining sentences that most likely hold the answer, cut out of a passage unchanged.

    sentence = share of the question's content that it holds with its headings, rare words counting more
             + a number, where one is asked for - its passage's place - another language
    quote    = the best sentence, and what stands beside it where that sentence alone may not hold the answer

Neighbours are taken since the sentence that repeats the question's words is often the one before the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trimtab.dataplane.guard.grounded.asked import Asked, Matcher, asked, covered, rarities, title_words
from trimtab.dataplane.guard.grounded.language import base_of, guessed
from trimtab.dataplane.guard.grounded.lexicon import Lexicon, lexicon
from trimtab.dataplane.guard.grounded.reading import Sentence, read_sentence
from trimtab.dataplane.guard.grounded.sentences import sentences
from trimtab.dataplane.guard.grounded.thresholds import (
    QUOTE_ALONE,
    QUOTE_KIND,
    QUOTE_LANGUAGE,
    QUOTE_OWN,
    QUOTE_RANK,
    QUOTE_SENTENCES,
)
from trimtab.dataplane.guard.grounded.values import Evidence, Quote


class _Place(NamedTuple):
    passage: int
    at: int
    text: str
    sentence: Sentence
    title: frozenset[str]


def best_quote(question: str, evidence: Sequence[Evidence]) -> Quote | None:
    """See the module. None: there is no sentence."""
    known = lexicon(guessed(question)) or lexicon("en")
    assert known is not None, "English is shipped"
    places = list(_places(evidence, known))
    if not places:
        return None
    wanted = asked(question, known)
    rarity = rarities(wanted, [(one.sentence, one.title) for one in places], known)
    scores = [_score(wanted, one, evidence[one.passage], rarity, known) for one in places]
    best = max(range(len(places)), key=lambda at: (scores[at], -at))
    chosen = _around(best, places, scores)
    passage = evidence[places[best].passage]
    text = _cut(passage.text, [places[at].text for at in chosen])
    return Quote(text, passage.source, round(min(1.0, max(0.0, scores[best])), 4))


def _places(evidence: Sequence[Evidence], known: Lexicon) -> list[_Place]:
    found = []
    for number, passage in enumerate(evidence):
        reader = lexicon(passage.language) or known
        title = title_words(passage.title, known)
        for at, text in enumerate(sentences(passage.text)):
            found.append(_Place(number, at, text, read_sentence(text, reader), title))
    return found


def _score(
    wanted: Asked,
    place: _Place,
    passage: Evidence,
    rarity: dict[str, float],
    known: Lexicon,
) -> float:
    score = covered(wanted, place.sentence, place.title, rarity, known) if wanted.terms else 0.0
    own = Matcher(place.sentence.soft, known)
    score += QUOTE_OWN * sum(word in own for word in wanted.words) / max(len(wanted.words), 1)
    score += QUOTE_OWN * sum(word in own for word in wanted.every - wanted.words) / max(len(wanted.every), 1)
    if wanted.quantity and place.sentence.numbers:
        score += QUOTE_KIND
    if passage.language is not None and base_of(passage.language) != known.name:
        score -= QUOTE_LANGUAGE
    return score - QUOTE_RANK * place.passage


def _around(best: int, places: list[_Place], scores: list[float]) -> range:
    """The best sentence alone if it says enough, else with its better neighbours of the same passage."""
    first = last = best
    if scores[best] >= QUOTE_ALONE:
        return range(best, best + 1)
    while last - first + 1 < QUOTE_SENTENCES:
        before = first - 1 if first and places[first - 1].passage == places[best].passage else None
        after = last + 1 if last + 1 < len(places) and places[last + 1].passage == places[best].passage else None
        if before is None and after is None:
            break
        # an answer more often follows the words of its question than goes before them
        if before is None or (after is not None and scores[after] + 0.05 >= scores[before]):
            last += 1
        else:
            first -= 1
    return range(first, last + 1)


def _cut(text: str, chosen: list[str]) -> str:
    """The stretch of the passage from the first of its sentences to the last, as it is written."""
    start = text.find(chosen[0])
    end = text.find(chosen[-1], start) + len(chosen[-1])
    return text[start:end]

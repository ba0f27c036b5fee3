"""The quote holds the answer, and comes from the passage as it is written."""

from __future__ import annotations

from grounded._passages import CASES
from trimtab.dataplane.guard.grounded import Evidence, best_quote
from trimtab.dataplane.guard.grounded.sentences import sentences


def test_quotes_hold_the_answer() -> None:
    """In at least nine of ten, with the passage that answers second of three."""
    held, total = 0, 0
    for case in CASES:
        others = [one for one in CASES if one.language == case.language and one is not case][:2]
        shown = [*others[:1], case, *others[1:]]
        passages = [Evidence(one.text, f"{one.title}.md", one.language, one.title) for one in shown]
        for question, key in case.asked:
            quote = best_quote(question, passages)
            assert quote is not None
            assert any(quote.text in one.text and quote.source == one.source for one in passages)
            assert 1 <= len(sentences(quote.text)) <= 3
            total += 1
            held += key in quote.text and quote.source == f"{case.title}.md"
    assert total >= 80
    assert held >= 0.9 * total


def test_a_passage_in_the_questions_language_is_preferred() -> None:
    """Of two that say the same the one that the asker can read."""
    passages = [
        Evidence("Der Versand kostet 5 Euro.", "de.md", "de"),
        Evidence("Shipping costs 5 euros.", "en.md", "en"),
    ]
    quote = best_quote("How much is the shipping?", passages)
    assert quote is not None
    assert quote.source == "en.md"


def test_nothing_to_quote() -> None:
    """No passage, or an empty one, gives no quote."""
    assert best_quote("What?", []) is None
    assert best_quote("What?", [Evidence("", "a.md"), Evidence(" \n ", "b.md")]) is None

"""How likely the passages are about the question."""

from __future__ import annotations

from grounded._passages import CASES
from trimtab.dataplane.guard.grounded import Evidence, in_scope

OUTSIDE = {
    "en": "Who won the election on Sunday?",
    "de": "Wie weit ist der Mond entfernt?",
    "fr": "Qui a gagné les élections dimanche ?",
    "es": "¿A qué distancia está la luna?",
    "pt": "Quem ganhou as eleições no domingo?",
}


def test_words_alone_part_inside_from_outside() -> None:
    """Without a cosine the words decide: what the passage is about scores above a half, what it isn't below."""
    for case in CASES:
        passages = [Evidence(case.text, "a.md", case.language, case.title)]
        if case.language in OUTSIDE:
            assert in_scope(OUTSIDE[case.language], passages, [None]) < 0.5
            assert in_scope(case.asked[0][0], passages, [None]) > 0.5, case.asked[0][0]


def test_the_cosine_alone_changes_it() -> None:
    """The same words, nearer and farther by the vectors."""
    passages = [Evidence("Parcels arrive within 3 days.", "a.md", "en")]
    scores = [in_scope("How fast is shipping?", passages, [cosine]) for cosine in (0.74, 0.82, 0.9)]
    assert scores == sorted(scores)
    assert scores[0] < 0.5 < scores[-1]


def test_no_passage_is_about_nothing() -> None:
    """Without evidence nothing is in scope."""
    assert in_scope("What?", [], []) == 0.0

"""Meaning-changing edits of every passage: none may pass, in either direction, whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from grounded._passages import CASES, Case
from trimtab.dataplane.guard.grounded import Evidence, best_quote, check, in_scope
from trimtab.dataplane.guard.grounded.sentences import sentences


def evidence(case: Case, text: str | None = None) -> list[Evidence]:
    """The passage, or an edited one, as the model was shown it."""
    return [Evidence(text or case.text, "doc.md", case.language, case.title)]


def edited(case: Case) -> Iterator[tuple[str, str, str]]:
    """(edited passage, sentence before, sentence after) of each edit."""
    for old, new in case.edits:
        assert case.text.count(old) == 1, (case.title, old)
        text = case.text.replace(old, new)
        changed = [pair for pair in zip(sentences(case.text), sentences(text), strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1, (case.title, old, new)
        yield (text, *changed[0])


def test_no_edit_passes() -> None:
    """The edited sentence against the passage, and the sentence against the edited passage, for every question."""
    tried, passed = 0, []
    for case in CASES:
        for text, before, after in edited(case):
            for question in (before.rstrip(".。") + "?", *(question for question, _ in case.asked)):
                for answer, passage in ((after, case.text), (before, text)):
                    tried += 1
                    if check(question, answer, evidence(case, passage), language=case.language).supported:
                        passed.append((case.language, question, answer))
    assert tried >= 200
    assert passed == []


def test_no_edit_passes_behind_yes_or_no() -> None:
    """Nor where the edited sentence follows a yes or no."""
    words = {"en": ("Yes", "No"), "de": ("Ja", "Nein"), "fr": ("Oui", "Non"), "es": ("Sí", "No"), "pt": ("Sim", "Não")}
    passed = []
    for case in CASES:
        for text, before, after in edited(case):
            for word in words.get(case.language, ()):
                for question in (before.rstrip(".") + "?", *(question for question, _ in case.asked)):
                    for answer, passage in ((after, case.text), (before, text)):
                        if check(
                            question, f"{word}, {answer}", evidence(case, passage), language=case.language
                        ).supported:
                            passed.append((case.language, question, word, answer))
    assert passed == []


def test_a_paraphrase_falls_with_its_sentence() -> None:
    """A right answer in other words is supported, and not once the sentence that it stands on is edited."""
    fell = 0
    for case in CASES:
        for question, answer in case.right:
            found = check(question, answer, evidence(case), language=case.language)
            assert found.supported, (question, answer, found.reasons)
            for text, before, after in edited(case):
                alone = [Evidence(before, "doc.md", case.language, case.title)]
                touched = set(before.split()) ^ set(after.split())
                said = answer.casefold()
                if not check(question, answer, alone, language=case.language).supported:
                    continue
                if not any(word.casefold().strip(".,") in said for word in touched if word in before.split()):
                    continue
                fell += 1
                assert not check(question, answer, evidence(case, text), language=case.language).supported, (
                    answer,
                    after,
                )
    assert fell >= 30


def test_the_sentence_that_answers_is_supported() -> None:
    """An extractive answer, word for word, in every language."""
    for case in CASES:
        for question, key in case.asked:
            sentence = next(one for one in sentences(case.text) if key in one)
            found = check(question, sentence, evidence(case), language=case.language)
            assert found.supported, (question, sentence, found.reasons)


def test_numbers_changed_by_one() -> None:
    """Every number of every passage, changed in its last digit only."""
    tried = 0
    for case in CASES:
        for sentence in sentences(case.text):
            for at, sign in enumerate(sentence):
                if sign.isdecimal() and not sentence[at + 1 : at + 2].isdecimal():
                    wrong = sentence[:at] + str((int(sign) + 1) % 10) + sentence[at + 1 :]
                    tried += 1
                    question = sentence.rstrip(".。") + "?"
                    assert not check(question, wrong, evidence(case), language=case.language).supported, wrong
    assert tried >= 40


def test_another_passages_answer() -> None:
    """A sentence of a passage that was not retrieved is not supported by those that were."""
    for case in CASES:
        others = [one for one in CASES if one.language == case.language and one is not case][:3]
        given_passages = [Evidence(one.text, "doc.md", one.language, one.title) for one in others]
        known = {sentence for one in others for sentence in sentences(one.text)}
        for question, key in case.asked:
            sentence = next(one for one in sentences(case.text) if key in one)
            if sentence not in known:
                assert not check(question, sentence, given_passages, language=case.language).supported, sentence


texts = st.text(max_size=60) | st.sampled_from([part for case in CASES for part in (case.text, case.asked[0][0])])
tags = st.sampled_from([None, "", "en", "de", "pt-BR", "ja", "zh", "ar", "he", "nl", "xx", "ru"])


@settings(max_examples=150, deadline=None)
@given(
    texts,
    texts,
    st.lists(st.builds(Evidence, text=texts, source=st.just("s"), language=tags, title=texts), max_size=3),
    tags,
)
def test_any_text_has_a_verdict(question: str, answer: str, passages: list[Evidence], language: str | None) -> None:
    """Nothing raises, scores are within bounds, and an answer without evidence is not supported."""
    found = check(question, answer, passages, language=language)
    assert 0 <= found.score <= 1
    assert found.supported == (not found.reasons)
    assert not (found.supported and not passages)
    quote = best_quote(question, passages)
    assert quote is None or any(quote.text in one.text for one in passages)
    assert 0 <= in_scope(question, passages, [None] * len(passages)) <= 1


hard = st.text(alphabet="0123456789.,:-– €$%½²③٣一十百年月not no may ٫'’<>_@/h\n。?", max_size=50)


@settings(max_examples=200, deadline=None)
@given(hard, hard, tags)
def test_any_number_has_a_verdict(question: str, answer: str, language: str | None) -> None:
    """Digits of any script, cut anywhere, are read or left, never an error."""
    check(question, answer, [Evidence(answer + question, "s", language)], language=language)
    best_quote(question, [Evidence(answer, "s", language)])

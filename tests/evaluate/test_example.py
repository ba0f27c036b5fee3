"""The example's own golden set: complete, and none of its edits passes for true."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from trimtab.controlplane.evaluate import Golden, read_golden
from trimtab.controlplane.registry import write_example
from trimtab.surfaces.evaluating import compare_edits

LANGUAGES = ["ar", "de", "en", "es", "fr", "pt"]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "workspace"
    write_example(folder)
    return folder


@pytest.fixture(scope="module")
def golden(example: Path) -> Golden:
    return read_golden(example)


def test_the_set_is_as_large_as_it_says(golden: Golden) -> None:
    """At least 120 questions in six languages: answerable, out of scope, to be handed over."""
    assert Counter(one.language for one in golden.questions) == dict.fromkeys(LANGUAGES, 42)
    assert Counter(one.expect for one in golden.questions) == {"answer": 216, "refuse": 24, "handover": 12}
    assert Counter(one.wording for one in golden.questions) == {"plain": 108, "free": 144}


def test_every_passage_has_five_edits_of_a_sentence_that_stands_there(example: Path, golden: Golden) -> None:
    """The statement is the document's own, its edits are not."""
    assert Counter(one.language for one in golden.edits) == dict.fromkeys(LANGUAGES, 18)
    for one in golden.edits:
        text = next((example / "corpora").glob(f"*/{one.source}")).read_text()
        assert one.statement in text
        assert len(set(one.edits)) == 5
        assert not [edit for edit in one.edits if edit in text]


def test_what_is_called_true_stands_in_the_document(example: Path, golden: Golden) -> None:
    """At least one of the true texts, and none of the false ones."""
    for one in golden.questions:
        if one.expect == "answer":
            assert one.source is not None
            text = next((example / "corpora").glob(f"*/{one.source}")).read_text().casefold()
            assert any(true.casefold() in text for true in one.true), one.id


def test_no_edit_passes(example: Path, golden: Golden) -> None:
    """540 changed statements, each compared with the passages of its document."""
    passed = [
        (one.of.id, edit)
        for one in compare_edits(example, golden.edits)
        for edit, passes in zip(one.of.edits, one.edits, strict=True)
        if passes
    ]
    assert passed == []

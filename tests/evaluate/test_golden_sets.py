"""Golden sets: what is read, how answers are graded, what is summed up of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.controlplane.evaluate import (
    Answer,
    EditResult,
    Edits,
    Grade,
    Kind,
    Question,
    Result,
    edit_lines,
    grade,
    lines,
    read_golden,
)
from trimtab.core.errors import ConfigError
from trimtab.foundations.stats import lower, upper

SHOES = Question(id="1", tenant="shop", channel="web", question="How long?", true=["30 days"], false=["60 days"])
WEATHER = Question(id="2", tenant="shop", channel="web", question="Will it rain?", expect="refuse")
ANGRY = Question(id="3", tenant="shop", channel="web", question="A manager, now!", expect="handover")


def said(kind: Kind, text: str = "") -> Answer:
    return Answer(kind=kind, text=text, ms=10.0, cost_nanousd=5)


@pytest.mark.parametrize(
    ("question", "answer", "wanted"),
    [
        (SHOES, said("answered", "Within 30  Days."), "right"),
        (SHOES, said("answered", "Soon."), "wrong"),
        (SHOES, said("answered", "30 days, or 60 days."), "wrong"),
        (SHOES, said("quoted", "Our pages say: 30 days, not 60 days"), "right"),
        (SHOES, said("quoted", "Parcels are free."), "unsure"),
        (SHOES, said("refused"), "unsure"),
        (SHOES, said("failed"), "unsure"),
        (WEATHER, said("refused"), "right"),
        (WEATHER, said("handover"), "right"),
        (WEATHER, said("quoted", "Parcels"), "unsure"),
        (WEATHER, said("answered", "It will."), "wrong"),
        (ANGRY, said("handover"), "right"),
        (ANGRY, said("refused"), "unsure"),
        (ANGRY, said("answered", "No."), "wrong"),
    ],
)
def test_grades(question: Question, answer: Answer, wanted: Grade) -> None:
    """A model's answer without the truth is wrong; a quote or a refusal never is."""
    assert grade(question, answer) == wanted


def test_lines_count_by_group_and_bound_what_was_wrong() -> None:
    """Counts, shares and the exact bound: none wrong of 3 bounds nothing better than 1 - 0.05 ** (1 / 3)."""
    results = [
        Result(SHOES, said("answered", "30 days")),
        Result(WEATHER, said("refused")),
        Result(ANGRY, said("refused")),
    ]
    total = lines(results, None)[0]
    assert (total.asked, total.answered, total.refused, total.right, total.wrong) == (3, 1, 2, 2, 0)
    assert total.wrong_upper95 == pytest.approx(1 - 0.05 ** (1 / 3), abs=1e-9)
    assert (total.answerable, total.answered_answerable, total.refusable, total.refusable_right) == (1, 1, 2, 1)
    assert total.cost_nanousd == 15
    assert [line.group for line in lines(results, "expect")] == ["answer", "handover", "refuse"]


def test_edit_lines_count_what_passed() -> None:
    """An edit that passes is counted, with the bound of all."""
    one = Edits(id="1", source="a.md", question="?", statement="s", edits=["x", "y"], language="en")
    line = edit_lines([EditResult(one, True, (False, True))], by_language=False)[0]
    assert (line.statements, line.statements_passed, line.edits, line.edits_passed) == (1, 1, 2, 1)
    assert line.edits_upper95 == pytest.approx(upper(1, 2))


@given(st.integers(0, 200), st.integers(0, 200))
def test_binomial_bounds_hold_the_rate_between_them(hits: int, more: int) -> None:
    """Lower and upper bound stand around the observed rate, and more of the same narrows them."""
    total = hits + more
    if total:
        assert lower(hits, total) <= hits / total <= upper(hits, total)
        assert upper(2 * hits, 2 * total) <= upper(hits, total) + 1e-9


def test_binomial_bounds_against_published_values() -> None:
    """The rule of three's exact form, and a table's value (Clopper and Pearson: 2 of 20, 95 % two-sided: .317)."""
    assert upper(0, 100) == pytest.approx(1 - 0.05**0.01, abs=1e-9)
    assert upper(2, 20, 0.975) == pytest.approx(0.317, abs=5e-4)
    with pytest.raises(ValueError, match="no count"):
        upper(3, 2)


def test_a_golden_set_is_read_and_its_faults_are_named_by_line(tmp_path: Path) -> None:
    """Each line that can't be used, by file and line; nothing is skipped."""
    folder = tmp_path / "golden"
    folder.mkdir()
    good = '{"id": "1", "tenant": "a", "channel": "b", "question": "?", "true": ["x"]}'
    edits = '{"id": "1", "source": "a.md", "question": "?", "statement": "s", "edits": ["t"]}'
    (folder / "a.jsonl").write_text(f"{good}\n\n{edits}\n")
    golden = read_golden(tmp_path)
    assert (len(golden.questions), len(golden.edits)) == (1, 1)
    (folder / "b.jsonl").write_text(
        "\n".join([good, "{", '{"id": "2"}', '{"id": "3", "tenant": "a", "channel": "b", "question": "?"}', "[]"])
    )
    with pytest.raises(ConfigError) as caught:
        read_golden(tmp_path)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        f"golden/b.jsonl:{line}" for line in (1, 2, 3, 4, 5)
    ]


def test_no_golden_set_says_how_one_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no golden set here"):
        read_golden(tmp_path)

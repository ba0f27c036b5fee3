"""Documents to values: what plain scalars mean, and every problem of a document in one go."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from trimtab.core.document import Document
from trimtab.core.tenancy import Tenant
from trimtab.foundations.config import Problem, Reader, locate
from trimtab.foundations.config.nodes import compose


class Inner(Document, frozen=True):
    """A part."""

    e2e_ms: Annotated[float, Meta(gt=0, examples=[1500])]
    count: int = 0


class Sample(Document, frozen=True):
    """One field of each kind."""

    text: str = ""
    flag: bool = False
    number: float = 0.0
    whole: int = 0
    usd: Decimal = Decimal(0)
    mode: Literal["wait", "refuse"] = "wait"
    maybe: str | None = None
    either: str | list[str] = ""
    part: Inner | None = None
    parts: dict[Annotated[str, Meta(pattern="^[a-z]+$", description="letters")], Inner] = {}
    names: Annotated[list[str], Meta(min_length=1)] | None = None
    free: dict[str, Any] = {}


def _read(text: str) -> Sample:
    value, problems = Reader(Sample).read(text, "s.yaml")
    assert not problems, [str(problem) for problem in problems]
    assert value is not None
    return value


def _problems(text: str) -> list[Problem]:
    value, problems = Reader(Sample).read(text, "s.yaml")
    assert value is None
    assert problems
    return problems


@pytest.mark.parametrize("text", ["no", "Norway", "0123", "1e5", "on", "12:30", "2026-11-24"])
def test_text_fields_take_what_is_written(text: str) -> None:
    """A plain scalar in a text field is that text: nothing is guessed to be a number, a date or a bool."""
    assert _read(f"text: {text}").text == text


def test_money_is_exact() -> None:
    """Dollars never pass through a float: 16 digits survive, quoted or not."""
    assert _read("usd: 8999999.123456789").usd == Decimal("8999999.123456789")
    assert _read('usd: "0.000000001"').usd == Decimal("0.000000001")
    assert _read("usd: 1e-3").usd == Decimal("0.001")


@pytest.mark.parametrize(
    "text", ["0.0000000001", "-1", "9000000.01", "1e999999999", "1e-999999999", "NaN", ".inf", "1_000", "0x10", "abc"]
)
def test_money_that_can_not_be_is_refused(text: str) -> None:
    """Finer than a nano-dollar, negative, too much, or no number at all: refused, and quickly."""
    (problem,) = _problems(f"usd: {text}")
    assert problem.path == ("usd",)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("number: .nan", "a number"),
        ("number: .inf", "a number"),
        ("number: 1e999", "a finite number"),
        ('number: "1"', "a number"),
        ("whole: 1.0", "a whole number"),
        ("whole: 9223372036854775808", "64 bits"),
        ("flag: yes", "true or false"),
        ("mode: wiat", "did you mean wait"),
        ("part: [1]", "a mapping of e2e_ms, count"),
        ("names: x", "a list"),
        ("names: []", "is empty"),
        ("parts: {A1: {e2e_ms: 1}}", "must be letters"),
        ("either: {a: 1}", "expected text or a list"),
        ("free: {temperature: .inf}", "a finite number"),
        ("text:", "is blank"),
        ("part: {e2e_ms: 0}", "above 0"),
    ],
)
def test_wrong_values_are_named_with_what_was_wanted(text: str, wanted: str) -> None:
    """Each wrong value is one problem on its line, in words."""
    (problem,) = _problems(text)
    assert problem.line == 1
    assert wanted in str(problem)


def test_a_problem_reads_as_a_line_that_says_what_to_write() -> None:
    """File, line, field, what was expected, what stands there, and what to write instead."""
    (problem,) = _problems("part:\n  e2e_ms: fast\n")
    assert str(problem) == (
        's.yaml:2: part.e2e_ms: expected a number of milliseconds (above 0), got "fast". Write e.g. e2e_ms: 1500'
    )


def test_all_problems_are_found_at_once() -> None:
    """One pass names every mistake of the file, each on its own line."""
    problems = _problems("txt: a\nflag: maybe\nwhole: x\nparts:\n  a: {}\n  b: {e2e_ms: 1, cuont: 2}\nusd: -1\n")
    assert [(problem.line, problem.path) for problem in problems] == [
        (1, ("txt",)),
        (2, ("flag",)),
        (3, ("whole",)),
        (5, ("parts", "a", "e2e_ms")),
        (6, ("parts", "b", "cuont")),
        (7, ("usd",)),
    ]


def test_a_field_written_too_high_up_is_sent_to_its_place() -> None:
    """A known name on the wrong level is told where it belongs."""
    (problem,) = _problems("e2e_ms: 3")
    assert "part.e2e_ms" in problem.hint


def test_a_misplaced_credential_is_not_repeated() -> None:
    """A key or hash pasted into the wrong field is masked in the message."""
    secret = "tt_live_" + "A1b2" * 9
    (problem,) = _problems(f"mode: {secret}")
    assert secret not in str(problem)
    assert "44 characters" in str(problem)


def test_free_values_follow_the_core_schema() -> None:
    """Where only the reader of a value knows its type, YAML 1.2's core schema decides."""
    free = _read('free: {a: 1, b: 1.5, c: true, d: null, e: no, f: "1", g: [0x10, {h: x}]}').free
    assert free == {"a": 1, "b": 1.5, "c": True, "d": None, "e": "no", "f": "1", "g": [16, {"h": "x"}]}


def test_null_is_none_only_where_nothing_may_stand() -> None:
    """`null` is None in an optional field, and a problem in any other."""
    assert _read("maybe: null").maybe is None
    assert _problems("whole: null")[0].message == "is blank"


def test_every_value_of_a_tenant_is_found_again_by_its_path() -> None:
    """The line of a nested problem is the line that an editor would jump to."""
    text = "id: a\nchannels:\n  c:\n    targets:\n      latency: {ttft_ms: 1}\n"
    _, problems = Reader(Tenant).read(text, "t.yaml")
    missing = [problem for problem in problems if problem.path[-1] == "e2e_ms"]
    assert [problem.line for problem in missing] == [5]
    assert locate(compose(text, "t"), missing[0].path) == 5

"""What a golden set shows, summed: who answered, what was wrong with its exact bound, latency and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import quantiles

import msgspec

from trimtab.controlplane.evaluate.golden import Edits, Question
from trimtab.controlplane.evaluate.grade import Answer, Grade, grade
from trimtab.foundations.stats import upper

BY = ("intent", "language", "wording", "channel", "expect", "path", "tier")
"""What results can be grouped by."""


class Result(msgspec.Struct, frozen=True):
    """A golden question with what came back."""

    question: Question
    answer: Answer

    @property
    def grade(self) -> Grade:
        return grade(self.question, self.answer)

    def group(self, by: str) -> str:
        if by == "channel":
            return f"{self.question.tenant}/{self.question.channel}"
        of = self.answer if by in {"path", "tier"} else self.question
        return getattr(of, by) or "-"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one group. `wrong_upper95`: exact one-sided 95 % bound of the wrong among what was asked.
    `quotes_right`: of the quotes for questions that have an answer, how many hold it. Money in nano-dollars."""

    group: str
    asked: int
    answered: int
    quoted: int
    refused: int
    handover: int
    failed: int
    right: int
    wrong: int
    wrong_upper95: float
    answerable: int
    answered_answerable: int
    quoted_answerable: int
    quotes_right: int
    refusable: int
    refusable_right: int
    p50_ms: float | None
    p95_ms: float | None
    cost_nanousd: int


class EditLine(msgspec.Struct, frozen=True, kw_only=True):
    """Statements that pass as they stand (higher is better), and changed ones that pass too (none should)."""

    group: str
    statements: int
    statements_passed: int
    edits: int
    edits_passed: int
    edits_upper95: float


class EditResult(msgspec.Struct, frozen=True):
    """Whether the statement was taken for supported, and each edit of it."""

    of: Edits
    statement: bool
    edits: tuple[bool, ...]


def lines(results: Sequence[Result], by: str | None) -> list[Line]:
    """A line for each group, in order of name; one for all with `by` None."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault("all" if by is None else result.group(by), []).append(result)
    return [_line(name, groups[name]) for name in sorted(groups)]


def _line(name: str, results: list[Result]) -> Line:
    kinds = Counter(result.answer.kind for result in results)
    grades = Counter(result.grade for result in results)
    answerable = [result for result in results if result.question.expect == "answer"]
    within = Counter(result.answer.kind for result in answerable)
    others = [result for result in results if result.question.expect != "answer"]
    times = sorted(result.answer.ms for result in results)
    return Line(
        group=name,
        asked=len(results),
        answered=kinds["answered"],
        quoted=kinds["quoted"],
        refused=kinds["refused"],
        handover=kinds["handover"],
        failed=kinds["failed"],
        right=grades["right"],
        wrong=grades["wrong"],
        wrong_upper95=upper(grades["wrong"], len(results)),
        answerable=len(answerable),
        answered_answerable=within["answered"],
        quoted_answerable=within["quoted"],
        quotes_right=sum(result.answer.kind == "quoted" and result.grade == "right" for result in answerable),
        refusable=len(others),
        refusable_right=sum(result.grade == "right" for result in others),
        p50_ms=_percentile(times, 50),
        p95_ms=_percentile(times, 95),
        cost_nanousd=sum(result.answer.cost_nanousd or 0 for result in results),
    )


def edit_lines(results: Iterable[EditResult], *, by_language: bool) -> list[EditLine]:
    groups: dict[str, list[EditResult]] = {}
    for result in results:
        groups.setdefault((result.of.language or "-") if by_language else "all", []).append(result)
    found = []
    for name in sorted(groups):
        group = groups[name]
        edits = [passed for result in group for passed in result.edits]
        found.append(
            EditLine(
                group=name,
                statements=len(group),
                statements_passed=sum(result.statement for result in group),
                edits=len(edits),
                edits_passed=sum(edits),
                edits_upper95=upper(sum(edits), len(edits)),
            )
        )
    return found


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    if not ordered:
        return None
    return ordered[0] if len(ordered) == 1 else quantiles(ordered, n=100, method="inclusive")[percent - 1]

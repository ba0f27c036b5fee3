"""trimtab eval: the golden set of a workspace, asked and graded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import busy, emit, json_option, names, table, unknown, workspace_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab.controlplane.evaluate import Line, Result


@click.command(name="eval", short_help="Ask the golden set, and say what was wrong, with its bound.")
@workspace_option
@click.option(
    "--by",
    default="intent,language",
    show_default=True,
    help="Groups: intent, language, wording, channel, expect, path, tier.",
)
@click.option("--only", help="Questions whose id begins with this.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="TENANT=KEY",
    help="A key for a tenant (else its demo key, or TRIMTAB_API_KEY).",
)
@click.option(
    "--at-once", default=1, show_default=True, type=click.IntRange(1, 64), help="Questions under way at a time."
)
@click.option("--fresh", is_flag=True, help="Ask again what an earlier run has asked of the same workspace.")
@click.option("--wrong", "show_wrong", is_flag=True, help="Print every answer that is not right.")
@json_option
def evaluate(
    workspace: Path,
    by: str,
    only: str | None,
    keys: tuple[str, ...],
    at_once: int,
    fresh: bool,
    show_wrong: bool,
    as_json: bool,
) -> None:
    """Ask the questions of golden/*.jsonl and grade the answers; compare the edits with their passages.

    Asks the workspace's running gateway, or starts one for as long as it takes. Stopped in the middle, it goes on
    where it was, as long as the workspace is the same. Exit code 1: an answer was wrong, or a changed statement passed.
    """
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.evaluate import BY, edit_lines, lines, read_golden
        from trimtab.controlplane.registry import load
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces import caller
        from trimtab.surfaces.evaluating import Asking, compare_edits

        groups = names(by, BY, "group", "--by")
        given = dict(_pair(one) for one in keys)
        golden = read_golden(workspace)
        tenancy = load(workspace, SystemClock()).snapshot.tenancy
    questions = tuple(one for one in golden.questions if only is None or one.id.startswith(only))
    edits = tuple(one for one in golden.edits if only is None or one.id.startswith(only))
    if only is not None and not questions and not edits:
        known = [*(one.id for one in golden.questions), *(one.id for one in golden.edits)]
        raise unknown(only, known, "question that begins with", "--only")
    for tenant in given:
        if tenant not in tenancy.tenants:
            raise unknown(tenant, tenancy.tenants, "tenant", "--key")
    compared = list(compare_edits(workspace, edits))
    results: list[Result] = []
    if questions:
        with caller.gateway(workspace, lambda line: click.echo(line, err=True)) as url:
            caller.settled(workspace)
            asking = Asking(workspace, tenancy, url, given)
            if fresh:
                asking.forget()
            with _Progress(len(questions), len(asking.known(questions))) as progress:
                results = list(asking.ask_all(questions, at_once, progress.step))
    total = lines(results, None)
    by_group = {name: lines(results, name) for name in groups} if results else {}
    edited = edit_lines(compared, by_language=False)
    failed = any(line.wrong for line in total) or any(line.edits_passed for line in edited)
    if as_json:
        emit(
            {
                "total": total[0] if total else None,
                "by": by_group,
                "edits": edited[0] if edited else None,
                "edits_by_language": edit_lines(compared, by_language=True),
                "not_right": [_row(one) for one in results if one.grade != "right"],
                "edits_passed": [
                    {"id": one.of.id, "edit": edit}
                    for one in compared
                    for edit, passed in zip(one.of.edits, one.edits, strict=True)
                    if passed
                ],
            }
        )
        sys.exit(int(failed))
    if results:
        _print(total, by_group)
    if edited:
        click.echo()
        one = edited[0]
        click.echo(
            f"Edits: {one.edits_passed} of {one.edits} statements with a changed meaning passed (at most "
            f"{_percent(one.edits_upper95)} at 95 %); of the true ones {one.statements_passed} of {one.statements}."
        )
        for result in compared:
            for edit, passed in zip(result.of.edits, result.edits, strict=True):
                if passed:
                    click.echo(f"  passed: {result.of.id}: {edit}")
    for asked in results:
        if asked.grade == "wrong" or (show_wrong and asked.grade != "right"):
            click.echo(f"  {asked.grade}: {asked.question.id}: {asked.question.question}")
            click.echo(f"      {asked.answer.kind}: {asked.answer.text.strip()[:300]} ({asked.answer.record})")
    sys.exit(int(failed))


_HEAD = (
    "ASKED",
    "ANSWERED",
    "QUOTED",
    "REFUSED",
    "HANDED OVER",
    "FAILED",
    "RIGHT",
    "WRONG",
    "WRONG <=",
    "P50 MS",
    "P95 MS",
    "COST USD",
)


def _print(total: Sequence[Line], by_group: dict[str, list[Line]]) -> None:
    for name, found in by_group.items():
        table((name.upper(), *_HEAD), [(line.group, *_cells(line)) for line in found])
        click.echo()
    table(("", *_HEAD), [(line.group, *_cells(line)) for line in total])
    line = total[0]
    click.echo()
    click.echo(f"Wrong: {line.wrong} of {line.asked}, at most {_percent(line.wrong_upper95)} at 95 % (exact binomial).")
    click.echo(
        f"Of {line.answerable} questions that have an answer the model answered {line.answered_answerable}"
        f" ({_share(line.answered_answerable, line.answerable)}), {line.quoted_answerable} were quoted; of the quotes"
        f" {line.quotes_right} hold the answer ({_share(line.quotes_right, line.quoted_answerable)})."
    )
    click.echo(f"Of {line.refusable} that have none {line.refusable_right} were refused or handed over as they should.")


def _cells(line: Line) -> tuple[str, ...]:
    from trimtab.core.money import usd

    counts = (line.asked, line.answered, line.quoted, line.refused, line.handover, line.failed, line.right, line.wrong)
    times = tuple("-" if value is None else f"{value:,.0f}" for value in (line.p50_ms, line.p95_ms))
    return (*map(str, counts), _percent(line.wrong_upper95), *times, usd(line.cost_nanousd))


def _row(result: Result) -> dict[str, Any]:
    return {
        "id": result.question.id,
        "grade": result.grade,
        "kind": result.answer.kind,
        "text": result.answer.text,
        "record": result.answer.record,
    }


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _share(part: int, whole: int) -> str:
    return _percent(part / whole) if whole else "-"


def _pair(text: str) -> tuple[str, str]:
    tenant, sign, key = text.partition("=")
    if not sign or not key:
        raise click.BadParameter(f"{text!r}: write TENANT=KEY", param_hint="--key")
    return tenant, key


class _Progress:
    """A line that is written over on a terminal; nothing elsewhere."""

    def __init__(self, total: int, known: int) -> None:
        self._total, self._done, self._known = total, known, known
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        if self._known:
            click.echo(
                f"{self._known} of {self._total} answers are known from an earlier run (--fresh asks again)", err=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo("\r\033[K", err=True, nl=False)

    def step(self, result: Result) -> None:
        self._done += 1
        if self._shown:
            click.echo(
                f"\r\033[K{self._done}/{self._total} {result.question.id}: {result.answer.kind}", err=True, nl=False
            )

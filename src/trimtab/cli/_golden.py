"""trimtab golden: feedback into golden sets, after somebody has looked at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import busy, counted, emit, inert, json_option, records_of, workspace_option
from trimtab.cli._group import Group
from trimtab.core.clock import span_s

if TYPE_CHECKING:
    from trimtab.controlplane.evaluate import Question, Waiting
    from trimtab.controlplane.evaluate.golden import Expect
    from trimtab.controlplane.records.texts import Erased
    from trimtab.core.captured import CapturedText
    from trimtab.core.record import Record


@click.group(cls=Group, default="review", short_help="Turn feedback into questions of the golden set.")
def golden() -> None:
    """Look through answers that people were not content with, and take questions into the golden set. Without COMMAND:
    review."""


@golden.command(short_help="List what was judged bad and waits for a review.")
@workspace_option
@click.option("--channel", metavar="GLOB", help="Of these channels only: TENANT/CHANNEL or CHANNEL, * is anything.")
@click.option("--since", default="30d", show_default=True, metavar="SPAN", help="How far back it was said: 24h, 30d.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="At most so many.")
@json_option
def review(workspace: Path, channel: str | None, since: str, limit: int, as_json: bool) -> None:
    """List answers whose last word of feedback is bad (a thumb down, a low csat, `correct: no`), the worst first, with
    what was asked and answered where the channel keeps it (`capture: redacted`). What was reviewed is not listed again.
    """
    seconds = span_s(since)
    if not seconds:
        raise click.BadParameter(f"{since!r} is no span: write 24h or 30d", param_hint="--since")
    with busy(f"Reading the records of {workspace}"):
        found, damaged = _waiting(workspace, channel, seconds)
        shown = [(one, _texts(workspace, one.record)) for one in found[:limit]]
    if as_json:
        emit({"waiting": [_fields(one, texts) for one, texts in shown], "of": len(found), "damaged": damaged})
        return
    for one, texts in shown:
        _tell(one, texts)
    click.echo(f"{counted(len(found), 'answer')} to review" + (f", {limit} shown" if len(found) > limit else ""))
    for problem in damaged:
        click.echo(f"left out, damaged: {problem}", err=True)


@golden.command(short_help="Take a question into the golden set.")
@click.argument("record")
@click.option(
    "--expect",
    type=click.Choice(("answer", "refuse", "handover")),
    default="answer",
    show_default=True,
    help="What should come back.",
)
@click.option(
    "--true", "true", multiple=True, metavar="TEXT", help="Shows that an answer is right. May be given again."
)
@click.option("--false", "false", multiple=True, metavar="TEXT", help="Shows that it is wrong. May be given again.")
@click.option("--question", metavar="TEXT", help="What to ask, in place of the words that were captured.")
@workspace_option
@json_option
def accept(
    record: str,
    expect: Expect,
    true: Sequence[str],
    false: Sequence[str],
    question: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Take the question of RECORD into golden/reviewed.jsonl, with what a good answer holds; `trimtab eval` asks it
    from now on. It says who took it in and when, and is on the audit log.

    The words are the captured ones, redacted. A conversation of several turns needs --question: one that can be
    understood by itself. Words in which the channel's own guard finds something are not taken.
    """
    from trimtab.controlplane.evaluate import accept as write
    from trimtab.core.clock import SystemClock

    row, texts = _captured(workspace, record)
    made = _question(row, texts, expect, true, false, question)
    _without_names(workspace, row, made)
    write(workspace, made, SystemClock())
    if as_json:
        emit({"id": made.id, "record": row.id, "question": made.question})
    else:
        click.echo(f"{made.id}: {inert(made.question)}\nAsk it: trimtab eval --only {made.id}")


@golden.command(short_help="Say that nothing is to be learned from it.")
@click.argument("record")
@click.option("--why", required=True, metavar="TEXT", help="For the audit log; not what was asked or answered.")
@workspace_option
@json_option
def dismiss(record: str, why: str, workspace: Path, as_json: bool) -> None:
    """List RECORD no more. Who dismissed it, when and why is on the audit log."""
    from trimtab.controlplane import records
    from trimtab.controlplane.evaluate import dismiss as write
    from trimtab.core.clock import SystemClock

    row = records.look_up(records_of(workspace), record)
    write(workspace, row.id, why, SystemClock())
    if as_json:
        emit({"record": row.id, "why": why})
    else:
        click.echo(f"{row.id} is dismissed")


def _waiting(workspace: Path, channel: str | None, seconds: int) -> tuple[list[Waiting], list[str]]:
    from trimtab.controlplane import records
    from trimtab.controlplane.evaluate import decided, waiting
    from trimtab.core.clock import NS_PER_S, SystemClock
    from trimtab.core.objectives import stands_for

    damaged: list[str] = []
    rows = records.query(
        records_of(workspace),
        kinds=("verdict",),
        since_wall_ns=SystemClock().wall_ns() - seconds * NS_PER_S,
        on_corrupt=lambda corrupt: damaged.append(str(corrupt)),
    )
    found = waiting(rows, decided(workspace))
    if channel is not None:
        found = [one for one in found if one.tenant and one.channel and stands_for(channel, one.tenant, one.channel)]
    return found, damaged


def _texts(workspace: Path, record: str) -> CapturedText | Erased | None:
    from trimtab.controlplane.records.texts import captured
    from trimtab.controlplane.registry import SECRET

    return captured(workspace, (workspace / SECRET).read_bytes(), record)


def _captured(workspace: Path, name: str) -> tuple[Record, CapturedText]:
    """The record with its texts. Raises ClickException where none are kept."""
    from trimtab.controlplane import records
    from trimtab.core.captured import CapturedText

    row = records.look_up(records_of(workspace), name)
    texts = _texts(workspace, row.id)
    if not isinstance(texts, CapturedText):
        raise click.ClickException(f"{row.id}: {_no_text(texts)}, so there is no question to take")
    return row, texts


def _question(
    row: Record,
    texts: CapturedText,
    expect: Expect,
    true: Sequence[str],
    false: Sequence[str],
    question: str | None,
) -> Question:
    from trimtab.controlplane.evaluate import Question, reviewed_now
    from trimtab.core.clock import SystemClock

    asked = _asked(texts)
    if question is None and (len(asked) != 1 or len(texts.messages) > 1):
        said = f"{row.id} is a conversation of {len(texts.messages)} messages"
        raise click.UsageError(f"{said}: write one question that can be understood by itself, with --question")
    features = row.features
    language = features.language.value if features is not None and features.language is not None else None
    intent = features.intent.value if features is not None and features.intent is not None else None
    return Question(
        id=f"reviewed-{row.id.removeprefix('rec_').lower()}",
        tenant=texts.tenant,
        channel=row.channel or "",
        question=question or asked[0],
        language=None if language is None else str(language),
        intent=None if intent is None else str(intent),
        expect=expect,
        true=list(true),
        false=list(false),
        reviewed=reviewed_now(SystemClock(), row.id, texts.subject),
    )


def _without_names(workspace: Path, row: Record, made: Question) -> None:
    """Raises ClickException where the channel's guard finds something in what is about to be written."""
    from trimtab.controlplane.registry import load
    from trimtab.dataplane.guard import holds, regions_of

    tenant = load(workspace).snapshot.tenancy.tenants.get(made.tenant)
    channel = tenant.channels.get(made.channel) if tenant is not None else None
    if tenant is None or channel is None:
        raise click.ClickException(f"{made.tenant}/{made.channel} is not declared any more, so nobody could ask it")
    regions = regions_of((row.market or "", *tenant.markets))
    if holds(channel.guards.checks_in, regions, [made.question, *made.true, *made.false]):
        raise click.ClickException("the channel's guard finds personal data in these words: leave it out")


def _asked(texts: CapturedText) -> list[str]:
    """What the user said, message by message, where it is text."""
    return [
        message["content"]
        for message in texts.messages
        if message.get("role") == "user" and isinstance(message.get("content"), str)
    ]


def _answered(texts: CapturedText) -> str | None:
    said = texts.answers[0].get("content") if texts.answers else None
    return said if isinstance(said, str) else None


def _no_text(texts: Erased | None) -> str:
    return "its channel keeps no text: that takes `capture: redacted`" if texts is None else "its text was erased"


def _tell(one: Waiting, texts: CapturedText | Erased | None) -> None:
    from trimtab.core.captured import CapturedText
    from trimtab.core.clock import instant_text

    said = ", ".join(name if score is None else f"{name} {score:g}" for name, score in sorted(one.said.items()))
    click.echo(f"{one.record}  {one.tenant}/{one.channel}  {said}  {instant_text(one.at_ns)}")
    if isinstance(texts, CapturedText):
        for asked in _asked(texts):
            click.echo(f"  asked: {inert(asked)[:300]}")
        click.echo(f"  answered: {inert(_answered(texts) or '(no whole answer)')[:300]}")
    else:
        click.echo(f"  {_no_text(texts)}")


def _fields(one: Waiting, texts: CapturedText | Erased | None) -> dict[str, Any]:
    from trimtab.core.captured import CapturedText

    kept = isinstance(texts, CapturedText)
    return {
        "record": one.record,
        "tenant": one.tenant,
        "channel": one.channel,
        "said": one.said,
        "at": one.at_ns,
        "asked": _asked(texts) if isinstance(texts, CapturedText) else None,
        "answered": _answered(texts) if isinstance(texts, CapturedText) else None,
        "text": "kept" if kept else "none" if texts is None else "erased",
    }

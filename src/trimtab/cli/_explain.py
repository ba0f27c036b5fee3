"""`trimtab explain`: why a request was answered as it was. Works on the files, with the gateway stopped too."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import busy, emit, inert, json_option, records_of, records_option

if TYPE_CHECKING:
    from trimtab.controlplane.records.texts import Erased
    from trimtab.core.captured import CapturedText


@click.command(short_help="Show why a request was answered as it was.")
@click.argument("record", default="last")
@records_option
@click.option("--text", "with_text", is_flag=True, help="Also what was asked and answered, where the channel keeps it.")
@json_option
def explain(record: str, workspace: Path, with_text: bool, as_json: bool) -> None:
    """Explain RECORD: an id (the answer's header trimtab-record), the beginning of one, or `last`, the default.

    Works with the gateway stopped.
    """
    with busy(f"Reading the records of {workspace}"):
        folder = records_of(workspace)
        from trimtab.controlplane import records

        row = records.look_up(folder, record)
        explanation = records.explain(row, records.related(folder, row))
        texts = _texts(workspace, row.id) if with_text else None
    if as_json:
        emit({"explanation": explanation, "text": texts} if with_text else explanation)
        return
    from rich.console import Console

    from trimtab.controlplane.records.render import WIDTH, render

    if sys.stdout.isatty():
        render(explanation, Console())
    else:
        text = StringIO()  # plain, even where FORCE_COLOR is set for others; and no line padded to the width
        render(explanation, Console(file=text, width=WIDTH, no_color=True, force_terminal=False))
        click.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
    if with_text:
        _tell(texts)


def _texts(workspace: Path, record: str) -> CapturedText | Erased | None:
    from trimtab.controlplane.records.texts import captured
    from trimtab.controlplane.registry import SECRET

    return captured(workspace, (workspace / SECRET).read_bytes(), record)


def _tell(texts: CapturedText | Erased | None) -> None:
    """Each message with its role."""
    from trimtab.core.captured import CapturedText

    click.echo()
    if not isinstance(texts, CapturedText):
        click.echo("no text is kept of it" if texts is None else "its text was erased")
        return
    for message in [*texts.messages, *(texts.answers or [{"role": "assistant", "content": None}])]:
        said = message.get("content")
        shown = said if isinstance(said, str) else "(no whole answer)" if said is None else repr(said)
        click.echo(f"{message.get('role')}: {inert(shown)}")

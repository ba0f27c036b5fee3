"""`trimtab explain`: why a request was answered as it was. Works on the files, with the gateway stopped too."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import click

from trimtab.cli._common import busy, emit, json_option, records_of, records_option


@click.command(short_help="Show why a request was answered as it was.")
@click.argument("record", default="last")
@records_option
@json_option
def explain(record: str, workspace: Path, as_json: bool) -> None:
    """Explain RECORD: an id (the answer's header trimtab-record), the beginning of one, or `last`, the default.

    Works with the gateway stopped.
    """
    with busy(f"Reading the records of {workspace}"):
        folder = records_of(workspace)
        from trimtab.controlplane import records

        row = records.look_up(folder, record)
        explanation = records.explain(row, records.related(folder, row))
    if as_json:
        emit(explanation)
        return
    from rich.console import Console

    from trimtab.controlplane.records.render import WIDTH, render

    if sys.stdout.isatty():
        render(explanation, Console())
        return
    text = StringIO()  # plain, even where FORCE_COLOR is set for others; and no line padded to the width
    render(explanation, Console(file=text, width=WIDTH, no_color=True, force_terminal=False))
    click.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))

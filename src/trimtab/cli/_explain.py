"""`trimtab explain RECORD`: why a request was answered as it was. Works on the files, with the gateway stopped too."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trimtab.cli._common import emit, json_option, workspace_option


@click.command()
@click.argument("record")
@workspace_option
@json_option
def explain(record: str, workspace: Path, as_json: bool) -> None:
    """Explain RECORD: an id, the beginning of one, or `last`."""
    from trimtab.controlplane import records

    folder = workspace / "var" / "records"
    try:
        row = records.look_up(folder, record)
        later = records.related(folder, row)
    except (records.RecordNotFoundError, records.CorruptSegment) as error:
        click.echo(f"explain: {error}", err=True)
        sys.exit(1)
    explanation = records.explain(row, later)
    if as_json:
        emit(explanation)
        return
    from rich.console import Console

    from trimtab.controlplane.records.render import WIDTH, render

    terminal = sys.stdout.isatty()
    render(explanation, Console(width=None if terminal else WIDTH, no_color=None if terminal else True))

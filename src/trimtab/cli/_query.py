"""trimtab query: SQL over the lake."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec

from trimtab.cli._common import busy, emit, json_option, memory_option, table, workspace_option


@click.command(short_help="Ask the lake, in SQL.")
@click.argument("sql")
@workspace_option
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values with a head, for spreadsheets.")
@click.option("--rows", default=1000, show_default=True, type=click.IntRange(min=1), help="Rows to show, at most.")
@memory_option
@json_option
def query(sql: str, workspace: Path, as_csv: bool, rows: int, memory: int, as_json: bool) -> None:
    """Answer one question over view `records`: SQL of DuckDB, which may read the lake's table and nothing else.

    Columns are a record's fields (`trimtab query "DESCRIBE records"`); money is exact, in dollars as `settled_usd`,
    `reserved_usd`, `estimate_usd`, `baseline_usd`. Read are rows that `trimtab lake ingest` has taken in.

    Exit code 1: the question can't be answered, or does more than read.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json each ask for another form: give one")
    with busy("Asking the lake"):
        from trimtab.controlplane.lake import LakeError, ask
        from trimtab.controlplane.registry import load
        from trimtab.surfaces.lake import open_lake

        opened = open_lake(load(workspace).settings.lake, workspace)
        if not opened.place.is_local:
            raise LakeError(
                f"{opened.place.url} is not on this machine's disk: DuckDB reads object storage by an extension that "
                "has to be downloaded. Ask it there: docs/how-to/query-the-lake.md"
            )
        found = ask(opened.files(), sql, rows=rows, memory_mib=memory)
    if as_json:
        shown = [dict(zip(found.names, map(_plain, row), strict=True)) for row in found.rows]
        emit({"columns": dict(zip(found.names, found.types, strict=True)), "rows": shown, "cut": found.cut})
        return
    if as_csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([found.names, *(map(_cell, row) for row in found.rows)])
        click.echo(text.getvalue(), nl=False)
    elif found.names == ["explain_key", "explain_value"]:
        click.echo("\n".join(str(row[1]) for row in found.rows))
    else:
        table([name.upper() for name in found.names], [_shown(row) for row in found.rows])
    if found.cut:
        click.echo(f"cut after {len(found.rows):,} rows: --rows N shows more", err=True)
        sys.stderr.flush()


def _plain(value: Any) -> Any:
    """For JSON: a decimal as exact text, a whole number beyond 64 bits as well."""
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def _cell(value: Any) -> str:
    """Null as nothing, a struct or list as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, (str, int, float, date, datetime, time, timedelta)):
        return str(value)
    return msgspec.json.encode(_plain(value), enc_hook=str).decode()


def _shown(row: Iterable[Any]) -> list[str]:
    """For a screen: on one line, null as `-`."""
    return ["-" if value is None else " ".join(_cell(value).split()) for value in row]


def _decimal(value: Decimal) -> str:
    """Without the zeros behind."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

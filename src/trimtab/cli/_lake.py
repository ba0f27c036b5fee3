"""trimtab lake: records as Delta tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from trimtab.cli._common import begins, busy, counted, emit, json_option, records_of, workspace_option
from trimtab.cli._group import Group
from trimtab.core.clock import span_s

if TYPE_CHECKING:
    from trimtab.controlplane.lake import Ingested, Table
    from trimtab.controlplane.registry import Lake


@click.group(cls=Group, default="status", short_help="Records as Delta tables: take in, compact, erase.")
def lake() -> None:
    """Keep records as Delta tables, which `trimtab query`, DuckDB, Spark and Trino read. Without COMMAND: status."""


@lake.command(short_help="Take in what the records have and the lake does not.")
@workspace_option
@click.option("--follow", is_flag=True, help="Go on taking in, until stopped.")
@click.option("--every", default="30s", show_default=True, metavar="SPAN", help="With --follow, how often: 10s, 5m.")
@click.option("--anew", type=int, multiple=True, metavar="WORKER", help="Take by id: this worker's journal began anew.")
@json_option
def ingest(workspace: Path, follow: bool, every: str, anew: tuple[int, ...], as_json: bool) -> None:
    """Take in all rows that the lake does not have, each exactly once, whatever ended the run before.

    Exit code 1: rows were damaged and left out; stderr names them.
    """
    seconds = span_s(every)
    if not seconds:
        raise click.BadParameter(f"{every!r} is no span: write 10s or 5m", param_hint="--every")
    begins(f"Reading the records of {workspace}")
    opened = _open(workspace)
    done = _take(workspace, opened, anew)
    _tell(done, as_json)
    if follow:
        _follow(workspace, opened, seconds, as_json)
    if done.damaged:
        sys.exit(1)


@lake.command(short_help="Join small files, let old days go.")
@workspace_option
@json_option
def compact(workspace: Path, as_json: bool) -> None:
    """Join the small files of each day and tenant, drop days beyond `keep_days`, and delete files that no version of
    the last `history_h` hours reads. Reading goes on meanwhile. Once a day is enough."""
    from trimtab.core.clock import SystemClock

    with busy(f"Compacting the lake of {workspace}"):
        from trimtab.controlplane import lake as lakes

        settings, table = _open(workspace)
        done = lakes.compact(
            table, keep_days=settings.keep_days, history_h=settings.history_h, now_ns=SystemClock().wall_ns()
        )
    if as_json:
        emit(done)
        return
    click.echo(f"{counted(done.joined, 'file')} joined into {done.into}")
    click.echo(f"{counted(done.dropped, 'file')} of days that are no longer kept dropped")
    click.echo(f"{counted(done.deleted, 'file')} deleted that nobody reads any more")


@lake.command(short_help="Remove all rows of a tenant.")
@click.argument("tenant")
@workspace_option
@json_option
def erase(tenant: str, workspace: Path, as_json: bool) -> None:
    """Remove all rows of TENANT, from the lake's earlier versions as well. `_` are the rows of keys that were refused.
    Records in var/records stay as they are. Published features of TENANT go as well, and those that were reckoned from
    the rows of several tenants, which `trimtab features materialise` reckons anew from what is left."""
    with busy(f"Erasing {tenant}"):
        from trimtab.controlplane import lake as lakes
        from trimtab.controlplane.registry import load
        from trimtab.surfaces.features import erasing

        opened = _open(workspace)
        with erasing(load(workspace), tenant):
            files = lakes.erase(opened.table, tenant)
    if as_json:
        emit({"tenant": tenant, "files": files})
    else:
        click.echo(f"{tenant}: {counted(files, 'file')} deleted")


@lake.command(short_help="How large it is, and how far it lags behind.")
@workspace_option
@json_option
def status(workspace: Path, as_json: bool) -> None:
    """Show where the lake is, its rows and files, and how far each worker's rows are in."""
    with busy(f"Reading the lake of {workspace}"):
        settings, table = _open(workspace)
        size = table.size()
        from trimtab.controlplane.records import segments

        workers = sorted({segment.worker for segment in segments(records_of(workspace))})
        marks = {worker: table.mark(settings.source, worker) for worker in workers}
        behind = _behind(workspace, {worker: mark.seq if mark else 0 for worker, mark in marks.items()})
    if as_json:
        taken = {worker: mark.seq if mark else 0 for worker, mark in marks.items()}
        emit({"url": table.place.url, **size._asdict(), "taken": taken, "behind": behind})
        return
    click.echo(f"{table.place.url}: version {size.version}")
    click.echo(f"{counted(size.rows, 'row')} in {counted(size.files, 'file')}, {size.bytes:,} bytes")
    for worker, mark in marks.items():
        click.echo(f"worker {worker}: up to row {mark.seq if mark else 0}, {counted(behind[worker], 'row')} behind")


class _Opened(NamedTuple):
    settings: Lake
    table: Table


def _open(workspace: Path) -> _Opened:
    """Raises ConfigError."""
    from trimtab.controlplane.registry import load
    from trimtab.surfaces.lake import open_lake

    settings = load(workspace).settings.lake
    return _Opened(settings, open_lake(settings, workspace))


def _take(workspace: Path, opened: _Opened, anew: tuple[int, ...] = ()) -> Ingested:
    from trimtab.controlplane import lake as lakes
    from trimtab.surfaces.lake import STAGING

    source = opened.settings.source
    return lakes.ingest(records_of(workspace), opened.table, workspace / STAGING, source=source, anew=anew)


def _follow(workspace: Path, opened: _Opened, seconds: int, as_json: bool) -> None:
    """Until stopped. While another process changes the lake it waits for its next turn."""
    import asyncio

    from trimtab.foundations.store.disk import BusyError

    async def rounds() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                done = _take(workspace, opened)
            except BusyError as error:
                click.echo(f"waiting: {error}", err=True)
                continue
            if done.rows:
                _tell(done, as_json)

    asyncio.run(rounds())


def _tell(done: Ingested, as_json: bool) -> None:
    if as_json:
        emit(done)
        return
    click.echo(f"{counted(done.rows, 'row')} taken in")
    for problem in done.damaged:
        click.echo(f"left out, damaged: {problem}", err=True)


def _behind(workspace: Path, taken: dict[int, int]) -> dict[int, int]:
    """Rows of each worker that the lake does not have yet; what is damaged is not counted."""
    from trimtab.controlplane.records import query

    found = dict.fromkeys(taken, 0)
    for row in query(workspace / "var" / "records", after=taken, on_corrupt=lambda _: None):
        found[row.worker or 0] = found.get(row.worker or 0, 0) + 1
    return found

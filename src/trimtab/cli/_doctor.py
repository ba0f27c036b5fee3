"""trimtab doctor: whether this machine and this workspace are fit, and what the records know."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import any_workspace_option, busy, counted, emit, json_option, records_of, styled, table

if TYPE_CHECKING:
    from trimtab.controlplane.records.nulls import Nulls
    from trimtab.controlplane.registry import Settings

_LEAST_DISK = 1 << 30


@click.command(short_help="Look over machine, workspace, gateway and records.")
@any_workspace_option
@click.option("--rows", default=10_000, show_default=True, type=click.IntRange(1), help="Newest records to look at.")
@click.option("--all", "every", is_flag=True, help="Show fields without a null, too.")
@json_option
def doctor(workspace: Path, rows: int, every: bool, as_json: bool) -> None:
    """Look over the machine, the workspace, its gateway and its records, and say what is not well.

    The last part is the share of nulls of each field of a request's record: what is null everywhere, nothing fills.
    Exit code 1 if anything is not well; a gateway that does not run is no illness.
    """
    with busy(f"Looking at {workspace}"):
        findings = [_machine(), _disk(workspace), *_workspace(workspace), _gateway(workspace)]
        known = _nulls(workspace, rows)
    passed = all(one["ok"] for one in findings)
    if as_json:
        fields = [{"field": one.field, "rows": one.rows, "null": one.null, "share": one.share} for one in known]
        emit({"ok": passed, "findings": findings, "fields": fields})
    else:
        for one in findings:
            mark = styled("ok    ", "green") if one["ok"] else styled("not ok", "red")
            click.echo(f"{mark}  {one['what']}: {one['said']}")
        _show(known, every)
    if not passed:
        raise SystemExit(1)


def _finding(what: str, ok: bool, said: str) -> dict[str, Any]:
    return {"what": what, "ok": ok, "said": said}


def _machine() -> dict[str, Any]:
    from trimtab.surfaces.processes.cores import usable_cores

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    said = f"Python {platform.python_version()}, {platform.machine()}, {usable_cores()} cores, {memory:.1f} GiB"
    return _finding("machine", memory >= 1, said)


def _disk(workspace: Path) -> dict[str, Any]:
    folder = workspace if workspace.is_dir() else Path()
    free = shutil.disk_usage(folder).free
    return _finding("disk", free >= _LEAST_DISK, f"{free / 2**30:.1f} GiB free for records and indexes")


def _workspace(workspace: Path) -> list[dict[str, Any]]:
    from trimtab.controlplane.registry import examine
    from trimtab.foundations.config import errors

    loaded, problems = examine(workspace)
    count = len(errors(problems))
    said = f"{counted(count, 'error')}, {counted(len(problems) - count, 'warning')}"
    said += f": run trimtab check --workspace {workspace}" if problems else ""
    found = [_finding("workspace", loaded is not None, said)]
    if loaded is not None:
        found += _models(workspace, loaded.settings)
        found += _indexes(workspace, loaded.snapshot.tenancy)
    return found


def _models(workspace: Path, settings: Settings) -> list[dict[str, Any]]:
    """The files of the embedded engines."""
    from trimtab.surfaces.processes import ModelMissingError, model_file

    found = []
    for name, engine in settings.engines.items():
        try:
            found.append(_finding(f"engine {name}", True, str(model_file(engine.model, workspace))))
        except ModelMissingError as error:
            found.append(_finding(f"engine {name}", False, str(error)))
    return found


def _indexes(workspace: Path, tenancy: Any) -> list[dict[str, Any]]:
    from trimtab.core.clock import SystemClock
    from trimtab.foundations.embed import create_embedder
    from trimtab.surfaces import indexes

    embedder = create_embedder("nano", SystemClock())
    found = []
    for name in indexes.used(tenancy):
        status = indexes.status(workspace, name, embedder)
        said = f"{status.state}, {status.passages} passages in {', '.join(status.languages) or 'no named language'}"
        # what is stale or absent is built at the next start
        found.append(_finding(f"corpus {name}", status.state not in ("damaged", "no corpus"), said))
    return found


def _gateway(workspace: Path) -> dict[str, Any]:
    from trimtab.surfaces.server.ask import NotRunningError, ask

    try:
        state = ask(workspace, "GET", "/state")
    except NotRunningError:
        return _finding("gateway", True, "does not run")
    engines = ", ".join(f"{one['name']} {one['state']}" for one in state["engines"]) or "none of its own"
    well = not state["problems"] and all(one["state"] in ("ready", "stopped") for one in state["engines"])
    refused = f"; {len(state['problems'])} problems keep a changed workspace out" if state["problems"] else ""
    return _finding("gateway", well, f"serves at {state['url']}; engines: {engines}{refused}")


def _nulls(workspace: Path, most: int) -> list[Nulls]:
    from collections import deque

    from trimtab.controlplane import records
    from trimtab.controlplane.records.nulls import nulls

    newest = deque(records.query(records_of(workspace), kinds=("request",)), maxlen=most)
    return nulls(newest)


def _show(known: list[Nulls], every: bool) -> None:
    if not known:
        click.echo("\nNo request has been recorded yet.")
        return
    shown = known if every else [one for one in known if one.null]
    click.echo(f"\nOf the newest {max(one.rows for one in known):,} requests these fields are null:")
    table(["FIELD", "NULL", "ROWS"], [(one.field, f"{one.share:.0%}", f"{one.rows:,}") for one in shown])
    if not every:
        click.echo(f"{len(known) - len(shown)} more fields are never null (--all).")

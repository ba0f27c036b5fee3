"""trimtab slo: objectives, their budgets and alerts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from trimtab.cli._common import begins, busy, emit, json_option, records_of, table, workspace_option
from trimtab.cli._group import Group
from trimtab.cli._slo_availability import availability
from trimtab.core.clock import span_s

if TYPE_CHECKING:
    from trimtab.controlplane.slo import Engine, Objective


@click.group(cls=Group, default="show", short_help="Objectives, their budgets and alerts; export and import.")
def slo() -> None:
    """Show objectives and what is left of their budgets, export them, take them in, and tell who is on call. Without
    COMMAND: show."""


@slo.command(short_help="Show each objective: state, budget, burn, forecast.")
@workspace_option
@click.option("--channel", metavar="GLOB", help="Of these channels only: TENANT/CHANNEL or CHANNEL, * is anything.")
@json_option
def show(workspace: Path, channel: str | None, as_json: bool) -> None:
    """Show each objective of the workspace, counted from its records. Works with the gateway stopped.

    States: ok, burning (an alert is on), exhausted (nothing is left), insufficient_data (too little is known to say).
    LEFT is of the budget, and below zero where it is overdrawn. Exit code 1: something is burning or exhausted.
    """
    with busy(f"Reading the records of {workspace}"):
        read = _read(workspace, channel)
        statuses = read.engine.at(read.now_ns)
    if as_json:
        emit({"at": read.now_ns, "objectives": statuses, "damaged": read.damaged})
    else:
        from trimtab.cli._slo_text import COLUMNS, cells, remarks

        table(COLUMNS, [cells(one, read.now_ns) for one in statuses])
        for line in remarks(statuses, read.now_ns):
            click.echo(line)
        _tell_damage(read.damaged)
    if any(one.state in ("burning", "exhausted") for one in statuses):
        sys.exit(1)


@slo.command(short_help="Say whether changes may go out, or are frozen.")
@workspace_option
@click.option("--channel", metavar="GLOB", help="Of these channels only: TENANT/CHANNEL or CHANNEL, * is anything.")
@json_option
def gate(workspace: Path, channel: str | None, as_json: bool) -> None:
    """Say whether changes of models, prompts and policy may go out: for a pipeline, before they are merged. What is
    left of an objective's budget freezes them where it is below its `freeze_below`.

    Exit code 1: frozen; the output says by which objectives.
    """
    with busy(f"Reading the records of {workspace}"):
        read = _read(workspace, channel)
        frozen = {one.objective.id: one.frozen for one in read.engine.at(read.now_ns) if one.frozen is not None}
    if as_json:
        emit({"at": read.now_ns, "frozen": frozen, "damaged": read.damaged})
    else:
        for why in frozen.values():
            click.echo(f"frozen: {why}")
        if not frozen:
            click.echo("open: no objective freezes changes")
        _tell_damage(read.damaged)
    if frozen:
        sys.exit(1)


@slo.command(short_help="Write Prometheus rules, a Grafana dashboard, OpenSLO.")
@workspace_option
@click.option("--prometheus", metavar="FILE", type=click.Path(path_type=Path), help="Recording and alert rules (YAML).")
@click.option("--grafana", metavar="FILE", type=click.Path(path_type=Path), help="A dashboard for its import (JSON).")
@click.option("--openslo", metavar="FILE", type=click.Path(path_type=Path), help="OpenSLO v1 documents (YAML).")
@json_option
def export(workspace: Path, prometheus: Path | None, grafana: Path | None, openslo: Path | None, as_json: bool) -> None:
    """Write the workspace's objectives for other tools. What they have no word for is named on stderr."""
    if prometheus is grafana is openslo is None:
        raise click.UsageError("say what to write: --prometheus FILE, --grafana FILE, --openslo FILE")
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.slo.grafana import dashboard
        from trimtab.controlplane.slo.openslo import written
        from trimtab.controlplane.slo.prometheus import rules

        found, link = _objectives(workspace)
    done: list[str] = []
    left_out: dict[str, str] = {}
    if prometheus is not None:
        prometheus.write_text(rules(found, link))
        done.append(str(prometheus))
    if grafana is not None:
        grafana.write_bytes(dashboard(found, link))
        done.append(str(grafana))
    if openslo is not None:
        openslo.write_text(written(found))
        left_out |= {one.id: "OpenSLO has no word for money" for one in found if one.is_money}
        done.append(str(openslo))
    if as_json:
        emit({"files": done, "left_out": left_out})
        return
    for id, why in left_out.items():
        click.echo(f"left out: {id}: {why}", err=True)
    for file in done:
        click.echo(f"wrote {file}")


@slo.command("import", short_help="Turn OpenSLO documents into text of slo.yaml.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@workspace_option
@json_option
def import_(file: Path, workspace: Path, as_json: bool) -> None:
    """Print the objectives of FILE's OpenSLO v1 documents as slo.yaml has them, checked against the workspace. Nothing
    is written.

    Exit code 1: some could not be taken, or `trimtab check` would refuse them; stderr says why.
    """
    from trimtab.controlplane.slo.openslo import read

    try:
        found = read(file.read_text())
    except ValueError as error:
        raise click.ClickException(f"{file}: {error}") from None
    refused = [f"not taken: {name}: {why}" for name, why in found.refused]
    refused += _checked(workspace, found.text) if found.count else [f"{file} has no SLO that could be taken"]
    if as_json:
        emit({"text": found.text, "count": found.count, "refused": refused})
    else:
        click.echo(found.text, nl=False)
        for line in refused:
            click.echo(line, err=True)
    if refused:
        sys.exit(1)


@slo.command(short_help="Go on watching, and tell the receivers of slo.yaml.")
@workspace_option
@click.option("--every", default="60s", show_default=True, metavar="SPAN", help="How often to look: 10s, 1m.")
@click.option("--once", is_flag=True, help="Look once, tell who is to be told, and end.")
@json_option
def watch(workspace: Path, every: str, once: bool, as_json: bool) -> None:
    """Count records as they are written, and tell the receivers of slo.yaml when an alert begins, grows or ends. Runs
    beside the gateway until it is stopped; one of them is enough.

    A change of the workspace is taken up. What was said is remembered in var/slo. Exit code 1, with --once: a receiver
    could not be told.
    """
    import asyncio

    seconds = span_s(every)
    if not seconds:
        raise click.BadParameter(f"{every!r} is no span: write 10s or 1m", param_hint="--every")
    begins(f"Reading the records of {workspace}")
    sys.exit(asyncio.run(_watch(workspace, seconds, once, as_json)))


async def _watch(workspace: Path, seconds: int, once: bool, as_json: bool) -> int:
    """0, or 1 where somebody could not be told."""
    import asyncio

    from trimtab.core.clock import SystemClock, instant_text
    from trimtab.dataplane.inference.adapters.http1 import Http1Dialer
    from trimtab.foundations.store import Disk
    from trimtab.surfaces.alerting import Watch
    from trimtab.surfaces.slo_state import LOCK

    clock, dialer, disk = SystemClock(), Http1Dialer(), Disk()
    disk.make_folder((workspace / LOCK).parent)
    held = disk.lock(workspace / LOCK, "watches the objectives of this workspace")
    try:
        watching = Watch(workspace, clock, dialer)
        while True:
            statuses, found = await watching.step()
            if as_json:
                emit(
                    {"at": clock.wall_ns(), "states": {one.objective.id: one.state for one in statuses}, "told": found}
                )
            else:
                for notice in found:
                    click.echo(f"{instant_text(notice.at_ns)}  {notice.state}  {notice.headline}")
            if once:
                await watching.outbox.drain()
                return 1 if watching.outbox.given_up else 0
            await asyncio.sleep(seconds)
    finally:
        await dialer.close()
        os.close(held)


slo.add_command(availability)


def _checked(workspace: Path, text: str) -> list[str]:
    """What `check` would refuse of slo.yaml if this were its text. Raises ConfigError where other documents are
    broken."""
    from trimtab.controlplane.registry import SLO_FILE, examine
    from trimtab.core.errors import ConfigError
    from trimtab.foundations.config import errors

    _, problems = examine(workspace, instead={SLO_FILE: text})
    others = [str(one) for one in errors(problems) if one.file != SLO_FILE]
    if others:
        raise ConfigError(others)
    return [str(one) for one in errors(problems)]


class _Read(NamedTuple):
    engine: Engine
    now_ns: int
    damaged: list[str]


def _objectives(workspace: Path) -> tuple[list[Objective], str | None]:
    """Of the workspace as it is now, and its link."""
    from trimtab.controlplane.registry import load
    from trimtab.controlplane.slo import objectives

    loaded = load(workspace)
    return objectives(loaded.snapshot.tenancy, loaded.slo), loaded.slo.link


def _read(workspace: Path, channel: str | None) -> _Read:
    from trimtab.core.clock import SystemClock
    from trimtab.core.objectives import stands_for
    from trimtab.surfaces.objectives import replayed

    found, _ = _objectives(workspace)
    if channel is not None:
        found = [one for one in found if one.channel is not None and stands_for(channel, one.tenant, one.channel)]
        if not found:
            raise click.BadParameter(f"no objective has a channel like {channel!r}", param_hint="--channel")
    now_ns, damaged = SystemClock().wall_ns(), list[str]()
    folder = records_of(workspace)
    engine = replayed(found, folder, now_ns, lambda corrupt: damaged.append(str(corrupt)))
    return _Read(engine, now_ns, damaged)


def _tell_damage(damaged: Iterable[str]) -> None:
    for problem in damaged:
        click.echo(f"left out, damaged: {problem}", err=True)

"""`trimtab replay`: what was kept, made anew from the records."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import busy, counted, emit, json_option, records_of, table, workspace_option
from trimtab.core.clock import span_s

if TYPE_CHECKING:
    from trimtab.surfaces.kept.decisions import Decisions
    from trimtab.surfaces.kept.replay import Replayed

_SHOWN = 20


@click.command(short_help="Make budgets, objectives and decisions anew from records, and compare.")
@click.option("--decisions", is_flag=True, help="Compare what was decided of each request with what is decided today.")
@click.option("--since", metavar="SPAN", help="With --decisions: of requests since then (15m, 24h, 7d).")
@workspace_option
@json_option
def replay(decisions: bool, since: str | None, workspace: Path, as_json: bool) -> None:
    """Read the records into an empty store, and compare with what was kept: the journal to the byte, spent budgets, and
    the state of objectives to the byte.

    With --decisions: rules and plans of each recorded request by the documents and the code of today, from what its row
    keeps. Exit code 1: something differs.
    """
    span = None if since is None else span_s(since)
    if since is not None and span is None:
        raise click.BadParameter(f"{since!r} is no span: write 15m, 24h or 7d", param_hint="--since")
    if since is not None and not decisions:
        raise click.UsageError("--since goes with --decisions: budgets and objectives have their own periods")
    if decisions:
        _decisions(workspace, span, as_json)
    else:
        _state(workspace, as_json)


def _state(workspace: Path, as_json: bool) -> None:
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.kept.replay import replay as read_anew

    with busy("reading the records"):
        records_of(workspace)
        found = read_anew(workspace, SystemClock())
    if as_json:
        import msgspec

        emit({"same": found.same, **msgspec.to_builtins(found)})
    else:
        _say(found)
    sys.exit(0 if found.same else 1)


def _say(found: Replayed) -> None:
    from trimtab.core.money import usd

    rows = [
        (one.budget, one.period, one.window, usd(one.replayed_nanousd), usd(one.kept_nanousd)) for one in found.balances
    ]
    if rows:
        table(("BUDGET", "PERIOD", "WINDOW", "REPLAYED $", "KEPT $"), rows)
        click.echo(f"kept: as the {found.source} say{'' if found.source == 'records' else 's'}")
    states = found.objectives
    told = f"replayed {states.replayed}, kept {states.kept}" if states.why is None else f"not compared: {states.why}"
    click.echo(f"objectives: {told}")
    click.echo(
        f"journal: {counted(found.rows, 'row')}, {counted(len(found.rewritten), 'row')} not the same when written anew"
    )
    for line in found.rewritten:
        click.echo(f"  {line}")
    click.echo("the same" if found.same else "not the same")


def _decisions(workspace: Path, span: int | None, as_json: bool) -> None:
    from trimtab.controlplane import records
    from trimtab.controlplane.registry import load
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.kept.decisions import decide_anew

    clock = SystemClock()
    since_ns = 0 if span is None else clock.wall_ns() - span * 1_000_000_000
    with busy("deciding anew"):
        loaded = load(workspace, clock)
        rows = records.query(records_of(workspace), kinds=("request",), since_wall_ns=since_ns)
        found = decide_anew(rows, loaded.snapshot)
    if as_json:
        emit(found)
    else:
        _tell(found)
    sys.exit(1 if found.differences else 0)


def _tell(found: Decisions) -> None:
    kinds = Counter(one.what for one in found.differences)
    first = {one.what: one.record for one in reversed(found.differences)}
    for what, count in kinds.most_common(_SHOWN):
        click.echo(f"{count:,} x {what}, e.g. {first[what]}")
    if len(kinds) > _SHOWN:
        click.echo(f"and {len(kinds) - _SHOWN} more kinds; --json has all")
    for why, count in found.untold.items():
        click.echo(f"untold {count:,} x: {why}")
    differing = len({one.record for one in found.differences})
    click.echo(f"{counted(found.requests, 'request')}, {differing:,} decided otherwise")


__all__ = ["replay"]

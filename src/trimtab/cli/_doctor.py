"""trimtab doctor: what is not well with this installation, what to do, and what this machine reaches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import any_workspace_option, begins, emit, json_option, records_of, styled, table

if TYPE_CHECKING:
    from trimtab.controlplane.records.nulls import Nulls
    from trimtab.surfaces.doctor.finding import Finding
    from trimtab.surfaces.doctor.measured import Measured
    from trimtab.surfaces.doctor.verdict import Capacity, Verdict

_MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "error": ("not ok ", "red")}


@click.command(short_help="Say what is wrong with this installation, or what it reaches.")
@any_workspace_option
@click.option("--measure", is_flag=True, help="Measure what this machine reaches, in about a minute.")
@click.option("--seconds", default=50.0, show_default=True, type=click.FloatRange(1, 600), help="Time for --measure.")
@click.option("--rows", default=10_000, show_default=True, type=click.IntRange(1), help="Newest records to look at.")
@click.option("--all", "every", is_flag=True, help="Show fields without a null, too.")
@json_option
def doctor(workspace: Path, measure: bool, seconds: float, rows: int, every: bool, as_json: bool) -> None:
    """Look over the machine, its packages, the workspace, its gateway and its records, and say what is not well, why
    that matters, and what to do.

    The last part is the share of nulls of each field of a request's record: what is null everywhere, nothing fills.
    With --measure, figures of this machine come in its place: engines, embedder, the gateway's own work, the disk, and
    which declared latencies they allow. Of each engine it also fits what its passes take, and says how wrong that is on
    measurements held out. A gateway foresees requests with it from its next start on; where one runs now it is not
    kept. Nothing is charged or recorded for it.

    Exit code 1 if anything is not well; warnings and a gateway that does not run are no illness.
    """
    begins(f"Looking over this installation and {workspace}.")
    findings: list[Finding] = []
    for one in _findings(workspace):
        findings.append(one)
        if not as_json:
            _tell(one)
    passed = all(one.ok for one in findings)
    told: dict[str, Any] = {"ok": passed, "findings": [_row(one) for one in findings]}
    if measure:
        told |= _measured(workspace, seconds, as_json)
    else:
        known = _nulls(workspace, rows)
        told["fields"] = [{"field": one.field, "rows": one.rows, "null": one.null, "share": one.share} for one in known]
        if not as_json:
            _show(known, every)
    if as_json:
        emit(told)
    if not passed:
        raise SystemExit(1)


def _findings(workspace: Path) -> Iterator[Finding]:
    """Packages first: where one is broken the rest may not even be imported, and the reason has been told."""
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.doctor.finding import error
    from trimtab.surfaces.doctor.packages import MODULES, RETRIEVAL, packages

    yield from packages(MODULES, RETRIEVAL if (workspace / "corpora").is_dir() else None)
    try:
        from trimtab.surfaces.doctor.installed import installed
        from trimtab.surfaces.doctor.machine import machine
    except ImportError as problem:
        yield error("the rest", "can't be looked at", str(problem), "Mend the packages above first.")
        return
    clock = SystemClock()
    yield from machine(workspace, clock)
    yield from installed(workspace, clock)


def _tell(one: Finding) -> None:
    text, colour = _MARKS[one.state]
    click.echo(f"{styled(text, colour)}  {one.what}: {one.said}")
    if one.cause:
        click.echo(f"           {one.cause}")
    if one.fix:
        click.echo(f"           Do: {one.fix}")


def _row(one: Finding) -> dict[str, Any]:
    row = {"what": one.what, "ok": one.ok, "state": one.state, "said": one.said}
    return {**row, "cause": one.cause, "fix": one.fix}


def _nulls(workspace: Path, most: int) -> list[Nulls]:
    from collections import deque

    from trimtab.controlplane import records
    from trimtab.controlplane.records.nulls import nulls

    rows = records.query(records_of(workspace), kinds=("request",), on_corrupt=lambda _: None)
    return nulls(deque(rows, maxlen=most))


def _show(known: list[Nulls], every: bool) -> None:
    if not known:
        click.echo("\nNo request has been recorded yet.")
        return
    shown = known if every else [one for one in known if one.null]
    click.echo(f"\nOf the newest {max(one.rows for one in known):,} requests these fields are null:")
    table(["FIELD", "NULL", "ROWS"], [(one.field, f"{one.share:.0%}", f"{one.rows:,}") for one in shown])
    if not every:
        click.echo(f"{len(known) - len(shown)} more fields are never null (--all).")


# --- figures


def _measured(workspace: Path, seconds: float, as_json: bool) -> dict[str, Any]:
    import asyncio

    import msgspec

    from trimtab.cli._serve import engine_specs
    from trimtab.controlplane import records
    from trimtab.controlplane.registry import load
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.doctor.measure import measure
    from trimtab.surfaces.doctor.verdict import Usual, capacities, usual_of, verdicts
    from trimtab.surfaces.server.ask import NotRunningError, ask

    clock = SystemClock()
    loaded = load(workspace.resolve(), clock)
    try:
        runs = ask(workspace, "GET", "/state") is not None
    except NotRunningError:
        runs = False
    specs = engine_specs(loaded.settings)
    measured = asyncio.run(measure(loaded, specs, clock, _progress, gateway_runs=runs, seconds=seconds))
    rows = records.query(records_of(workspace), kinds=("request",), on_corrupt=lambda _: None)
    usual = usual_of(rows)
    widest = max(usual.values(), key=lambda one: one.rows, default=Usual())
    carried, judged = capacities(loaded, measured, widest), verdicts(loaded, measured, usual)
    if not as_json:
        _show_figures(measured)
        _show_fitted(measured)
        _show_verdicts(carried, judged, widest)
    return {
        "measured": msgspec.to_builtins(measured),
        "capacities": msgspec.to_builtins(carried),
        "verdicts": [{**msgspec.to_builtins(one), "reachable": one.reachable} for one in judged],
    }


def _progress(line: str) -> None:
    click.echo(f"measuring {line}", err=True)


def _show_figures(measured: Measured) -> None:
    beside = "; a gateway runs beside it: figures may be off" if measured.gateway_runs else ""
    click.echo(f"\nThis machine, {measured.cores} cores, measured in {measured.took_s:.0f} s{beside}:")
    for one in measured.engines:
        warm = one.warm_first_token_ms
        together = one.decodes[-1]
        click.echo(
            f"  engine {one.engine}: reads {one.prompt_tokens_per_s:,.0f} prompt tokens/s, writes "
            f"{one.tokens_per_s:,.0f} tokens/s alone and {together.total_tokens_per_s:,.0f} in {together.streams} "
            f"answers at once"
        )
        for prefill in [prefill for prefill in one.prefills if not prefill.cached * 2 >= prefill.tokens][:3]:
            click.echo(f"    first token of {prefill.tokens} new tokens: {prefill.first_token_ms:,.0f} ms")
        if warm is not None:
            click.echo(f"    first token of a prompt that it has just read: {warm:,.0f} ms")
    if measured.embed_ms is not None:
        click.echo(f"  embedder: {measured.embed_ms:.1f} ms a query, 95th percentile {measured.embed_p95_ms:.1f} ms")
    for plane in measured.planes:
        click.echo(f"  gateway, {plane.channel} ({plane.path}): {plane.cpu_ms:.2f} ms of processor time a request")
    if (disk := measured.journal) is not None:
        click.echo(
            f"  disk: {disk.records_per_s:,.0f} records/s; a sync takes {disk.sync_ms:.2f} ms, "
            f"95th percentile {disk.sync_p95_ms:.2f} ms"
        )
    for note in measured.notes:
        click.echo(f"  not measured: {note}")


def _show_fitted(measured: Measured) -> None:
    from trimtab.surfaces.doctor.fitted import words

    for one in measured.engines:
        click.echo(f"\nEngine {one.engine} by its passes, fitted on {one.fitted.passes} of them:")
        for line in words(one.fitted.pod):
            click.echo(f"  {line}")
    rows = [
        (one.engine, error.figure, f"{error.points}", f"{error.median:.0%}", f"{error.p90:.0%}")
        for one in measured.engines
        for error in one.fitted.held_out
    ]
    if rows:
        click.echo("\nHow wrong that is on measurements which it was not fitted on:")
        table(["ENGINE", "FIGURE", "POINTS", "MEDIAN ERROR", "90TH PERCENTILE"], rows)
    if measured.kept:
        click.echo(f"Kept: at its next start the gateway foresees requests with it, to {', '.join(measured.kept)}.")
    if measured.gateway_runs:
        click.echo("Not kept, since a gateway shared the machine. Stop it, and measure again.")
    for name in [one.engine for one in measured.engines if not one.fitted.enough]:
        click.echo(f"Engine {name}: too few passes to be kept, or too uneven. A quiet machine or more --seconds helps.")


def _show_verdicts(carried: list[Capacity], judged: list[Verdict], usual: Any) -> None:
    whence = f"the median of {usual.rows:,} records" if usual.rows else "an assumption: there are too few records"
    click.echo(f"\nWith {usual.prompt} prompt tokens and {usual.answer} of answer ({whence}):")
    for one in carried:
        rate = f"{one.requests_per_s:.2g} requests/s of tier {one.tier}"
        click.echo(f"  about {rate}, if engine {one.engine} has the machine to itself")
    click.echo("\nDeclared latencies, for one request at a time on a quiet machine:")
    rows = [
        (
            verdict.channel,
            verdict.tier,
            verdict.term,
            f"{verdict.declared_ms:,.0f}",
            f"{verdict.reached_ms:,.0f}",
            "is reachable" if verdict.reachable else "is not reachable",
        )
        for verdict in judged
    ]
    table(["CHANNEL", "TIER", "TERM", "DECLARED", "REACHED", "ON THIS MACHINE"], rows)

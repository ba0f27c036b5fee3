"""trimtab report --statement: a tenant's month, and what differs from its own list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import emit, table

if TYPE_CHECKING:
    from trimtab.controlplane.records.statement import ChannelLine, Entry, Kept, Statement


def statement(
    workspace: Path,
    folder: Path,
    tenant: str,
    month: str,
    zone: str | None,
    lines: Path | None,
    against: Path | None,
    as_json: bool,
) -> None:
    """Raises click.BadParameter for a month, zone or list that is none. Exit code 1: the list differs."""
    from zoneinfo import ZoneInfo

    from trimtab.controlplane import records
    from trimtab.controlplane.records.statement import KINDS, compared, month_of, read, state, written

    named = zone or _zone(workspace, tenant)
    try:
        place = ZoneInfo(named)
    except (ValueError, OSError, KeyError):
        raise click.BadParameter(
            f"there is no time zone {named!r}: write e.g. Europe/Berlin", param_hint="--tz"
        ) from None
    try:
        since_ns, _ = month_of(month, place)
        own = None if against is None else read(against.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error), param_hint="--statement" if against is None else "--against") from None
    damaged: list[str] = []
    rows = records.query(
        folder,
        kinds=KINDS,
        tenant=tenant,
        since_wall_ns=since_ns - 86_400 * 10**9,
        on_corrupt=lambda corrupt: damaged.append(str(corrupt)),
    )
    found, entries = state(tenant, month, place, rows)
    if lines is not None:
        lines.write_text(written(entries), encoding="utf-8")
    differences = None if own is None else compared(entries, own)
    if as_json:
        emit({"statement": found, "tz": named, "differences": differences, "damaged": damaged})
    else:
        _show(found, named, entries)
        for one in differences or ():
            click.echo(f"differs: {one.record}: {one.why}, ours {_money(one.ours)}, theirs {_money(one.theirs)}")
        if differences == []:
            click.echo(f"{against}: the same {len(entries):,} requests at the same cost")
        for problem in damaged:
            click.echo(f"left out, damaged: {problem}", err=True)
    if differences:
        sys.exit(1)


def _show(found: Statement, zone: str, entries: list[Entry]) -> None:
    click.echo(f"{found.tenant}, {found.month} ({zone})\n")
    head = ["CHANNEL", "REQUESTS", "ANSWERED", "IN TIME", "GOOD", "WITHIN COST", "SPENT USD", "BASELINE", "SAVED"]
    rows = [_row(line, line.channel or "-") for line in found.channels]
    table(head, [*rows, _row(found.total, "all")])
    if found.unpriced:
        click.echo(f"\nof {found.unpriced:,} requests nobody knows the cost: their model has no price")
    click.echo(f"\n{len(entries):,} lines, digest {found.digest}")


def _row(line: ChannelLine, name: str) -> list[str]:
    terms = (line.latency, line.quality, line.cost)
    money = (line.spent_nanousd, line.baseline_nanousd, line.saved_nanousd)
    return [name, f"{line.requests:,}", f"{line.answered:,}", *map(_kept, terms), *map(_money, money)]


def _kept(one: Kept) -> str:
    known = one.kept + one.missed
    return f"{one.kept:,} of {known:,}" if known else "-"


def _money(nanousd: int | None) -> str:
    from trimtab.core.money import usd

    return "unknown" if nanousd is None else usd(nanousd)


def _zone(workspace: Path, tenant: str) -> str:
    """Where the tenant's monthly budget turns; UTC where it has none, or the workspace can't be read now."""
    from trimtab.controlplane.registry import load
    from trimtab.core.errors import ConfigError

    try:
        declared = load(workspace).snapshot.tenancy.tenants.get(tenant)
    except ConfigError:
        return "UTC"
    budgets = declared.budgets if declared is not None else ()
    return next((budget.tz for budget in budgets if budget.period == "month"), "UTC")

"""trimtab budget: what budgets allow, what is spent, reserved and left, from the running gateway."""

from __future__ import annotations

from pathlib import Path

import click

from trimtab.cli._common import busy, emit, json_option, table, unknown, workspace_option
from trimtab.cli._group import Group


@click.group(cls=Group, default="show", short_help="Show budgets: limit, spent, reserved, left.")
def budget() -> None:
    """Show the budgets of a workspace. Without COMMAND: show."""


@budget.command(short_help="Show what is spent, reserved and left of every budget.")
@click.argument("name", required=False)
@workspace_option
@json_option
def show(name: str | None, workspace: Path, as_json: bool) -> None:
    """Show every budget, or those whose name begins with NAME (`shop`, `shop/web`, a key's id).

    Asks the running gateway; with it stopped, works the figures out of the records (nothing is reserved then).
    """
    with busy(f"Reading {workspace}"):
        from trimtab.core.money import usd
        from trimtab.surfaces.budgets import budgets

        rows, live = budgets(workspace)
    known = [row.name for row in rows]
    rows = [row for row in rows if name is None or row.name.startswith(name)]
    if name is not None and not rows:
        raise unknown(name, known, "budget that begins with", "NAME")
    if as_json:
        emit({"live": live, "budgets": rows})
        return
    head = ("BUDGET", "PERIOD", "OF", "LIMIT USD", "SPENT USD", "RESERVED USD", "LEFT USD", "SPENT")
    lines = [
        (
            row.name,
            f"{row.period} ({row.tz})",
            row.window,
            usd(row.limit_nanousd),
            usd(row.settled_nanousd),
            usd(row.reserved_nanousd),
            usd(row.left_nanousd),
            f"{100 * row.settled_nanousd / row.limit_nanousd:.1f}%" if row.limit_nanousd else "-",
        )
        for row in rows
    ]
    table(head, lines)
    if not live:
        click.echo("The gateway is stopped: figures are from the records.", err=True)

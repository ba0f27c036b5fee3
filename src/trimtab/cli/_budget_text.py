"""What trimtab budget prints: tables for people, and the same as plain values for machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import table

if TYPE_CHECKING:
    from trimtab.controlplane.registry import AuditRow, BudgetChange, Scope
    from trimtab.core.tenancy import Budget, Grant
    from trimtab.dataplane.spend import BudgetRow
    from trimtab.surfaces.spending import Spender, Spent

_BY = ("channel", "key", "variant")


def fields(row: BudgetRow) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(row)
    return found


def running(row: BudgetRow, declared: list[Scope] | None) -> list[Grant]:
    """The grants that have not ended."""
    from trimtab.core.clock import SystemClock, instant_ns

    now_ns = SystemClock().wall_ns()
    budgets = [budget for one in declared or () if one.name == row.name for budget in one.budgets]
    return [
        grant
        for budget in budgets
        if budget.period == row.period
        for grant in budget.grants
        if instant_ns(grant.until) > now_ns
    ]


def granted(one: Grant) -> dict[str, Any]:
    from trimtab.core.money import nanousd

    return {"nanousd": nanousd(one.usd), "until": one.until, "by": one.by}


def resets(row: BudgetRow) -> Any:
    """When the next period begins, on the clock of the budget's zone."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    return datetime.fromtimestamp(row.ends_wall_ns // 1_000_000_000, UTC).astimezone(ZoneInfo(row.tz))


def _left(row: BudgetRow) -> str:
    """How long that is, in the largest unit of which there are at least two."""
    from trimtab.core.clock import SystemClock

    left_s = max(0, row.ends_wall_ns - SystemClock().wall_ns()) // 1_000_000_000
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60)):
        if left_s >= 2 * seconds:
            return f"{left_s // seconds} {unit}"
    return f"{left_s} s"


def tell_budgets(found: list[BudgetRow]) -> None:
    from trimtab.core.money import usd

    doubt = any(row.in_doubt_nanousd for row in found)
    head = ["BUDGET", "PERIOD", "OF", "LIMIT USD", "SPENT USD", "RESERVED USD"]
    head += [*(["IN DOUBT USD"] if doubt else []), "LEFT USD", "SPENT", "RESETS"]
    lines = [
        [
            row.name,
            f"{row.period} ({row.tz})",
            row.window,
            usd(row.limit_nanousd),
            usd(row.settled_nanousd),
            usd(row.reserved_nanousd),
            *([usd(row.in_doubt_nanousd)] if doubt else []),
            usd(row.left_nanousd),
            f"{100 * row.settled_nanousd / row.limit_nanousd:.1f}%" if row.limit_nanousd else "-",
            f"{resets(row):%Y-%m-%d %H:%M}, in {_left(row)}",
        ]
        for row in found
    ]
    table(head, lines)


def tell_grants(found: list[BudgetRow], grants: Mapping[tuple[str, str], list[Grant]]) -> None:
    lines = [
        (f"{row.name}/{row.period}", f"+{one.usd:f}", one.until, one.by)
        for row in found
        for one in grants[row.name, row.period]
    ]
    if lines:
        click.echo()
        table(("GRANTED TO", "USD", "UNTIL", "BY"), lines)


def tell_spenders(found: list[tuple[BudgetRow, list[Spender]]]) -> None:
    """One line a spender, with its part of the running day and month side by side."""
    from trimtab.core.money import usd

    periods = [period for period in ("day", "month") if any(row.period == period for row, _ in found)]
    parts: dict[tuple[str, str, str], dict[str, tuple[str, str]]] = {}
    for row, spent in found:
        for one in spent:
            share = f"{100 * one.spent_nanousd / row.settled_nanousd:.1f}%" if row.settled_nanousd else "-"
            parts.setdefault((row.name, one.by, one.name or "-"), {})[row.period] = usd(one.spent_nanousd), share
    lines = [
        [*name, *(cell for period in periods for cell in part.get(period, ("-", "-")))]
        for name, part in sorted(parts.items(), key=lambda one: _BY.index(one[0][1]))
    ]
    if lines:
        click.echo()
        head = [cell for period in periods for cell in (f"{period.upper()} USD", "SHARE")]
        table(["SPENT OF", "BY", "NAME", *head], lines)


def outcome(done: BudgetChange) -> str:
    """What became of a budget."""
    name = f"{done.scope}/{done.period}"
    if not done.changed:
        return f"{name}: {_terms(done.after)} already; nothing is changed."
    return f"{name}: {_terms(done.before)} -> {_terms(done.after)}"


def _terms(one: Budget | None) -> str:
    if one is None:
        return "none"
    more = "".join(f" + ${grant.usd:f} until {grant.until}" for grant in one.grants)
    return f"${one.usd:f} ({one.tz}){more}"


# --- history


def change(row: AuditRow) -> dict[str, Any]:
    scope, _, period = row.subject.rpartition("/")
    told = row.told
    return {
        "time": row.time,
        "by": row.actor,
        "action": row.action,
        "scope": scope,
        "period": period,
        "before": told.was if told else None,
        "after": told.now if told else None,
        "reason": told.reason if told else "",
    }


def tell_changes(changes: Iterable[AuditRow]) -> None:
    import msgspec

    from trimtab.core.tenancy import Budget

    def terms(value: Any) -> str:
        return _terms(None if value is None else msgspec.convert(value, Budget))

    lines = []
    for row in changes:
        one = change(row)
        words = row.action.removeprefix("budget.")
        lines.append(
            (row.time, row.actor, words, row.subject, terms(one["before"]), terms(one["after"]), one["reason"] or "-")
        )
    if not lines:
        click.echo("No budget was changed by set or grant.")
        return
    table(("TIME", "BY", "DID", "BUDGET", "BEFORE", "AFTER", "REASON"), lines)


def tell_periods(periods: list[Spent]) -> None:
    from trimtab.core.money import usd

    if not periods:
        return
    click.echo()
    lines = [
        (f"{one.budget}/{one.period}", one.tz, one.window, usd(one.spent_nanousd), f"{one.requests:,}")
        for one in periods
    ]
    table(("SPENT OF", "ZONE", "IN", "USD", "REQUESTS"), lines)


def tell_damaged(damaged: Iterable[str]) -> None:
    for problem in damaged:
        click.echo(f"left out, damaged: {problem}", err=True)

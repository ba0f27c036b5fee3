"""trimtab budget: what budgets allow, what is spent, reserved and left, who spent it; changes, and their history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli import _budget_text as text
from trimtab.cli._common import (
    OneOf,
    busy,
    emit,
    json_option,
    moment,
    records_of,
    tell_change,
    unknown,
    workspace_option,
)
from trimtab.cli._group import Group

if TYPE_CHECKING:
    from decimal import Decimal

    from trimtab.controlplane.registry import Scope
    from trimtab.dataplane.spend import BudgetRow

_PERIOD = OneOf(["day", "month"], "period")


@click.group(cls=Group, default="show", short_help="Show, set and add to budgets; who spent them, and when.")
def budget() -> None:
    """Show and change the budgets of a workspace. Without COMMAND: show.

    A SCOPE is a tenant (`shop`), a channel (`shop/web`) or a key's id.
    """


@budget.command(short_help="Show what is spent, reserved and left of every budget, and who spent it.")
@click.argument("scope", required=False)
@click.option(
    "--top",
    type=click.IntRange(0, 1000),
    default=3,
    show_default=True,
    help="How many channels, keys and variants that spent most are shown; 0 reads no records for them.",
)
@workspace_option
@json_option
def show(scope: str | None, top: int, workspace: Path, as_json: bool) -> None:
    """Show every budget, or those of SCOPE; of a tenant, also those of its channels and keys.

    Asks the running gateway; with it stopped, the shared store or, without one, the records (nothing is reserved
    then). Who spent is from the records, over the running period: each channel, key and variant with what it cost, for
    the scope itself; of all, for the tenants. --json has it for every budget.
    """
    with busy(f"Reading {workspace}"):
        from trimtab.core.errors import ConfigError
        from trimtab.surfaces.budgets import budgets
        from trimtab.surfaces.spending import purse, spenders

        found, source = budgets(workspace)
        declared: list[Scope] | None
        try:
            declared = _scopes(workspace)
        except ConfigError:
            if source != "gateway":
                raise
            declared = None  # the gateway runs on with what was; the documents on disk can't be read
        found = _within(scope, found, declared)
        damaged: list[str] = []
        spent = (
            spenders(records_of(workspace), found, declared or (), top, lambda bad: damaged.append(str(bad)))
            if top
            else {}
        )
    grants = {(row.name, row.period): text.running(row, declared) for row in found}
    if as_json:
        shown = [
            {
                **text.fields(row),
                "resets_at": text.resets(row).isoformat(),
                "grants": None if declared is None else [text.granted(one) for one in grants[row.name, row.period]],
                "spenders": spent.get(purse(row), []),
            }
            for row in found
        ]
        emit({"live": source == "gateway", "source": source, "budgets": shown, "damaged": damaged})
        return
    text.tell_budgets(found)
    text.tell_grants(found, grants)
    text.tell_spenders([(row, spent.get(purse(row), [])) for row in found if _asked(scope, row, declared)])
    if source == "records":
        click.echo("The gateway is stopped: figures are from the records.", err=True)
    elif source == "store":
        click.echo("The gateway is stopped: figures are from the shared store.", err=True)
    if declared is None:
        click.echo("Grants can't be told: the documents are broken, see trimtab check.", err=True)
    text.tell_damaged(damaged)


@budget.command("set", short_help="Set what may be spent a day or a month, or remove the budget.")
@click.argument("scope")
@click.option("--period", type=_PERIOD, required=True, help="day or month.")
@click.option("--usd", metavar="N", help="What may be spent in a period, in US dollars.")
@click.option("--tz", metavar="ZONE", help="Where the period turns, e.g. Europe/Berlin. Unset, as it is; at first UTC.")
@click.option("--remove", is_flag=True, help="Remove the budget, with its grants.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@workspace_option
@json_option
def set_(
    scope: str, period: Any, usd: str | None, tz: str | None, remove: bool, reason: str, workspace: Path, as_json: bool
) -> None:
    """Set the budget of SCOPE for a period in its tenant's document; add it where there is none.

    The whole workspace is checked first: what `trimtab check` would refuse is not written. The change is on the audit
    log, and a running gateway takes it up at once. What is spent stays spent. Grants stay.
    """
    if remove == (usd is not None):
        raise click.UsageError("say what may be spent by --usd N, or --remove")
    if remove and tz is not None:
        raise click.UsageError("--tz is for a budget that stays: leave out --remove, or --tz")
    with busy(f"Checking {workspace}"), _named():
        from trimtab.controlplane.registry import remove_budget, set_budget

        if usd is None:
            done = remove_budget(workspace, scope, period, reason=reason)
        else:
            done = set_budget(workspace, scope, period, _usd(usd), tz=tz, reason=reason)
    tell_change(done, {"scope": done.scope, "period": done.period}, text.outcome(done), workspace, as_json)


@budget.command(short_help="Give a budget more until a time.")
@click.argument("scope")
@click.option("--usd", metavar="N", required=True, help="How much more, in US dollars.")
@click.option(
    "--until", metavar="TIME", required=True, help="When it ends: 6h, 2d, or a time like 2027-01-31T00:00:00Z."
)
@click.option("--reason", metavar="TEXT", required=True, help="Why, for the audit log.")
@click.option("--period", type=_PERIOD, help="day or month, where SCOPE has both.")
@workspace_option
@json_option
def grant(scope: str, usd: str, until: str, reason: str, period: Any, workspace: Path, as_json: bool) -> None:
    """Add money to a budget of SCOPE until TIME, without touching the budget itself; in your user's name.

    Checked, audited and taken up as by `set`. The same grant to the letter is not given twice.
    """
    if not reason.strip():
        raise click.BadParameter("say why: the audit log keeps it", param_hint="--reason")
    with busy(f"Checking {workspace}"), _named():
        from trimtab.controlplane.registry import grant_budget

        more = _usd(usd)
        if not more:
            raise click.BadParameter("a grant of nothing changes nothing", param_hint="--usd")
        done = grant_budget(workspace, scope, period, more, moment(until, "--until"), reason=reason)
    tell_change(done, {"scope": done.scope, "period": done.period}, text.outcome(done), workspace, as_json)


@budget.command(short_help="Show who changed budgets, and what was spent day by day and month by month.")
@click.argument("scope", required=False)
@click.option(
    "--last",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    help="How many changes, and how many periods of each budget.",
)
@workspace_option
@json_option
def history(scope: str | None, last: int, workspace: Path, as_json: bool) -> None:
    """Show changes of budgets from the audit log, and what was spent in each period from the records.

    Of SCOPE, or of all; a scope without a budget is shown by day (UTC). The audit log has what `set` and `grant`
    changed; edits of the document by hand are not in it.
    """
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.registry import audit_rows
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces.spending import Purse
        from trimtab.surfaces.spending import history as spent_in

        declared = _scopes(workspace)
        chosen = _chosen(scope, declared)
        purses = [Purse(one.name, budget.period, budget.tz) for one in chosen for budget in one.budgets]
        if scope is not None and not purses:
            purses = [Purse(chosen[0].name, "day", "UTC")]
        names = {f"{one.name}/{period}" for one in chosen for period in ("day", "month")}
        changes = [
            row
            for row in audit_rows(workspace)
            if row.action.startswith("budget.") and (scope is None or row.subject in names)
        ][-last:]
        damaged: list[str] = []
        now_ns = SystemClock().wall_ns()
        periods = spent_in(records_of(workspace), purses, declared, last, now_ns, lambda bad: damaged.append(str(bad)))
    if as_json:
        emit({"changes": [text.change(row) for row in changes], "periods": periods, "damaged": damaged})
        return
    text.tell_changes(changes)
    text.tell_periods(periods)
    text.tell_damaged(damaged)


# --- scopes


def _scopes(workspace: Path) -> list[Scope]:
    from trimtab.controlplane.registry import scopes

    return scopes(workspace)


def _asked(name: str | None, row: BudgetRow, declared: list[Scope] | None) -> bool:
    """Whether a budget is the scope's own, and not of what lies within it; where all are shown, a tenant's."""
    if name is None:
        return all(row.name != one.name or row.name == one.tenant for one in declared or ())
    return row.name == name or any(row.name == one.name and name in one.keys for one in declared or ())


@contextmanager
def _named() -> Iterator[None]:
    """A scope that there is not is a command line that can't be understood, as everywhere."""
    from trimtab.core.errors import TrimtabError

    try:
        yield
    except TrimtabError as error:
        from trimtab.controlplane.registry import UnknownScopeError

        if not isinstance(error, UnknownScopeError):
            raise
        raise unknown(error.name, error.known, "tenant, channel or key", "SCOPE") from None


def _chosen(name: str | None, declared: list[Scope]) -> list[Scope]:
    """The scope of this name first, then of a tenant what lies within it; all for None. Raises click.BadParameter."""
    from trimtab.controlplane.registry import scope

    if name is None:
        return declared
    with _named():
        found = scope(declared, name)
    return [found, *(one for one in declared if found.name == one.tenant and one is not found)]


def _within(name: str | None, found: list[BudgetRow], declared: list[Scope] | None) -> list[BudgetRow]:
    """The budgets of a scope. Raises what says that there are none, and what helps."""
    if name is None:
        return found
    if declared is None:
        known = [row.name for row in found]
        if name not in known:
            raise unknown(name, known, "budget of", "SCOPE")
        return [row for row in found if row.name == name or row.name.startswith(f"{name}/")]
    chosen = _chosen(name, declared)
    wanted = {one.name for one in chosen}
    rows = [row for row in found if row.name in wanted]
    if not rows:
        hint = f"Give it one: trimtab budget set {chosen[0].name} --period day --usd N"
        raise click.ClickException(f"{chosen[0].name} has no budget. {hint}")
    return rows


# --- amounts


def _usd(given: str) -> Decimal:
    """Dollars, as documents take them. Raises click.BadParameter."""
    from decimal import Decimal, InvalidOperation

    from trimtab.foundations.config import MAX_USD

    try:
        value = Decimal(given)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        problem = f"{given!r} is no amount: write dollars, like 20 or 0.50"
    elif value < 0:
        problem = f"{given} is negative: write what may be spent, 0 or more"
    elif value > MAX_USD:
        problem = f"{given} is more than the {MAX_USD:,} dollars that a budget may have"
    elif value.adjusted() < -12 or value % Decimal("0.000000001"):
        problem = f"{given} is finer than a nano-dollar: write at most 9 decimals"
    else:
        return Decimal(format(value, "f"))
    raise click.BadParameter(problem, param_hint="--usd")

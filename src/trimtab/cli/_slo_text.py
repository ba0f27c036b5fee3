"""How objectives look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from trimtab.cli._common import styled
from trimtab.core.clock import instant_text

if TYPE_CHECKING:
    from trimtab.controlplane.slo import Alert, Forecast, Status

COLUMNS: Final = ("OBJECTIVE", "TARGET", "WINDOW", "STATE", "EVENTS", "SPENT", "ALLOWED", "LEFT", "BURN 1H", "GONE IN")
_COLOURS: Final = {"ok": "green", "burning": "yellow", "exhausted": "red", "insufficient_data": "cyan"}


def cells(status: Status, now_ns: int) -> list[str]:
    """One row of the table."""
    objective, budget = status.objective, status.budget
    burn = status.burns.get("1h")
    return [
        objective.id,
        "-" if objective.target is None else f"{100 * objective.target:g}%",
        str(objective.window),
        status.state,
        f"{budget.events:,}",
        _amount(status, budget.spent),
        _amount(status, budget.allowance),
        "-" if budget.left_share is None else f"{100 * budget.left_share:.1f}%",
        "-" if burn is None else f"{burn:.1f}",
        _gone(status, now_ns),
    ]


def remarks(statuses: Iterable[Status], now_ns: int) -> Iterator[str]:
    """Below the table: what is not ok and why, alerts with their evidence, what is frozen."""
    for status in statuses:
        if status.why:
            yield f"{styled(status.state, _COLOURS[status.state])}  {status.objective.id}: {status.why}"
        for alert in status.alerts:
            yield f"  {_alert(alert)}"
        if status.frozen is not None:
            yield f"  frozen: {status.frozen}"
        if status.forecast is not None and status.forecast.expected_ns is not None and status.budget.left > 0:
            yield f"forecast  {status.objective.id}: gone in {_interval(status.forecast, now_ns)}"


def _alert(alert: Alert) -> str:
    found = alert.certificate
    since = "" if alert.since_ns is None else f" since {instant_text(alert.since_ns)}"
    return f"{alert.severity}{since}: {found.claim} ({found.method}, error {found.error:.2g})"


def _amount(status: Status, amount: int) -> str:
    if status.budget.unit == "nanousd":
        from trimtab.core.money import usd

        return usd(amount)
    return f"{amount:,}"


def _gone(status: Status, now_ns: int) -> str:
    if status.budget.left <= 0 and status.state == "exhausted":
        return "now"
    if status.forecast is None:
        return "-"
    at_ns = status.forecast.expected_ns
    return "never" if at_ns is None else span(at_ns - now_ns)


def _interval(forecast: Forecast, now_ns: int) -> str:
    early, late = forecast.earliest_ns, forecast.latest_ns
    assert early is not None
    last = "never in this window" if late is None else span(late - now_ns)
    return f"{span(early - now_ns)} to {last} ({1 - forecast.certificate.error:.0%})"


def span(ns: int) -> str:
    """3.2d, 5.0h, 12m."""
    seconds = ns / 1e9
    for unit, name in ((86_400, "d"), (3600, "h")):
        if seconds >= unit:
            return f"{seconds / unit:.1f}{name}"
    return f"{max(1, round(seconds / 60))}m"

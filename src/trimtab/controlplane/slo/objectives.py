"""Objectives as values: what channels declare, with what slo.yaml adds or changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from typing import Final

import msgspec

from trimtab.controlplane.slo.window import Window
from trimtab.core.clock import instant_ns
from trimtab.core.money import nanousd
from trimtab.core.objectives import DEFAULT_WINDOW, Kind, ObjectiveDoc, SloDocument, declared_target, stands_for
from trimtab.core.tenancy import Budget, Channel, Tenancy, Tenant

LEAST_EVENTS: Final = 20
FALSE_PAGES_PER_YEAR: Final = 1.0


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted, of whom, over which window, and how much of it may be bad or spent.

    `channel` None: all of the tenant. `route` None: all paths. `target`: the share that must be good; None for spend.
    `usd_nano`: for spend what a window may cost, for cost what one request may (None: its contract's cap).
    `grants`: (until, nano-dollars) beyond it. `freeze_below`: share of the budget; None: freezes nothing.
    """

    id: str
    kind: Kind
    tenant: str
    channel: str | None
    window: Window
    route: str | None = None
    target: float | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    usd_nano: int | None = None
    grants: tuple[tuple[int, int], ...] = ()
    false_pages_per_year: float = FALSE_PAGES_PER_YEAR
    freeze_below: float | None = 0.0
    declared: bool = True
    """By the channel or tenant itself, and not by slo.yaml."""

    @property
    def is_money(self) -> bool:
        return self.kind == "spend"

    @property
    def place(self) -> str:
        """`TENANT/CHANNEL`, or the tenant."""
        return self.tenant if self.channel is None else f"{self.tenant}/{self.channel}"

    @property
    def allowed(self) -> Fraction:
        """The share that may be bad, exactly as the decimals say; 0 for spend."""
        return Fraction(0) if self.target is None else 1 - Fraction(str(self.target))

    @property
    def needs(self) -> int:
        """Events below which a window says nothing: so many that one of them may be bad."""
        return 1 if self.is_money else max(LEAST_EVENTS, ceil(1 / self.allowed))

    def allowance(self, events: int, now_ns: int) -> int:
        """Bad requests that so many may have, whole ones; or nano-dollars, running grants included."""
        if not self.is_money:
            return int(self.allowed * events)
        return (self.usd_nano or 0) + sum(more for until_ns, more in self.grants if until_ns > now_ns)


def objectives(tenancy: Tenancy, document: SloDocument) -> list[Objective]:
    """Of every tenant and channel, in the order in which they are declared; what slo.yaml adds comes after what its
    channel declares. The documents must have passed `check`."""
    found: dict[str, Objective] = {}
    for tenant in tenancy.tenants.values():
        _put(found, (_spend(tenant, None, budget) for budget in tenant.budgets))
        for name, channel in tenant.channels.items():
            mine: dict[str, Objective] = {}
            _put(mine, _declared(tenant, name, channel))
            for entry in document.objectives:
                if any(stands_for(glob, tenant.id, name) for glob in entry.channels):
                    _apply(mine, entry, tenant, name, channel)
            found |= mine
    return list(found.values())


def _declared(tenant: Tenant, name: str, channel: Channel) -> Iterator[Objective]:
    kinds: tuple[Kind, ...] = ("latency", "availability", "quality")
    for kind in kinds:
        if (target := declared_target(channel, kind)) is not None:
            yield _made(kind, tenant.id, name, None, Window.parse(DEFAULT_WINDOW), target=target)
    for route, override in channel.routes.items():
        percentile = override.latency.percentile
        if percentile is not None:
            yield _made("latency", tenant.id, name, route, Window.parse(DEFAULT_WINDOW), target=percentile)
    for budget in channel.cost.budgets:
        yield _spend(tenant, name, budget)


def _spend(tenant: Tenant, channel: str | None, budget: Budget) -> Objective:
    made = _made("spend", tenant.id, channel, None, Window(period=budget.period, tz=budget.tz))
    grants = tuple((instant_ns(grant.until), nanousd(grant.usd)) for grant in budget.grants)
    return msgspec.structs.replace(made, usd_nano=nanousd(budget.usd), grants=grants)


def _made(
    kind: Kind, tenant: str, channel: str | None, route: str | None, window: Window, target: float | None = None
) -> Objective:
    parts = [tenant, *([channel] if channel else []), kind, *([str(window)] if kind == "spend" else [])]
    return Objective(
        id="/".join(parts) + (f"@{route}" if route else ""),
        kind=kind,
        tenant=tenant,
        channel=channel,
        route=route,
        window=window,
        target=target,
        freeze_below=None if kind == "spend" else 0.0,
    )


def _put(found: dict[str, Objective], more: Iterable[Objective]) -> None:
    """Two budgets of one period differ by their time zone."""
    for one in more:
        if one.id in found:
            one = msgspec.structs.replace(one, id=f"{one.id}@{one.window.tz}")
        found[one.id] = one


def _apply(mine: dict[str, Objective], entry: ObjectiveDoc, tenant: Tenant, name: str, channel: Channel) -> None:
    """What this entry makes of the channel's objectives."""
    window = Window.parse(entry.window or DEFAULT_WINDOW, entry.tz)
    base = _made(entry.objective, tenant.id, name, entry.route, window)
    if entry.off:
        mine.pop(base.id, None)
        return
    base = mine.get(base.id, base)
    changes = {
        field: value
        for field in ("target", "ttft_ms", "e2e_ms", "false_pages_per_year", "freeze_below")
        if (value := getattr(entry, field)) is not None
    }
    if entry.window is not None:
        changes["window"] = window
    if entry.usd is not None:
        changes |= {"usd_nano": nanousd(entry.usd), "grants": ()}
    changed = msgspec.structs.replace(base, declared=False, **changes)
    if changed.target is None and not changed.is_money:
        changed = msgspec.structs.replace(changed, target=declared_target(channel, entry.objective))
    mine[base.id] = changed

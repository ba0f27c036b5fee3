"""Budgets: set, removed and added to in the tenants' documents. What `check` would refuse is not written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, Literal

import msgspec

from trimtab.controlplane.registry.audit import Told, actor
from trimtab.controlplane.registry.documents import SETTINGS, no_workspace
from trimtab.controlplane.registry.edit import EditError, change, locked
from trimtab.controlplane.registry.keys import tenants
from trimtab.controlplane.registry.proposal import warnings_of
from trimtab.core.clock import Clock, SystemClock, instant_ns
from trimtab.core.errors import ConfigError
from trimtab.core.tenancy import Budget, Grant, Tenant
from trimtab.foundations.config import (
    Path,
    Problem,
    Reader,
    append_item,
    did_you_mean,
    put_field,
    remove_item,
)

Period = Literal["day", "month"]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money: a tenant's, a channel's or a key's. `name`: `shop`, `shop/web`, `key_0123456789abcdef`."""

    name: str
    """Of keys of a lineage: that of the first of them, under which all are counted."""
    tenant: str
    file: str
    paths: tuple[Path, ...]
    """Where its budgets are declared: one place, or one for each key of the lineage."""
    keys: tuple[str, ...]
    """Ids of the keys that it is, where it is a key's."""
    budgets: list[Budget]

    def budget(self, period: Period) -> Budget | None:
        return next((budget for budget in self.budgets if budget.period == period), None)


class BudgetChange(msgspec.Struct, frozen=True, kw_only=True):
    """What was done. `before` and `after` are equal where nothing was: it stood so already."""

    scope: str
    period: Period
    file: str
    before: Budget | None
    after: Budget | None
    warnings: tuple[Problem, ...] = ()
    """What `check` says now and did not say before."""

    @property
    def changed(self) -> bool:
        return self.before != self.after


def scopes(folder: FilePath) -> list[Scope]:
    """All there are: each tenant, then its channels, then its keys. Raises ConfigError for tenants that can't be
    read."""
    return [scope for file, tenant in tenants(folder, "") for scope in _of(file, tenant)]


class UnknownScopeError(EditError):
    """There is no such tenant, channel or key; `known`: what there is."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no tenant, channel or key {name!r}. {did_you_mean(name, known)}".rstrip())
        self.name, self.known = name, known


def scope(found: list[Scope], name: str) -> Scope:
    """The one of this name, or of this key's id. Raises UnknownScopeError."""
    for one in found:
        if name == one.name or name in one.keys:
            return one
    raise UnknownScopeError(name, [one.name for one in found] + [key for one in found for key in one.keys])


def set_budget(
    folder: FilePath,
    name: str,
    period: Period,
    usd: Decimal,
    *,
    tz: str | None = None,
    reason: str = "",
    clock: Clock | None = None,
) -> BudgetChange:
    """Declare what may be spent a period, or change it; grants stay. `tz`: the zone in which it turns; None: as it is,
    at first UTC. Raises EditError, ConfigError; nothing is written then."""

    def make(before: Budget | None) -> Budget:
        if before is None:
            return Budget(period=period, usd=usd, tz=tz or "UTC")
        return msgspec.structs.replace(before, usd=usd, tz=tz or before.tz)

    return _change(folder, name, lambda _: period, make, "budget.set", reason, clock or SystemClock())


def remove_budget(
    folder: FilePath, name: str, period: Period, *, reason: str = "", clock: Clock | None = None
) -> BudgetChange:
    """Remove it with its grants. Raises EditError, ConfigError; nothing is written then."""
    return _change(folder, name, lambda _: period, lambda _: None, "budget.remove", reason, clock or SystemClock())


def grant(
    folder: FilePath,
    name: str,
    period: Period | None,
    usd: Decimal,
    until: str,
    *,
    reason: str,
    clock: Clock | None = None,
) -> BudgetChange:
    """Extra money until a time, in the operating system's user's name. A grant that is there already to the letter is
    not given again. `period` None: the scope's only budget. Raises EditError, ConfigError; nothing is written then."""
    clock = clock or SystemClock()
    if instant_ns(until) <= clock.wall_ns():
        raise EditError(f"a grant until {until} would have ended already")
    given = Grant(usd=usd, until=until, by=actor())

    def which(found: Scope) -> Period:
        if period is not None:
            return period
        if len(found.budgets) == 1:
            return found.budgets[0].period
        if found.budgets:
            raise EditError(f"{found.name} has a budget a day and one a month: say which by --period")
        raise _without(found, "day")

    def make(before: Budget | None) -> Budget | None:
        if before is None or given in before.grants:
            return before
        return msgspec.structs.replace(before, grants=[*before.grants, given])

    return _change(folder, name, which, make, "budget.grant", reason, clock)


def _without(found: Scope, period: Period) -> EditError:
    hint = f"Give it one: trimtab budget set {found.name} --period {period} --usd N"
    return EditError(f"{found.name} has no budget a {period} that could be added to. {hint}")


def _change(
    folder: FilePath,
    name: str,
    which: Callable[[Scope], Period],
    make: Callable[[Budget | None], Budget | None],
    action: str,
    reason: str,
    clock: Clock,
) -> BudgetChange:
    if not (folder / SETTINGS).is_file():
        raise ConfigError([str(no_workspace(folder))])
    with locked(folder):
        found = scope(scopes(folder), name)
        period = which(found)
        before = found.budget(period)
        after = make(before)
        if after == before:
            after = before  # to the letter: 5.00 is 5
        if after is None and action == "budget.grant":
            raise _without(found, period)
        done = BudgetChange(scope=found.name, period=period, file=found.file, before=before, after=after)
        if not done.changed:
            return done
        warnings: list[Problem] = []

        def edit(text: str, tenant: Tenant) -> str:
            for path in found.paths:
                text = _patched(text, path, _budgets(tenant, path), period, after)
            warnings.extend(warnings_of(folder, found.file, text, clock))
            return text

        def verify(old: Tenant, new: Tenant) -> bool:
            for path in found.paths:
                old = _with(old, path, _replaced(_budgets(old, path), period, after))
            return new == old

        told = Told(was=_plain(before), now=_plain(after), reason=reason)
        change(
            folder,
            found.file,
            Reader(Tenant),
            edit,
            verify,
            action=action,
            subject=f"{found.name}/{period}",
            clock=clock,
            told=told,
        )
    return msgspec.structs.replace(done, warnings=tuple(warnings))


def _patched(text: str, path: Path, budgets: list[Budget], period: Period, after: Budget | None) -> str:
    """The document with the list at `path` as it is to be: the lines that must change, and no others."""
    index = next((index for index, budget in enumerate(budgets) if budget.period == period), None)
    if index is None:
        return text if after is None else append_item(text, path, _plain(after))
    if after is None:
        return remove_item(text, (*path, index))
    before = budgets[index]
    if before.usd != after.usd:
        text = put_field(text, (*path, index, "usd"), format(after.usd, "f"))
    if before.tz != after.tz:
        text = put_field(text, (*path, index, "tz"), after.tz)
    for more in after.grants[len(before.grants) :]:
        text = append_item(text, (*path, index, "grants"), _plain(more))
    return text


def _replaced(budgets: list[Budget], period: Period, after: Budget | None) -> list[Budget]:
    if after is None:
        return [budget for budget in budgets if budget.period != period]
    if any(budget.period == period for budget in budgets):
        return [after if budget.period == period else budget for budget in budgets]
    return [*budgets, after]


def _plain(value: Budget | Grant | None) -> Any:
    """As documents write it: money as text, defaults left out."""
    return msgspec.to_builtins(value)


# Where budgets stand in a tenant's document.


def _of(file: str, tenant: Tenant) -> list[Scope]:
    places: dict[str, tuple[list[Path], list[str], list[Budget]]] = {tenant.id: ([("budgets",)], [], tenant.budgets)}
    for name, channel in tenant.channels.items():
        places[f"{tenant.id}/{name}"] = ([("channels", name, "cost", "budgets")], [], channel.cost.budgets)
    for index, key in enumerate(tenant.keys):
        paths, keys, _ = places.setdefault(key.account, ([], [], key.budgets))
        paths.append(("keys", index, "budgets"))
        keys.append(key.id)
    return [
        Scope(name=name, tenant=tenant.id, file=file, paths=tuple(paths), keys=tuple(keys), budgets=budgets)
        for name, (paths, keys, budgets) in places.items()
    ]


def _budgets(tenant: Tenant, path: Path) -> list[Budget]:
    if path[0] == "channels":
        return tenant.channels[str(path[1])].cost.budgets
    return tenant.keys[int(path[1])].budgets if path[0] == "keys" else tenant.budgets


def _with(tenant: Tenant, path: Path, budgets: list[Budget]) -> Tenant:
    replace = msgspec.structs.replace
    if path[0] == "channels":
        name = str(path[1])
        channel = tenant.channels[name]
        changed = replace(channel, cost=replace(channel.cost, budgets=budgets))
        return replace(tenant, channels={**tenant.channels, name: changed})
    if path[0] == "keys":
        keys = list(tenant.keys)
        keys[int(path[1])] = replace(keys[int(path[1])], budgets=budgets)
        return replace(tenant, keys=keys)
    return replace(tenant, budgets=budgets)

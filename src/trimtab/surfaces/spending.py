"""Who spent a budget, and when: worked out of the records, by the same rule that books them on accounts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.controlplane import records
from trimtab.controlplane.registry import Scope
from trimtab.core.record import Record
from trimtab.dataplane.spend import BudgetRow, Window, window_at
from trimtab.surfaces.budgets import LONGEST_REQUEST_NS, MONEY_KINDS, reserved_ns

By = Literal["channel", "key", "variant"]
OnCorrupt = Callable[[records.CorruptSegment], None]


class Purse(msgspec.Struct, frozen=True):
    """A budget by name; hashable, as what the sums are kept by."""

    scope: str
    """`shop`, `shop/web` or `key_0123456789abcdef`."""
    period: Literal["day", "month"]
    tz: str


class Spender(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel, key or variant spent of a budget. `name` None: it cost something, and no variant answered."""

    by: By
    name: str | None
    spent_nanousd: int
    requests: int


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What went from a budget in one of its periods. `window`: the day or month there, as on the calendar."""

    budget: str
    period: str
    tz: str
    window: str
    spent_nanousd: int
    requests: int


def purse(row: BudgetRow) -> Purse:
    return Purse(row.name, row.period, row.tz)  # type: ignore[arg-type]  # a row's period is one of the two


def spenders(
    folder: Path, budgets: Iterable[BudgetRow], scopes: Iterable[Scope], top: int, on_corrupt: OnCorrupt
) -> dict[Purse, list[Spender]]:
    """Of each budget the channels, keys and variants that spent most of it in its running period, `top` of each."""
    windows = {purse(row): [_window(purse(row), row.ends_wall_ns - 1)] for row in budgets}
    sums: dict[Purse, dict[tuple[By, str | None], list[int]]] = {one: {} for one in windows}
    for one, _, row in _rows(folder, windows, scopes, on_corrupt):
        whose: tuple[tuple[By, str | None], ...] = (
            ("channel", f"{row.tenant}/{row.channel}"),
            ("key", row.key_id),
            ("variant", row.variant),
        )
        for name in whose:
            _add(sums[one].setdefault(name, [0, 0]), row)
    return {one: list(_most(found, top)) for one, found in sums.items()}


def history(
    folder: Path, purses: Iterable[Purse], scopes: Iterable[Scope], last: int, now_ns: int, on_corrupt: OnCorrupt
) -> list[Spent]:
    """What was spent of each budget in each of its `last` periods, the running one last; those before the first record
    are left out."""
    windows = {one: _back(one, last, now_ns) for one in purses}
    sums = {one: [[0, 0] for _ in found] for one, found in windows.items()}
    for one, index, row in _rows(folder, windows, scopes, on_corrupt):
        _add(sums[one][index], row)
    return [
        Spent(
            budget=one.scope,
            period=one.period,
            tz=one.tz,
            window=window.id,
            spent_nanousd=sums[one][index][0],
            requests=sums[one][index][1],
        )
        for one, found in windows.items()
        for index, window in enumerate(found)
        if index >= _first(sums[one])
    ]


def _rows(
    folder: Path, windows: Mapping[Purse, list[Window]], scopes: Iterable[Scope], on_corrupt: OnCorrupt
) -> Iterator[tuple[Purse, int, Record]]:
    """Each row that cost something with each budget that it counts on, and the number of its window there."""
    accounts = {key: scope.name for scope in scopes for key in scope.keys}
    starts: dict[str, list[tuple[Purse, list[int]]]] = {}
    for one, found in windows.items():
        starts.setdefault(one.scope, []).append((one, [window.start_ns for window in found]))
    since = min((found[0].start_ns for found in windows.values()), default=0) - LONGEST_REQUEST_NS
    if not windows:
        return
    for row in records.query(folder, kinds=MONEY_KINDS, since_wall_ns=since, on_corrupt=on_corrupt):
        if not row.cost.settled_nanousd or row.tenant is None:
            continue
        at_ns = reserved_ns(row)
        key = row.key_id or ""
        for name in (row.tenant, f"{row.tenant}/{row.channel}", accounts.get(key, key)):
            for one, begun in starts.get(name, ()):
                index = bisect_right(begun, at_ns) - 1
                if index >= 0 and at_ns < windows[one][index].end_ns:
                    yield one, index, row


def _add(sum_: list[int], row: Record) -> None:
    sum_[0] += row.cost.settled_nanousd or 0
    sum_[1] += row.kind == "request"


def _most(found: Mapping[tuple[By, str | None], list[int]], top: int) -> Iterator[Spender]:
    for wanted in ("channel", "key", "variant"):
        mine = [(spent, requests, name) for (by, name), (spent, requests) in found.items() if by == wanted]
        for spent, requests, name in sorted(mine, key=lambda one: (-one[0], one[2] or ""))[:top]:
            yield Spender(by=wanted, name=name, spent_nanousd=spent, requests=requests)


def _window(one: Purse, wall_ns: int) -> Window:
    return window_at(one.period, one.tz, wall_ns)


def _back(one: Purse, last: int, now_ns: int) -> list[Window]:
    """The running window and those before it, oldest first."""
    found = [_window(one, now_ns)]
    while len(found) < last:
        found.append(_window(one, found[-1].start_ns - 1))
    return found[::-1]


def _first(sums: list[list[int]]) -> int:
    """The first window in which anything was spent; the running one where nothing ever was."""
    return next((index for index, sum_ in enumerate(sums) if any(sum_)), len(sums) - 1)


__all__ = ["Purse", "Spender", "Spent", "history", "purse", "spenders"]

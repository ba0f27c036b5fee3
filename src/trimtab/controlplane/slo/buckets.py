"""Counts by time: minutes of the last day, and longer steps of all of a window. Adding is all that happens to them, so
rows may come in any order, late ones too, and the same rows make the same buckets.

Memory: at most 1,560 minutes and 2,976 steps (a month in quarters of an hour; 2,184 hours for 90 days) an objective,
those alone in which something happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from trimtab.controlplane.slo.judge import Told
from trimtab.controlplane.slo.window import HOUR_NS, MINUTE_NS, Window

FINE_NS: Final = 26 * HOUR_NS
"""For how long minutes are kept."""

Row = tuple[int, int, int, int]
"""(number of the step since 1970, events, spent, unknown)"""


class Sum(msgspec.Struct, frozen=True):
    """Of a stretch of time. `spent`: bad requests or nano-dollars."""

    events: int = 0
    spent: int = 0
    unknown: int = 0


class BucketsState(msgspec.Struct, frozen=True):
    """Both series, by time."""

    fine: list[Row]
    coarse: list[Row]


class Buckets:
    """Of one objective. `trim` says what is too old; it does not come back."""

    def __init__(self, window: Window) -> None:
        self._step_ns, self._kept_ns = window.step_ns, window.kept_ns
        self._fine: dict[int, Sum] = {}
        self._coarse: dict[int, Sum] = {}
        self._fine_from = self._coarse_from = 0

    def add(self, told: Told) -> None:
        _add(self._fine, told.at_ns // MINUTE_NS, self._fine_from, told)
        _add(self._coarse, told.at_ns // self._step_ns, self._coarse_from, told)

    def trim(self, now_ns: int) -> None:
        """Forget what no window reaches any more, now or later."""
        self._fine_from = max(self._fine_from, (now_ns - FINE_NS) // MINUTE_NS)
        self._coarse_from = max(self._coarse_from, (now_ns - self._kept_ns) // self._step_ns)
        self._fine = {at: sum_ for at, sum_ in self._fine.items() if at >= self._fine_from}
        self._coarse = {at: sum_ for at, sum_ in self._coarse.items() if at >= self._coarse_from}

    def total(self, start_ns: int, now_ns: int) -> Sum:
        """Of the steps that reach into [start, now]: at most one step more than asked for."""
        events = spent = unknown = 0
        for _, one in self.rows(start_ns, now_ns):
            events, spent, unknown = events + one.events, spent + one.spent, unknown + one.unknown
        return Sum(events, spent, unknown)

    def rows(self, start_ns: int, now_ns: int) -> Iterator[tuple[int, Sum]]:
        """(first instant, sum) of those steps in order: minutes where they go back that far."""
        fine = now_ns - start_ns < FINE_NS
        step_ns, series = (MINUTE_NS, self._fine) if fine else (self._step_ns, self._coarse)
        first, last = start_ns // step_ns, now_ns // step_ns
        for at in sorted(series):
            if first <= at <= last:
                yield at * step_ns, series[at]

    def state(self) -> BucketsState:
        return BucketsState(_rows(self._fine), _rows(self._coarse))

    @classmethod
    def from_state(cls, window: Window, state: BucketsState) -> Buckets:
        made = cls(window)
        made._fine = {at: Sum(*rest) for at, *rest in state.fine}
        made._coarse = {at: Sum(*rest) for at, *rest in state.coarse}
        return made


def _add(series: dict[int, Sum], at: int, least: int, told: Told) -> None:
    if at >= least:
        was = series.get(at)
        series[at] = (
            Sum(told.events, told.spent, told.unknown)
            if was is None
            else Sum(was.events + told.events, was.spent + told.spent, was.unknown + told.unknown)
        )


def _rows(series: dict[int, Sum]) -> list[Row]:
    return [(at, one.events, one.spent, one.unknown) for at, one in sorted(series.items())]

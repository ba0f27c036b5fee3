"""The rules: ours (`controlplane/slo`), and the pairs of windows of the Site Reliability Workbook alone."""

from __future__ import annotations

from typing import Final, NamedTuple

from benchmarks.slo_paging.year import ALLOWED, DAY, Minute
from trimtab.controlplane.slo import Engine, Objective, Window
from trimtab.controlplane.slo.window import MINUTE_NS, bad_rate, pairs
from trimtab.core.record import blank
from trimtab.core.rows import Met

LOOK: Final = 30
"""Minutes from one look of ours to the next: an alarm lasts as long. Every 3 while an incident lasts untold."""
T0: Final = 20_800 * DAY * MINUTE_NS


class Raised(NamedTuple):
    page: bool
    ticket: bool


NOTHING: Final = Raised(False, False)


class Ours:
    """The engine as `trimtab slo watch` asks it."""

    def __init__(self) -> None:
        window = Window.parse("30d")
        made = Objective(id="t/c/latency", kind="latency", tenant="t", channel="c", window=window, target=1 - ALLOWED)
        self._engine = Engine([made])
        self._rows = [blank("rec_good", 0), blank("rec_bad", 0)]
        for row, good in zip(self._rows, (True, False), strict=True):
            row.tenant, row.channel, row.status, row.met = "t", "c", 200, Met(latency=good)
        self._last = NOTHING

    def passed(self, at: int, minute: Minute, eager: bool) -> Raised:
        now_ns = T0 + at * MINUTE_NS
        for row, count in zip(self._rows, (minute.events - minute.bad, minute.bad), strict=True):
            row.t_wall_ns = now_ns
            for _ in range(count):
                self._engine.observe(row)
        if at % DAY == 0:
            self._engine.trim(now_ns)
        if at % LOOK and not (eager and at % 3 == 0):
            return self._last
        alerts = self._engine.at(now_ns + MINUTE_NS)[0].alerts
        severities = {one.severity for one in alerts}
        self._last = Raised("page" in severities, "ticket" in severities)
        return self._last


class Pairs:
    """Looked at every minute, without more evidence than the two windows themselves."""

    def __init__(self) -> None:
        self._events, self._bad = [0], [0]
        self._pairs = pairs(Window.parse("30d"))

    def passed(self, at: int, minute: Minute, eager: bool) -> Raised:
        self._events.append(self._events[-1] + minute.events)
        self._bad.append(self._bad[-1] + minute.bad)
        over = {
            one.severity
            for one in self._pairs
            if all(
                self._over(ns // MINUTE_NS, bad_rate(one.factor(Window.parse("30d")), ALLOWED))
                for ns in (one.short_ns, one.long_ns)
            )
        }
        return Raised("page" in over, "ticket" in over)

    def _over(self, span: int, rate: float) -> bool:
        start = max(0, len(self._events) - 1 - span)
        events = self._events[-1] - self._events[start]
        return events > 0 and self._bad[-1] - self._bad[start] > rate * events

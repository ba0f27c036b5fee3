"""The SLO engine: records in, states of budgets out. No clock, no I/O: what is told of a time is a function of the
rows and that time, in whatever order they came.

A budget is an allowance, what is spent of it and what is left, of bad requests or of nano-dollars. It may be overdrawn,
and then says so. An alert is raised only with a certificate of the statistics core:

- page: the share of bad requests is above that of a burn of 6 (by e-detector), or the two windows of a page rule are
  over their factor and the share is above the budget's own (by e-detector);
- ticket: the share is above the budget's own (by e-detector, over the hours of the window), or the two windows of a
  ticket rule are over their factor and one of the detectors says that the share has risen;
- of money: nothing is left (page), or nothing will be at the slowest pace of the look-back (ticket).

Both detectors of a page have half of `false_pages_per_year` each. An alert cites which of them raised it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from trimtab.controlplane.slo.alarm import Alarm, as_rate, run_ns, watch
from trimtab.controlplane.slo.buckets import FINE_NS, Buckets, BucketsState, Sum
from trimtab.controlplane.slo.forecast import Forecast, forecast, lookback_ns
from trimtab.controlplane.slo.judge import told
from trimtab.controlplane.slo.objectives import Objective
from trimtab.controlplane.slo.window import DAY_NS, HOUR_NS, MINUTE_NS, PAIRS, Severity, bad_rate, pairs, short
from trimtab.core.canonical import digest
from trimtab.core.record import Record
from trimtab.foundations.stats import Certificate, Rate

State = Literal["ok", "burning", "exhausted", "insufficient_data"]
PAGE_BURN: Final = 6.0
_QUIET_NS: Final = 30 * MINUTE_NS
_QUIET_SLOW_NS: Final = 6 * HOUR_NS
BURNS_NS: Final = tuple(sorted({ns for pair in PAIRS for ns in (pair.short_ns, pair.long_ns)}))


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Of a window. `unit`: bad requests, whole ones, or nano-dollars. `left` and `left_share` may be below 0;
    `left_share` is None where nothing is allowed yet."""

    unit: Literal["requests", "nanousd"]
    events: int
    """Requests that count."""
    unknown: int
    """Requests of which nothing can be told."""
    allowance: int
    spent: int
    left: int
    left_share: float | None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`by`: `e-detector`, the pairs of windows that are over (`5m/1h`), `spent` or `forecast`. `burn`: how many times
    faster than the budget allows, in the short window of what raised it. `since_ns`: when the detector alarmed; None:
    of money."""

    objective: str
    severity: Severity
    since_ns: int | None
    by: tuple[str, ...]
    burn: float | None
    certificate: Certificate


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """An objective at a time. `why`: of the state, in words. `burns`: by window; None: nothing happened in it.
    `certificate`: bounds of the share of bad requests in the window; None for money. `frozen`: why releases should
    wait; None: they need not."""

    objective: Objective
    state: State
    why: str
    since_ns: int
    until_ns: int
    budget: Budget
    burns: dict[str, float | None]
    last_ns: int | None
    certificate: Certificate | None
    forecast: Forecast | None
    alerts: tuple[Alert, ...]
    frozen: str | None


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """All that the engine keeps. `of`: digest of the objectives. `after`: the last row of each worker, for who reads
    on."""

    of: str
    after: dict[int, int]
    tracks: dict[str, BucketsState]


class Engine:
    """See the module. Not for threads; a row costs 2 us, an objective that is asked about up to 30 ms."""

    def __init__(self, objectives: Iterable[Objective]) -> None:
        self.objectives = list(objectives)
        self._tracks = {one.id: Buckets(one.window) for one in self.objectives}
        self._places: dict[tuple[str, str | None], list[Objective]] = {}
        for one in self.objectives:
            self._places.setdefault((one.tenant, one.channel), []).append(one)
        self.after: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Engine {len(self.objectives)} objectives, after {self.after}>"

    def observe(self, row: Record) -> None:
        """Count it. Rows may come in any order, each once: `records.query(after=engine.after)` gives the new ones."""
        if row.worker is not None and row.seq is not None:
            self.after[row.worker] = max(row.seq, self.after.get(row.worker, 0))
        if row.tenant is None:
            return
        places = [(row.tenant, None)] if row.channel is None else [(row.tenant, None), (row.tenant, row.channel)]
        for place in places:
            for objective in self._places.get(place, ()):
                found = told(objective, row)
                if found is not None:
                    self._tracks[objective.id].add(found)

    def trim(self, now_ns: int) -> None:
        """Forget what is too old for every window. Call it before rows of long ago are read, and now and then."""
        for buckets in self._tracks.values():
            buckets.trim(now_ns)

    def at(self, now_ns: int) -> list[Status]:
        """Every objective, as declared."""
        return [_status(one, self._tracks[one.id], now_ns) for one in self.objectives]

    def state(self) -> EngineState:
        return EngineState(
            of=digest(self.objectives),
            after=dict(sorted(self.after.items())),
            tracks={id: buckets.state() for id, buckets in self._tracks.items()},
        )

    @classmethod
    def from_state(cls, objectives: Iterable[Objective], state: EngineState) -> Engine:
        """Goes on where `state()` was taken. Raises ValueError where it was of other objectives: what counts as bad may
        have changed, so the rows must be read again."""
        made = cls(objectives)
        if state.of != digest(made.objectives):
            raise ValueError("the state is of other objectives")
        made.after = dict(state.after)
        made._tracks = {one.id: Buckets.from_state(one.window, state.tracks[one.id]) for one in made.objectives}
        return made


def _status(objective: Objective, buckets: Buckets, now_ns: int) -> Status:
    start_ns, until_ns = objective.window.span(now_ns)
    whole = buckets.total(start_ns, now_ns)
    budget = _budget(objective, whole, now_ns)
    ahead = forecast(objective, buckets, budget.left, now_ns) if whole.events >= objective.needs else None
    alerts = _money_alerts(objective, budget, ahead) if objective.is_money else _alerts(objective, buckets, now_ns)
    last_ns = max((at_ns for at_ns, one in buckets.rows(start_ns, now_ns) if one.events), default=None)
    state, why = _state(objective, budget, alerts, last_ns, now_ns)
    return Status(
        objective=objective,
        state=state,
        why=why,
        since_ns=start_ns,
        until_ns=until_ns,
        budget=budget,
        burns={short(ns): burn(objective, buckets, ns, now_ns) for ns in BURNS_NS if ns < objective.window.nominal_ns},
        last_ns=last_ns,
        certificate=None if objective.is_money else _bounds(whole),
        forecast=ahead,
        alerts=tuple(alerts),
        frozen=_frozen(objective, budget, state),
    )


def _budget(objective: Objective, whole: Sum, now_ns: int) -> Budget:
    allowance = objective.allowance(whole.events, now_ns)
    left = allowance - whole.spent
    return Budget(
        unit="nanousd" if objective.is_money else "requests",
        events=whole.events,
        unknown=whole.unknown,
        allowance=allowance,
        spent=whole.spent,
        left=left,
        left_share=left / allowance if allowance else None,
    )


def burn(objective: Objective, buckets: Buckets, span_ns: int, now_ns: int) -> float | None:
    """How many times faster than the budget allows it was spent in the last `span_ns`."""
    one = buckets.total(now_ns - span_ns, now_ns)
    if objective.is_money:
        even = objective.allowance(0, now_ns) * span_ns / objective.window.nominal_ns
        return one.spent / even if even else None
    return one.spent / one.events / float(objective.allowed) if one.events else None


def _state(
    objective: Objective, budget: Budget, alerts: list[Alert], last_ns: int | None, now_ns: int
) -> tuple[State, str]:
    """A budget that is gone says so only where there was enough to count; an alert has its own evidence."""
    enough = budget.events >= objective.needs and not (objective.is_money and budget.unknown)
    if budget.left <= 0 and (enough or (objective.is_money and budget.spent)):
        return "exhausted", "nothing is left" if budget.left == 0 else "more is spent than was allowed"
    if alerts:
        return "burning", ", ".join(f"{one.severity} by {' and '.join(one.by)}" for one in alerts)
    if objective.is_money and budget.unknown:
        return "insufficient_data", f"{budget.unknown:,} requests have no price"
    if not enough:
        if not budget.events and budget.unknown:
            return "insufficient_data", f"of {budget.unknown:,} requests nothing can be told"
        return "insufficient_data", f"{budget.events:,} of {objective.needs:,} events"
    stale_ns = lookback_ns(objective)
    if last_ns is None or now_ns - last_ns > stale_ns:
        return "insufficient_data", f"no event in the last {short(stale_ns)}"
    return "ok", ""


def _frozen(objective: Objective, budget: Budget, state: State) -> str | None:
    least, share = objective.freeze_below, budget.left_share
    if least is None or state == "insufficient_data" or budget.events < objective.needs or share is None:
        return None
    if share < least or budget.left <= 0:
        return f"{share:.1%} of the budget of {objective.id} is left, releases wait below {least:.0%}"
    return None


def _alerts(objective: Objective, buckets: Buckets, now_ns: int) -> list[Alert]:
    allowed = float(objective.allowed)
    minutes = list(buckets.rows(now_ns - FINE_NS + MINUTE_NS, now_ns))
    # the coarse steps from the window's begin; where that is within the last day, minutes say it already
    start_ns, _ = objective.window.span(now_ns)
    steps = list(buckets.rows(min(start_ns, now_ns - FINE_NS), now_ns))
    half_ns = run_ns(objective.false_pages_per_year, 0.5)
    fast_rate, own_rate = bad_rate(PAGE_BURN, allowed), as_rate(objective.allowed)
    fast = watch(minutes, fast_rate, MINUTE_NS, half_ns, _QUIET_NS, now_ns)
    risen = watch(minutes, own_rate, MINUTE_NS, half_ns, _QUIET_NS, now_ns)
    year_ns = run_ns(objective.false_pages_per_year, 1)
    slow = watch(
        [row for row in steps if row[0] >= start_ns - objective.window.step_ns],
        own_rate, objective.window.step_ns, year_ns, _QUIET_SLOW_NS, now_ns,
    )  # fmt: skip
    page = _alert(objective, buckets, "page", fast, [risen], now_ns)
    ticket = _alert(objective, buckets, "ticket", slow, [risen, slow], now_ns)
    return [one for one in (page, ticket) if one is not None]


def _alert(
    objective: Objective,
    buckets: Buckets,
    severity: Severity,
    alone: Alarm | None,
    beside: list[Alarm | None],
    now_ns: int,
) -> Alert | None:
    """`alone` raises it by itself, one of `beside` together with a pair of windows."""
    over = [
        pair
        for pair in pairs(objective.window)
        if pair.severity == severity
        and all(
            _over(objective, buckets.total(now_ns - ns, now_ns), pair.factor(objective.window))
            for ns in (pair.short_ns, pair.long_ns)
        )
    ]
    backed = next((alarm for alarm in beside if alarm is not None), None)
    cited = alone or (backed if over else None)
    if cited is None:
        return None
    named = over if backed is not None else []
    span_ns = named[0].short_ns if named else (HOUR_NS if severity == "page" else DAY_NS)
    return Alert(
        objective=objective.id,
        severity=severity,
        since_ns=cited.since_ns,
        by=(*(("e-detector",) if alone else ()), *(pair.name for pair in named)),
        burn=burn(objective, buckets, span_ns, now_ns),
        certificate=cited.certificate,
    )


def _over(objective: Objective, one: Sum, factor: float) -> bool:
    return one.events > 0 and one.spent > bad_rate(factor, float(objective.allowed)) * one.events


def _money_alerts(objective: Objective, budget: Budget, ahead: Forecast | None) -> list[Alert]:
    if budget.spent and budget.left <= 0:
        exact = Certificate(
            claim="nano-dollars spent in the window, at least the allowance",
            method="sum of records",
            estimate=float(budget.spent),
            lower=float(budget.spent),
            upper=float(budget.spent),
            error=0.0,
            observations=budget.events,
        )
        return [_money_alert(objective, "page", "spent", exact)]
    if ahead is not None and ahead.latest_ns is not None:
        return [_money_alert(objective, "ticket", "forecast", ahead.certificate)]
    return []


def _money_alert(objective: Objective, severity: Severity, by: str, certificate: Certificate) -> Alert:
    return Alert(objective=objective.id, severity=severity, since_ns=None, by=(by,), burn=None, certificate=certificate)


def _bounds(whole: Sum) -> Certificate:
    rate = Rate()
    rate.hits, rate.total = whole.spent, whole.events
    return rate.certificate()

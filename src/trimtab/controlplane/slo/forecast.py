"""When will the budget be gone, if things go on as in the last while? With an interval, or not at all.

Requests: the share of bad ones lies, with 95 % confidence, within the bounds that `Rate` gives from the look-back's
counts; the traffic is taken as it was. Money: the pace of 20 equal parts of the look-back; a further one like these is
slower or faster than all of them with probability 2/21. From a pace the budget is followed step by step: what leaves a
window that rolls gives back what it had taken, and a period of the calendar ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from trimtab.controlplane.slo.buckets import Buckets, Sum
from trimtab.controlplane.slo.objectives import Objective
from trimtab.controlplane.slo.window import DAY_NS, HOUR_NS
from trimtab.core.clock import NS_PER_S
from trimtab.foundations.stats import Certificate, Rate

LEAST_EVENTS: Final = 20
"""Of the look-back; with fewer there is no forecast."""
PARTS: Final = 20


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """When nothing is left: at the pace's upper bound, as it was, at its lower bound; None: not within `until_ns`,
    which is the end of the period or, of one that rolls, a window from now. `lookback_ns`: what it is drawn from.
    `certificate`: of the share of bad requests, or of the nano-dollars a second."""

    earliest_ns: int | None
    expected_ns: int | None
    latest_ns: int | None
    until_ns: int
    lookback_ns: int
    certificate: Certificate


def lookback_ns(objective: Objective) -> int:
    """A thirtieth of the window, an hour at least and a day at most."""
    return min(max(objective.window.nominal_ns // 30, HOUR_NS), DAY_NS)


def forecast(objective: Objective, buckets: Buckets, left: int, now_ns: int) -> Forecast | None:
    """None: too few events in the look-back."""
    back_ns = lookback_ns(objective)
    recent = buckets.total(now_ns - back_ns, now_ns)
    if recent.events < LEAST_EVENTS:
        return None
    start_ns, until_ns = objective.window.span(now_ns)
    allowed = float(objective.allowed)
    if objective.is_money:
        certificate, slopes = _money(buckets, back_ns, now_ns)
    else:
        certificate, slopes = _share(recent, allowed, back_ns)
    leaving: list[tuple[float, float]] = []
    if objective.window.period is None:
        for at_ns, one in buckets.rows(start_ns, now_ns):
            gone_ns = at_ns + objective.window.step_ns + objective.window.nominal_ns
            leaving.append(((gone_ns - now_ns) / NS_PER_S, one.spent - allowed * one.events))
    horizon_s = (until_ns - now_ns) / NS_PER_S
    ends = [_ends_ns(empty_s(left, slope, leaving, horizon_s), now_ns) for slope in slopes]
    return Forecast(
        earliest_ns=ends[0],
        expected_ns=ends[1],
        latest_ns=ends[2],
        until_ns=until_ns,
        lookback_ns=back_ns,
        certificate=certificate,
    )


def empty_s(left: float, slope: float, leaving: Iterable[tuple[float, float]], horizon_s: float) -> float | None:
    """Seconds until `left` is used up at `slope` a second, where at each (second, amount) of `leaving`, in order, so
    much comes back; None: not within the horizon."""
    at_s = 0.0
    for next_s, back in (*leaving, (horizon_s, 0.0)):
        if left <= 0:
            return at_s
        end_s = min(max(next_s, at_s), horizon_s)
        after = left + slope * (end_s - at_s)
        if after <= 0:
            return at_s + left / -slope
        left, at_s = after + back, end_s
        if at_s >= horizon_s:
            break
    return None


def _share(recent: Sum, allowed: float, back_ns: int) -> tuple[Certificate, Sequence[float]]:
    """Slopes of what is left, in bad requests a second: at the highest share of bad ones, as seen, at the lowest."""
    rate = Rate()
    rate.hits, rate.total = recent.spent, recent.events
    certificate = rate.certificate()
    per_s = recent.events / (back_ns / NS_PER_S)
    seen = recent.spent / recent.events
    return certificate, [per_s * (allowed - share) for share in (certificate.upper, seen, certificate.lower)]


def _money(buckets: Buckets, back_ns: int, now_ns: int) -> tuple[Certificate, Sequence[float]]:
    part_ns = back_ns // PARTS
    start_ns = now_ns - back_ns
    paces = [0.0] * PARTS
    total = 0
    for at_ns, one in buckets.rows(start_ns, now_ns):
        paces[min(max((at_ns - start_ns) // part_ns, 0), PARTS - 1)] += one.spent / (part_ns / NS_PER_S)
        total += one.spent
    seen = total / (back_ns / NS_PER_S)
    certificate = Certificate(
        claim="nano-dollars a second of a further part like these",
        method="order statistics",
        estimate=seen,
        lower=min(paces),
        upper=max(paces),
        error=2 / (PARTS + 1),
        observations=PARTS,
    )
    return certificate, [-max(paces), -seen, -min(paces)]


def _ends_ns(seconds: float | None, now_ns: int) -> int | None:
    return None if seconds is None else now_ns + int(seconds * NS_PER_S)

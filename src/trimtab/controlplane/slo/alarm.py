"""Has the share of bad requests risen above a rate? The e-detector over buckets: what an alert cites.

A bucket is a batch (`Detector.observe_counts`), so the run length is one of time: an alarm while the rate is not above
comes, on average, at most once in so many minutes (or hours), whatever the traffic. It is walked anew from the buckets
each time that somebody asks, which makes it a function of the records alone: late rows count where they belong. To
begin at the first bucket that is kept costs power against what is older, never validity: sums of bets over fewer
beginnings are smaller.

The last minute is left out (`SETTLE_NS`), since of requests that are under way those that end first are not like the
rest. An alarm lasts `quiet_ns` at least and ends, so that the detector begins anew, once the rate of that long
is not above any more; where nothing comes in it goes on, because nothing says that it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import msgspec

from trimtab.controlplane.slo.buckets import Sum
from trimtab.controlplane.slo.window import HOUR_NS, MINUTE_NS
from trimtab.foundations.stats import Certificate, Detector

SETTLE_NS: Final = MINUTE_NS
YEAR_NS: Final = 365 * 24 * HOUR_NS


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Since when, and the certificate as it was then. `rate`: what the share is above."""

    since_ns: int
    rate: float
    certificate: Certificate


def watch(
    rows: Iterable[tuple[int, Sum]], rate: float, step_ns: int, run_ns: float, quiet_ns: int, now_ns: int
) -> Alarm | None:
    """The alarm that is on at `now_ns`. `run_ns`: mean time between false ones, at least."""
    detector = Detector(rate, max(1.0, run_ns / step_ns))
    recent = _Recent(quiet_ns)
    alarm: Alarm | None = None
    for at_ns, one in rows:
        end_ns = at_ns + step_ns
        if end_ns + SETTLE_NS > now_ns:
            break
        if not one.events:
            continue
        if alarm is not None:
            recent.add(at_ns, one)
            if end_ns - alarm.since_ns >= quiet_ns and recent.spent <= rate * recent.events:
                alarm = None
                detector.reset()
            continue
        detector.observe_counts(one.spent, one.events)
        if detector.alarmed:
            alarm = Alarm(since_ns=end_ns, rate=rate, certificate=detector.certificate())
            recent = _Recent(quiet_ns)
    return alarm


class _Recent:
    """Sums of the last `span_ns`."""

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._rows: deque[tuple[int, Sum]] = deque()
        self.events = self.spent = 0

    def add(self, at_ns: int, one: Sum) -> None:
        self._rows.append((at_ns, one))
        self.events, self.spent = self.events + one.events, self.spent + one.spent
        while self._rows[0][0] <= at_ns - self._span_ns:
            _, old = self._rows.popleft()
            self.events, self.spent = self.events - old.events, self.spent - old.spent


def run_ns(times_per_year: float, share: float) -> float:
    """The run length of a detector that has this share of the false alarms of a year."""
    return YEAR_NS / (times_per_year * share)


def as_rate(allowed: Fraction) -> float:
    """A share as detectors take it: between 0 and 1."""
    return min(max(float(allowed), 1e-9), 1 - 1e-9)

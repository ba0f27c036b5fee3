"""Over which time a budget is counted, and the pairs of windows in which its burn is looked at."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from trimtab.core.clock import NS_PER_S
from trimtab.dataplane.spend.periods import Period, window_at

MINUTE_NS: Final = 60 * NS_PER_S
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS

Severity = Literal["page", "ticket"]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """`days` that roll, or a `period` of the calendar of `tz`. One of the two is None."""

    days: int | None = None
    period: Period | None = None
    tz: str = "UTC"

    @classmethod
    def parse(cls, text: str, tz: str | None = None) -> Window:
        """`30d`, `day` or `month`, as documents write it."""
        period: Period | None = "day" if text == "day" else "month" if text == "month" else None
        return cls(days=int(text[:-1])) if period is None else cls(period=period, tz=tz or "UTC")

    def __str__(self) -> str:
        return self.period or f"{self.days}d"

    @property
    def step_ns(self) -> int:
        """How long a bucket of it is: calendars turn at quarters of an hour, whatever the time zone."""
        return HOUR_NS if self.days else 15 * MINUTE_NS

    @property
    def nominal_ns(self) -> int:
        """Its length; a month has 30 days for rates."""
        return DAY_NS * (self.days or (1 if self.period == "day" else 30))

    @property
    def kept_ns(self) -> int:
        """How far back it may reach."""
        return DAY_NS * ((self.days or (1 if self.period == "day" else 31)) + 1)

    def span(self, now_ns: int) -> tuple[int, int]:
        """(first instant that counts, when the budget is whole again or, of one that rolls, nothing of now counts)."""
        if self.period is None:
            return now_ns - self.nominal_ns, now_ns + self.nominal_ns
        found = window_at(self.period, self.tz, now_ns)
        return found.start_ns, found.end_ns


class Pair(msgspec.Struct, frozen=True):
    """A rule of two windows: the burn must be above the factor in both, in the long one so that it matters, in the
    short one so that it still goes on. `spent`: the share of the budget that goes at that pace in the long window."""

    severity: Severity
    short_ns: int
    long_ns: int
    spent: float

    def factor(self, window: Window) -> float:
        """How many times faster than the budget allows. 14.4, 6, 3 and 1 for 30 days."""
        return self.spent * window.nominal_ns / self.long_ns

    @property
    def name(self) -> str:
        return f"{short(self.short_ns)}/{short(self.long_ns)}"


PAIRS: Final = (
    Pair("page", 5 * MINUTE_NS, HOUR_NS, 0.02),
    Pair("page", 30 * MINUTE_NS, 6 * HOUR_NS, 0.05),
    Pair("ticket", 2 * HOUR_NS, DAY_NS, 0.1),
    Pair("ticket", 6 * HOUR_NS, 3 * DAY_NS, 0.1),
)
"""Beyer et al., "The Site Reliability Workbook" (2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"."""


def pairs(window: Window) -> list[Pair]:
    """Those that say something of this window: of a day's budget no rule is left, since an hour is much of it."""
    return [pair for pair in PAIRS if pair.factor(window) >= 1 and pair.long_ns < window.nominal_ns]


def bad_rate(factor: float, allowed: float) -> float:
    """The share of bad requests at a burn of `factor`: where that leaves no room above (14.4 times 10 % is more than
    all), the middle between the allowed share and all."""
    return min(factor * allowed, (1 + allowed) / 2)


def short(ns: int) -> str:
    """5m, 6h, 3d."""
    for unit, name in ((DAY_NS, "d"), (HOUR_NS, "h"), (MINUTE_NS, "m")):
        if ns % unit == 0:
            return f"{ns // unit}{name}"
    return f"{ns // NS_PER_S}s"

"""Windows of a budget: a day or a month on the calendar of a time zone, as wall time in nanoseconds.

A window begins with the first instant of its first day there, and ends where the next begins. So a day has 23, 24 or
25 hours, where the clock skips midnight the day begins with what comes after it, and where midnight comes twice, with
the first.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

Period = Literal["day", "month"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


class Window(msgspec.Struct, frozen=True):
    """From `start_ns` (inclusive) to `end_ns`; `id` is the local date or month: `2027-01-15`, `2027-01`."""

    start_ns: int
    end_ns: int
    id: str

    def holds(self, wall_ns: int) -> bool:
        return self.start_ns <= wall_ns < self.end_ns


def window_at(period: Period, tz: str, wall_ns: int) -> Window:
    """The window that holds this wall time. Raises ZoneInfoNotFoundError for a zone that is none."""
    zone = ZoneInfo(tz)
    first = (_EPOCH + timedelta(microseconds=wall_ns // 1000)).astimezone(zone).date()
    if period == "month":
        first = first.replace(day=1)
    while True:
        after = _next(period, first)
        end_ns = _begin_ns(after, zone)
        if wall_ns < end_ns:
            break
        first = after  # the clock has gone back past midnight: the date there is yesterday's once more, the day is not
    return Window(_begin_ns(first, zone), end_ns, first.isoformat() if period == "day" else f"{first:%Y-%m}")


def window_named(period: Period, tz: str, id: str) -> Window:
    """The window with this id. Raises ValueError for an id that is none, ZoneInfoNotFoundError for such a zone."""
    zone = ZoneInfo(tz)
    first = date.fromisoformat(id if period == "day" else f"{id}-01")
    return Window(_begin_ns(first, zone), _begin_ns(_next(period, first), zone), id)


def _next(period: Period, first: date) -> date:
    if period == "day":
        return first + _DAY
    return (first + 31 * _DAY).replace(day=1)


def _begin_ns(day: date, zone: ZoneInfo) -> int:
    """Midnight there. PEP 495: of two midnights `fold=0` is the first, one that is skipped becomes the jump itself."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (midnight - _EPOCH) // timedelta(microseconds=1) * 1000

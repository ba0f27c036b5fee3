"""Windows of days and months on the calendars of the world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import instant_ns
from trimtab.dataplane.spend.periods import Period, window_at

HOUR = 3600 * 10**9
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Africa/Cairo",  # skips midnight
    "America/Asuncion",  # 24:00 becomes 23:00
    "America/Havana",  # midnight twice
    "America/Sao_Paulo",
    "America/St_Johns",  # until 2011 back to yesterday, one minute after midnight
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # left a day out
    "Pacific/Kiritimati",
]


@pytest.mark.parametrize(
    ("tz", "inside", "start", "hours", "name"),
    [
        ("Europe/Berlin", "2027-03-28T12:00:00Z", "2027-03-27T23:00:00Z", 23, "2027-03-28"),
        ("Europe/Berlin", "2027-10-31T12:00:00Z", "2027-10-30T22:00:00Z", 25, "2027-10-31"),
        ("Europe/Berlin", "2027-03-29T21:59:59.999Z", "2027-03-28T22:00:00Z", 24, "2027-03-29"),
        ("Australia/Lord_Howe", "2027-04-03T20:00:00Z", "2027-04-03T13:00:00Z", 24.5, "2027-04-04"),
        ("Africa/Cairo", "2024-04-26T00:00:00Z", "2024-04-25T22:00:00Z", 23, "2024-04-26"),
        ("America/Havana", "2024-11-03T05:30:00Z", "2024-11-03T04:00:00Z", 25, "2024-11-03"),
        ("America/St_Johns", "2010-11-07T02:45:00Z", "2010-11-07T02:30:00Z", 25, "2010-11-07"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", 24, "2011-12-31"),
    ],
)
def test_a_day_is_as_long_as_the_clock_makes_it(tz: str, inside: str, start: str, hours: float, name: str) -> None:
    """A day begins with the first instant of its date and ends with the next day's, however many hours that is."""
    window = window_at("day", tz, instant_ns(inside))
    assert (window.start_ns, window.end_ns, window.id) == (
        instant_ns(start),
        instant_ns(start) + int(hours * HOUR),
        name,
    )


@pytest.mark.parametrize(
    ("tz", "inside", "start", "end", "name"),
    [
        ("UTC", "2027-01-31T23:59:59Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z", "2027-01"),
        ("UTC", "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-02"),
        ("Europe/Berlin", "2027-12-31T23:30:00Z", "2027-12-31T23:00:00Z", "2028-01-31T23:00:00Z", "2028-01"),
        ("America/New_York", "2027-04-01T03:59:59Z", "2027-03-01T05:00:00Z", "2027-04-01T04:00:00Z", "2027-03"),
    ],
)
def test_a_month_turns_at_local_midnight_of_the_first(tz: str, inside: str, start: str, end: str, name: str) -> None:
    """A month begins and ends with the first instant of a 1st in its zone, summer time or not."""
    window = window_at("month", tz, instant_ns(inside))
    assert (window.start_ns, window.end_ns, window.id) == (instant_ns(start), instant_ns(end), name)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["day", "month"]),
    st.sampled_from(ZONES),
    st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1)),
    st.integers(0, 999),
)
def test_windows_cover_all_time_once(period: Period, tz: str, at: datetime, ns: int) -> None:
    """Every nanosecond lies in exactly one window: windows touch, each instant of one finds the same one."""
    wall_ns = (at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000 + ns
    window = window_at(period, tz, wall_ns)
    assert window.holds(wall_ns)
    assert window_at(period, tz, window.start_ns) == window == window_at(period, tz, window.end_ns - 1)
    after = window_at(period, tz, window.end_ns)
    assert after.start_ns == window.end_ns
    assert after.id > window.id
    begins = datetime.fromtimestamp(window.start_ns // 10**9, ZoneInfo(tz))
    assert begins.isoformat().startswith(window.id)


def test_times_with_an_offset_are_read_exactly() -> None:
    """RFC 3339 with an offset and a fraction is the same instant as in UTC, without a float in between."""
    assert instant_ns("2027-01-15T09:30:00.000001+01:30") == 1_800_000_000 * 10**9 + 1000

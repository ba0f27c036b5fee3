"""Time, read in one place only, so that the same code runs live and on a virtual clock.

Waiting is plain asyncio. A deadline is an absolute `now_ns` of the clock that made it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
_SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=65536)
def instant_ns(time: str) -> int:
    """RFC 3339, as documents write it, to wall nanoseconds. Raises ValueError for what is no time."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1) * 1000


def instant_text(wall_ns: int) -> str:
    """Wall nanoseconds as documents write them, in whole seconds: `2027-01-31T00:00:00Z`."""
    return datetime.fromtimestamp(wall_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span_s(text: str) -> int | None:
    """`90s`, `30m`, `24h`, `7d` in seconds; None for what is none of these."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    return int(found[1]) * _SPAN_S[found[2]] if found else None


class Clock(Protocol):
    """What every room may ask of time."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds; differences only."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        ...

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking or heavy work off the event loop; inline at a modelled cost in simulation."""
        ...


class SystemClock:
    """The machine's clock, and asyncio's default thread pool."""

    now_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        import asyncio  # 25 ms of a start, which only those who offload pay

        return await asyncio.to_thread(fn, *args, **kwargs)

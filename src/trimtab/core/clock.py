"""Time, read in one place only, so that the same code runs live and on a virtual clock.

Waiting is plain asyncio. A deadline is an absolute `now_ns` of the clock that made it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=65536)
def instant_ns(time: str) -> int:
    """RFC 3339, as documents write it, to wall nanoseconds. Raises ValueError for what is no time."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1) * 1000


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

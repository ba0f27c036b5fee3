"""What gateways do today, as baselines: no gate, a fixed concurrency, a token bucket, Netflix' Gradient2.

All but the first let a request wait, first come, first served, at most for a share of its time to first token.
"""

from __future__ import annotations

import asyncio
from collections import deque

from benchmarks.admission.arrivals import Request
from benchmarks.admission.run import Leave, Refusal, Seen
from trimtab.core.clock import Clock
from trimtab.core.contract import Latency

LEAST, MOST, START = 4, 1000, 20
"""Limits of Gradient2. Netflix' own are 20 and 200 at most: some pods are full with fewer, and several take more."""
SMOOTHING, SPARE, WINDOW, WARM_UP = 0.2, 4, 600, 10
"""As in Netflix' Gradient2Limit: of the newest limit; how much it grows by; of the long average, in answers."""


class _Free:
    """Permission that nobody keeps account of."""

    replica: int | None = None

    def sent(self) -> None: ...

    def wrote(self, tokens: int) -> None: ...

    def end(self, seen: Seen | None) -> None: ...


class NoGate:
    """Everybody, at once."""

    is_gate = False

    async def admit(self, request: Request, latency: Latency) -> Leave | Refusal:
        return _Free()


class Fixed:
    """`limit` at once."""

    is_gate = True

    def __init__(self, limit: float, wait: float) -> None:
        self.limit = max(1.0, limit)
        self.used = 0
        self._wait = wait
        self._queue: deque[asyncio.Future[None]] = deque()

    async def admit(self, request: Request, latency: Latency) -> Leave | Refusal:
        if self.used + 1 <= self.limit and not self._queue:
            self.used += 1
            return _Slot(self)
        if not self._wait:
            return Refusal("slots")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self._wait * latency.ttft_ms / 1000):
                await turn
        except BaseException as gone:
            if turn.done() and not turn.cancelled():  # it was handed over while we were leaving
                if isinstance(gone, TimeoutError):
                    return _Slot(self)
                self.release(None)
                raise
            self._queue.remove(turn)
            if isinstance(gone, TimeoutError):
                return Refusal("slots")
            raise
        return _Slot(self)

    def release(self, seen: Seen | None) -> None:
        """One has ended."""
        if seen is not None:
            self.learn(seen)
        self.used -= 1
        while self._queue and self.used + 1 <= self.limit:
            turn = self._queue.popleft()
            if not turn.done():
                self.used += 1
                turn.set_result(None)

    def learn(self, seen: Seen) -> None:
        """Nothing."""


class _Slot(_Free):
    def __init__(self, of: Fixed) -> None:
        self._of = of

    def end(self, seen: Seen | None) -> None:
        self._of.release(seen)


class Gradient2(Fixed):
    """Netflix' concurrency-limits, Gradient2Limit: the limit follows the ratio of the long average of response times to
    the newest, and grows by a few where that is 1. `first`: by times to the first token, not to the end."""

    def __init__(self, tolerance: float, wait: float, *, first: bool) -> None:
        super().__init__(START, wait)
        self._tolerance, self._first = tolerance, first
        self._long = 0.0
        self._seen = 0

    def learn(self, seen: Seen) -> None:
        took = max(1e-3, seen.ttft_ms if self._first else seen.e2e_ms)
        self._seen += 1
        self._long += (took - self._long) * (1 / self._seen if self._seen <= WARM_UP else 2 / (WINDOW + 1))
        if self._long / took > 2:
            self._long *= 0.95
        if self.used < self.limit / 2:
            return
        gradient = max(0.5, min(1.0, self._tolerance * self._long / took))
        limit = self.limit * (1 - SMOOTHING) + (self.limit * gradient + SPARE) * SMOOTHING
        self.limit = max(LEAST, min(MOST, limit))


class Bucket:
    """Tokens of prompt and answer at a rate (GCRA): ahead of it by `burst_s`, or by as much as one may wait. Answers
    count with the mean of those seen."""

    is_gate = True

    def __init__(self, clock: Clock, rate: float, burst_s: float, wait: float) -> None:
        self._clock, self._rate, self._burst_s, self._wait = clock, rate, burst_s, wait
        self._full_s = 0.0
        """When the bucket is full again."""
        self._mean = 200.0

    async def admit(self, request: Request, latency: Latency) -> Leave | Refusal:
        now = self._clock.now_ns() / 1e9
        wait_s = max(0.0, self._full_s - now - self._burst_s)
        if wait_s > self._wait * latency.ttft_ms / 1000:
            return Refusal("rate", wait_s)
        self._full_s = max(self._full_s, now) + (request.guess + self._mean) / self._rate
        self._mean += 0.02 * (request.output - self._mean)
        if wait_s:
            await asyncio.sleep(wait_s)
        return _Free()

"""Which traces are kept, decided when a request has ended (tail sampling), by its record.

Kept are all faults of the gateway's own, all missed contracts, what a caller with a valid key has marked as sampled,
what was slow beside its channel's last minutes, and of the rest a share by trace id. Refusals (4xx) are of the rest: a
tenant that runs into its limits would otherwise fill the collector by it.

Slow is above a quantile of the channel's answers of the last five minutes, known from 100 of them on and looked up anew
after every 50. With 0.99 that keeps one in a hundred (what is within the sketch's 1 % of the quantile does not count as
above), and for a while all of a channel that has just become slower. An absolute bound is what the contract is for.
"""

from __future__ import annotations

from typing import Final, Literal

from trimtab.controlplane.telemetry.spans import failed
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.record import Record
from trimtab.core.telemetry import Telemetry
from trimtab.core.trace import within
from trimtab.foundations.stats import Windowed
from trimtab.foundations.stats.sketch import ACCURACY

Kept = Literal["error", "missed", "caller", "slow", "share"]
WINDOW_NS: Final = 300 * NS_PER_S
LEAST: Final = 100
EVERY: Final = 50
_PARTS: Final = 5
MOST_CHANNELS: Final = 10_000
"""Channels beyond these have no notion of slow; documents declare them, so that there are as many as were written."""


class Sampler:
    """See the module. One event loop."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._terms, self._clock = telemetry, clock
        self._channels: dict[tuple[str | None, str | None], _Pace] = {}

    def keeps(self, record: Record) -> Kept | None:
        """Why this request's trace is kept; None: it is not. Raises ValueError for a latency that is none."""
        trace = record.trace
        if record.kind != "request" or trace is None:
            return None
        slow = self._is_slow(record)
        met = record.met
        if failed(record):
            return "error"
        if met.latency is False or met.cost is False or met.quality is False:
            return "missed"
        if self._terms.callers and trace.sampled and trace.parent_span_id is not None and record.tenant is not None:
            return "caller"
        if slow:
            return "slow"
        return "share" if within(trace.trace_id, self._terms.share) else None

    def _is_slow(self, record: Record) -> bool:
        """Compared with those before it, and counted among them."""
        if self._terms.slow is None or record.status != 200 or record.e2e_ms is None:
            return False
        owner = record.tenant, record.channel
        pace = self._channels.get(owner)
        if pace is None:
            if len(self._channels) >= MOST_CHANNELS:
                return False
            pace = self._channels[owner] = _Pace()
        return pace.exceeds(record.e2e_ms, self._terms.slow, self._clock.now_ns())


class _Pace:
    """How long one channel's answers take."""

    __slots__ = ("_bound_ms", "_recent", "_seen")

    def __init__(self) -> None:
        self._recent = Windowed(WINDOW_NS, _PARTS)
        self._bound_ms: float | None = None
        self._seen = 0

    def exceeds(self, ms: float, quantile: float, now_ns: int) -> bool:
        if self._seen % EVERY == 0 and self._seen:
            recent = self._recent.sketch(now_ns)
            self._bound_ms = recent.quantile(quantile) if recent.count >= LEAST else None
        self._seen += 1
        slow = self._bound_ms is not None and ms > self._bound_ms / (1 - ACCURACY)
        self._recent.observe(ms, now_ns)
        return slow


__all__ = ["Kept", "Sampler"]

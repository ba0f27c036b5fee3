"""Quantiles of the last minutes, by channel and by tier: how slow it is now, without the guess of a histogram.

Observed with the record, in some microseconds; put together at the scrape, in pieces of a tenth of a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, get_args

from trimtab.controlplane.metrics import of_requests as f
from trimtab.controlplane.metrics.text import Family, sample
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.models import Tier
from trimtab.core.record import Record
from trimtab.foundations.stats import Windowed

_WINDOW_NS: Final = f.LIVE_S * NS_PER_S
_PARTS: Final = 5
_MS: Final = 1000
_ASKED: Final = frozenset({"direct", "rag"})
"""Paths whose tokens come from a model as it makes them."""


class _Latencies(NamedTuple):
    """Of one channel, in ms."""

    e2e: Windowed
    ttft: Windowed


class Live:
    """See the module. What was answered counts, as in `trimtab report`: a gateway that refuses at once is not fast."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._channels: dict[tuple[str, ...], _Latencies] = {}
        self._tiers: dict[str, Windowed] = {tier: _windowed() for tier in get_args(Tier)}

    def observe(self, owner: tuple[str, ...], record: Record) -> None:
        """`owner`: the values of its labels, which are bounded. Raises ValueError for a latency that is none."""
        if record.status != 200 or record.e2e_ms is None:
            return
        now_ns = self._clock.now_ns()
        channel = self._channels.get(owner)
        if channel is None:
            channel = self._channels[owner] = _Latencies(_windowed(), _windowed())
        channel.e2e.observe(record.e2e_ms, now_ns)
        if record.ttft_ms is not None:
            channel.ttft.observe(record.ttft_ms, now_ns)
        if record.itl is not None and record.path in _ASKED and record.tier in self._tiers:
            self._tiers[record.tier].observe(record.itl.p95, now_ns)

    def pieces(self) -> Iterator[str]:
        """Their lines. What saw nothing in the window has none, so that no old figure passes for one of now."""
        channels = list(self._channels.items())
        yield from self._lines(f.LIVE_DURATION, ((owner, channel.e2e) for owner, channel in channels))
        yield from self._lines(f.LIVE_TTFT, ((owner, channel.ttft) for owner, channel in channels))
        yield from self._lines(f.LIVE_ITL, (((tier,), windowed) for tier, windowed in self._tiers.items()))

    def _lines(self, family: Family, found: Iterable[tuple[tuple[str, ...], Windowed]]) -> Iterator[str]:
        yield family.head
        for labels, windowed in found:
            sketch = windowed.sketch(self._clock.now_ns())
            told = ((at, sketch.quantile(at)) for at in f.LIVE_QUANTILES)
            yield "".join(sample(family, (*labels, str(at)), ms / _MS) for at, ms in told if ms is not None)


def _windowed() -> Windowed:
    return Windowed(_WINDOW_NS, _PARTS)


__all__ = ["Live"]

"""When no gateway was there to write anything down, and what was probably asked meanwhile.

A process ends by a row `stop`, or was lost after its last row, at most `ALIVE_S` later. Until the next one begins there
is a gap. Where both belong to one supervisor, it held the socket: callers waited and have rows, and only what ran when
the process was lost is missing, which is the rate times how long a request lasts (Little). Else all that came is.

How many that were is an estimate from neighbouring minutes, half before and half behind, as if requests came there and
in the gap at one rate: of n + m requests in both, m fall into the gap as n + m tosses of one coin, so that m is in the
interval as long as neither tail of that binomial is below its half of the error. Several gaps are taken as one at their
mean rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from trimtab.controlplane.slo.window import MINUTE_NS
from trimtab.core.clock import NS_PER_MS, NS_PER_S
from trimtab.core.record import ALIVE_S, Record
from trimtab.core.rows import GatewayRow
from trimtab.foundations.stats import at_most

ERROR: Final = 0.05
_LEAST_MINUTES: Final = 15
_MOST_MINUTES: Final = 360
_ALIVE_NS: Final = int(ALIVE_S * NS_PER_S)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """From a worker's last sign of life to its next start. `planned`: it had drained. `held`: callers waited."""

    worker: int
    since_ns: int
    until_ns: int
    planned: bool
    held: bool

    @property
    def away_s(self) -> float:
        """For how long callers found nobody, at most."""
        return 0.0 if self.held else (self.until_ns - self.since_ns) / NS_PER_S

    @property
    def surely_away_s(self) -> float:
        slack_ns = 0 if self.planned else _ALIVE_NS
        return 0.0 if self.held else max(0, self.until_ns - self.since_ns - slack_ns) / NS_PER_S


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """What gaps come to. `restarts`: gaps, `lost` of them without a clean stop; `away_s`: seconds in which callers
    found nobody; `waited_s`: in which they waited for the next gateway. `expected` requests that nobody recorded, an
    estimate, in [`low`, `high`] with an error of ERROR, from `seen` neighbouring ones."""

    restarts: int
    lost: int
    away_s: float
    waited_s: float
    seen: int
    expected: float
    low: int
    high: int


class _Worker:
    """What is known of one worker so far."""

    def __init__(self) -> None:
        self.last_ns = 0
        self.row: GatewayRow | None = None
        self.minutes: Counter[int] = Counter()
        self.requests = 0
        self.lasted_ms = 0.0


class Gaps:
    """Rows in, worker by worker in the order of writing; `counts`: the row is a request of those asked about."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self.found: list[Gap] = []

    def observe(self, row: Record, counts: bool) -> None:
        worker = self._workers.setdefault(row.worker or 0, _Worker())
        if row.gateway is not None:
            self._told(worker, row, row.gateway)
            worker.row = row.gateway
        if counts:
            worker.minutes[row.t_wall_ns // MINUTE_NS] += 1
            worker.requests += 1
            worker.lasted_ms += row.e2e_ms or 0.0
        if row.kind != "lost":  # which is of another process, and of its time
            worker.last_ns = max(worker.last_ns, row.t_wall_ns + int((row.e2e_ms or 0.0) * NS_PER_MS))

    def _told(self, worker: _Worker, row: Record, told: GatewayRow) -> None:
        if told.event != "start" or not worker.last_ns or row.t_wall_ns <= worker.last_ns:
            return
        before = worker.row
        self.found.append(
            Gap(
                worker=row.worker or 0,
                since_ns=worker.last_ns,
                until_ns=row.t_wall_ns,
                planned=before is not None and before.event == "stop",
                held=before is not None and told.supervisor is not None and before.supervisor == told.supervisor,
            )
        )

    def missing(self, since_ns: int) -> Missing:
        """Of the gaps that end after `since_ns`."""
        clip = msgspec.structs.replace
        found = [clip(gap, since_ns=max(gap.since_ns, since_ns)) for gap in self.found if gap.until_ns > since_ns]
        seen, expected, surely, most = 0, 0.0, 0.0, 0.0
        for gap in found:
            worker = self._workers[gap.worker]
            count, near_s = _neighbours(gap, worker.minutes)
            ran_s = 0.0 if gap.planned or not worker.requests else worker.lasted_ms / worker.requests / 1000
            seen += count
            expected += count * (gap.away_s + ran_s) / near_s
            surely += count * gap.surely_away_s / near_s
            most += (gap.away_s + ran_s) / near_s
        low = between(seen, surely / seen if seen else 0.0)[0]
        high = between(seen, expected / seen if seen else most)[1]
        return Missing(
            restarts=len(found),
            lost=sum(not gap.planned for gap in found),
            away_s=sum(gap.away_s for gap in found),
            waited_s=sum((gap.until_ns - gap.since_ns) / NS_PER_S for gap in found if gap.held),
            seen=seen,
            expected=expected,
            low=low,
            high=high,
        )


def _neighbours(gap: Gap, minutes: Counter[int]) -> tuple[int, float]:
    """Requests in whole minutes beside the gap, as many on each side as it has, and how many seconds these are."""
    first, last = gap.since_ns // MINUTE_NS, gap.until_ns // MINUTE_NS
    width = min(max(last - first + 1, _LEAST_MINUTES), _MOST_MINUTES)
    count = sum(minutes[at] for at in range(first - width, first)) + sum(
        minutes[at] for at in range(last + 1, last + 1 + width)
    )
    return count, 2.0 * width * 60


def between(seen: int, ratio: float, error: float = ERROR) -> tuple[int, int]:
    """Least and most requests of a time that is `ratio` times one in which `seen` were counted."""
    if ratio <= 0:
        return 0, 0
    rate, tail = ratio / (1 + ratio), error / 2

    def too_few(count: int) -> bool:
        return at_most(count, seen + count, rate) <= tail

    def too_many(count: int) -> bool:
        return 1 - at_most(count - 1, seen + count, rate) <= tail

    low = _first(lambda count: not too_few(count))
    return low, max(low, _first(too_many) - 1)


def _first(holds: Callable[[int], bool]) -> int:
    """The least count of which it holds, of those from some on."""
    step = 1
    while not holds(step):
        step *= 2
    low, high = 0 if step == 1 else step // 2, step
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


__all__ = ["ERROR", "Gap", "Gaps", "Missing", "between"]

"""How late the event loop is: what every request waits that arrives meanwhile, and no stage sees."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Final

from trimtab.controlplane.metrics import histogram
from trimtab.controlplane.metrics import of_gateway as f
from trimtab.core.clock import NS_PER_S, Clock

EVERY_S: Final = 0.1
LATE_S: Final = 0.05
LATE_IN_A_ROW: Final = 10
WINDOW_S: Final = LATE_IN_A_ROW * EVERY_S
"""A burst is late for a moment; a loop that was late at every look of a second has more work than it can do. That the
least delay of a window tells one from the other is CoDel's finding (RFC 8289 section 3)."""


class Lag:
    """A timer of 100 ms, and by how much it came late. Costs ten wake-ups a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts = [0] * (len(f.LAG_S) + 1)
        self._total_s = 0.0
        self._late = 0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            due_ns = self._clock.now_ns() + int(EVERY_S * NS_PER_S)
            await asyncio.sleep(EVERY_S)
            self._note(max(0, self._clock.now_ns() - due_ns) / NS_PER_S)

    @property
    def is_late(self) -> bool:
        """The last `LATE_IN_A_ROW` timers all came more than `LATE_S` late."""
        return self._late >= LATE_IN_A_ROW

    def _note(self, late_s: float) -> None:
        self._counts[bisect_left(f.LAG_S, late_s)] += 1
        self._total_s += late_s
        self._late = self._late + 1 if late_s > LATE_S else 0

    def text(self) -> str:
        return f.LAG.head + histogram(f.LAG, (), self._counts, self._total_s)


__all__ = ["EVERY_S", "LATE_IN_A_ROW", "LATE_S", "WINDOW_S", "Lag"]

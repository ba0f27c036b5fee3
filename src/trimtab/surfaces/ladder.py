"""The memory ladder: what a gateway gives up, step by step, before the system would end it for its memory.

    used of the limit   step     from there on
    70 %                spare    caches are not filled, and give back half of what they may hold
    85 %                hurry    caches are emptied, and idle connections closed after 5 s
    92 %                close    each answer is the last of its connection
    95 %                refuse   new requests get 503 `overloaded` before their body is read

The steps and the period are those of Envoy's overload manager. A step ends 3 points below where it begins, so that what
it frees does not begin it again at once. Of several limits the fullest counts. With no limit nothing is ever done.

`Retry-After` while refusing: when memory will be below that step if it goes on falling as it has since its peak; while
it does not fall, the time after which idle connections are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Any, Final

from trimtab.controlplane.metrics import of_gateway as f
from trimtab.controlplane.metrics import sample
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.surfaces.memory import MIB, Bound, give_back

EVERY_S: Final = 0.25
TRIM_S: Final = 5.0
"""Between two times of giving freed memory back to the system, while a step is taken."""
HURRY_IDLE_S: Final = 5.0
HYSTERESIS: Final = 0.03
LONGEST_WAIT_S: Final = 30.0
_log = logging.getLogger(__name__)


class Step(IntEnum):
    """Each includes those before it."""

    NORMAL = 0
    SPARE = 1
    HURRY = 2
    CLOSE = 3
    REFUSE = 4

    @property
    def word(self) -> str:
        return self.name.lower()


BEGINS: Final = {Step.SPARE: 0.70, Step.HURRY: 0.85, Step.CLOSE: 0.92, Step.REFUSE: 0.95}
_DOES: Final = {
    Step.NORMAL: "nothing is held back",
    Step.SPARE: "caches are not filled",
    Step.HURRY: f"idle connections are closed after {HURRY_IDLE_S:g} s",
    Step.CLOSE: "each answer closes its connection",
    Step.REFUSE: "new requests are refused",
}


class Ladder:
    """See the module. `obey` is called with each new step; it must not raise."""

    def __init__(self, clock: Clock, bounds: Sequence[Bound], obey: Callable[[Step], None]) -> None:
        self._clock, self._bounds, self._obey = clock, bounds, obey
        self._used, self._limit, self._source = 0, 0, ""
        self._peak, self._peak_ns, self._now_ns, self._trimmed_ns = 0, 0, 0, 0
        self.step = Step.NORMAL

    def __repr__(self) -> str:
        return f"<Ladder {self.step.word}: {self._used} of {self._limit} bytes>"

    async def watch(self) -> None:
        """Until cancelled; returns at once where there is no limit."""
        while self._bounds:
            self.look()
            await self._trim()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """See how much is used now, and take the step that is due."""
        now = self._clock.now_ns()
        fullest = max(
            ((bound.used_bytes(), bound.limit_bytes, bound.source) for bound in self._bounds),
            key=lambda one: one[0] / one[1],
            default=None,
        )
        if fullest is None:
            return
        self._used, self._limit, self._source = fullest
        self._now_ns = now
        if self._used >= self._peak or self.step < Step.REFUSE:
            self._peak, self._peak_ns = self._used, now
        step = due(self._used / self._limit, self.step)
        if step is not self.step:
            self.step = step
            self._say()
            self._obey(step)

    @property
    def retry_after_s(self) -> float:
        """See the module. Seconds."""
        over = self._used - (BEGINS[Step.REFUSE] - HYSTERESIS) * self._limit
        fallen, took_s = self._peak - self._used, (self._now_ns - self._peak_ns) / NS_PER_S
        if fallen <= 0 or took_s <= 0:
            return HURRY_IDLE_S
        return min(max(over * took_s / fallen, EVERY_S), LONGEST_WAIT_S)

    @property
    def words(self) -> str:
        """How much is used, for people."""
        return f"{100 * self._used / max(self._limit, 1):.0f} % of {self._limit // MIB} MiB"

    def state(self) -> dict[str, Any]:
        """For the admin socket."""
        return {
            "step": self.step.word,
            "used_bytes": self._used if self._bounds else None,
            "limit_bytes": self._limit if self._bounds else None,
            "limit_of": self._source or None,
        }

    def text(self) -> Iterator[str]:
        """For the metrics; without a limit there is only the step."""
        yield f.MEMORY_STEP.head + sample(f.MEMORY_STEP, (), int(self.step))
        bounded = bool(self._bounds)
        yield f.MEMORY_USED.head + (sample(f.MEMORY_USED, (), self._used) if bounded else "")
        yield f.MEMORY_LIMIT.head + (sample(f.MEMORY_LIMIT, (), self._limit) if bounded else "")

    async def _trim(self) -> None:
        """What was freed counts as used until the C library gives it back: it is asked to, off the loop."""
        now = self._clock.now_ns()
        if self.step > Step.NORMAL and now - self._trimmed_ns >= TRIM_S * NS_PER_S:
            self._trimmed_ns = now
            await self._clock.offload(give_back)

    def _say(self) -> None:
        level = logging.INFO if self.step is Step.NORMAL else logging.WARNING
        _log.log(level, "memory: %s (%s) are used: %s", self.words, self._source, _DOES[self.step])


def due(share: float, now: Step) -> Step:
    """The step at this share of the limit, coming from `now`."""
    found = Step.NORMAL
    for step, begins in BEGINS.items():
        if share >= (begins - HYSTERESIS if step <= now else begins):
            found = step
    return found


__all__ = ["BEGINS", "EVERY_S", "HURRY_IDLE_S", "HYSTERESIS", "Ladder", "Step", "due"]

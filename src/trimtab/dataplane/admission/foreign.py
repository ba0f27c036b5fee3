"""Foreign load: what others ask of the same engine, as it told last.

An engine's gauges are older than what a gateway counts of its own, so they say nothing of its own load. What they have
beyond that is somebody else's: `others = max(0, running + waiting - ours)`. It stands until the engine tells again, or
for as long as that counts (`Told.until_ns`).

An engine sets its gauges at the end of a pass, or every so many of them (SGLang), and a request of ours that was cut
may still run there. So `ours` is the most that ran at once in the last second: too little may be found for others,
never what is ours.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_S
from trimtab.foundations.podmodel import Ask, Load, Pod

LATE_NS: Final = NS_PER_S
"""How old gauges may be when they are told."""
FULL: Final = 0.95
"""Share of an engine's memory from which on requests that wait there wait for memory."""
PROMPT: Final = 512.0
OUTPUT: Final = 128.0
"""Tokens of others' requests, before one of ours was seen."""
_WEIGHT: Final = 0.05


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine tells: requests that run and wait there, whoever's they are. `until_ns`: from then on it counts no
    more."""

    running: int
    waiting: int
    until_ns: int
    kv_used: float | None = None
    """Share of its memory for keys and values that is taken."""


class Typical:
    """A request of ours, on average: others' are taken to be like it, since nobody tells how long they are."""

    def __init__(self) -> None:
        self.prompt, self.output = PROMPT, OUTPUT
        self._seen = 0

    def observe(self, ask: Ask) -> None:
        self._seen += 1
        weight = max(_WEIGHT, 1 / self._seen)
        self.prompt += weight * (ask.prompt - self.prompt)
        self.output += weight * (ask.output - self.output)


class Foreign:
    """Of one replica."""

    def __init__(self, typical: Typical | None = None) -> None:
        self._typical = typical or Typical()
        self._running = self._waiting = 0
        self._ahead_ms = 0.0
        self._full = False
        self._until_ns = 0
        self._most: deque[tuple[int, int]] = deque()
        """When one of ours ended and how many ran before; later ones are smaller."""

    def ended(self, ours: int, now_ns: int) -> None:
        """One of ours ends; so many ran before."""
        while self._most and self._most[-1][1] <= ours:
            self._most.pop()
        self._most.append((now_ns, ours))
        self._forget(now_ns)

    def tell(self, told: Told, ours: int, ours_waiting: int, pod: Pod, share: float, now_ns: int) -> None:
        """The engine tells, while so many of ours run, of which some have no first token yet. `share`: how far prompts
        are taken in one after the other."""
        self._forget(now_ns)
        if self._most:
            ours = max(ours, self._most[0][1])
        others = max(0, told.running + told.waiting - ours)
        self._waiting = min(others, max(0, told.waiting - ours_waiting))
        self._running = others - self._waiting
        self._ahead_ms = share * self._waiting * pod.intake_ms(self._typical.prompt)
        self._full = told.kv_used is not None and told.kv_used >= FULL and told.waiting > 0
        self._until_ns = told.until_ns

    def number(self, now_ns: int) -> int:
        """Requests of others that run or wait."""
        return self._running + self._waiting if now_ns < self._until_ns else 0

    def is_full(self, now_ns: int) -> bool:
        """Who comes there waits for memory."""
        return self._full and now_ns < self._until_ns

    def load(self, now_ns: int) -> Load:
        """Theirs alone."""
        if not self.number(now_ns):
            return _NOTHING
        each = self._typical.prompt + self._typical.output / 2
        return Load(
            running=self._running,
            held=self._running * each,
            ahead_ms=self._ahead_ms,
            coming=self._waiting,
            coming_held=self._waiting * self._typical.prompt,
        )

    def _forget(self, now_ns: int) -> None:
        while self._most and self._most[0][0] < now_ns - LATE_NS:
            self._most.popleft()


_NOTHING: Final = Load()

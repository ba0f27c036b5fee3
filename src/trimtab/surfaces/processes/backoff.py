"""Pauses between restarts: 0.2 s doubling to 5 s, forgotten after 30 s of health."""

from __future__ import annotations

from typing import Final

from trimtab.core.clock import NS_PER_S, Clock

FIRST_S: Final = 0.2
MOST_S: Final = 5.0
HEALTHY_S: Final = 30.0


class Backoff:
    """Call `started` when the child serves, `pause_s` when it has ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_s = FIRST_S
        self._since_ns: int | None = None

    def started(self) -> None:
        self._since_ns = self._clock.now_ns()

    def pause_s(self) -> float:
        """How long to wait before the next start."""
        since, self._since_ns = self._since_ns, None
        if since is not None and self._clock.now_ns() - since >= HEALTHY_S * NS_PER_S:
            self._next_s = FIRST_S
        pause, self._next_s = self._next_s, min(2 * self._next_s, MOST_S)
        return pause

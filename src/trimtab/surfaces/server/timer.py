"""A deadline that moves with every request and almost never fires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SLACK_S = 0.001
"""uvloop fires a timer up to half a millisecond early."""


class Timer:
    """Calls `expired` once the deadline has passed. One loop handle, moved only when the deadline comes nearer: putting
    it off, or clearing it, which each request does, costs no call of the loop's.
    """

    __slots__ = ("_expired", "_handle", "_loop", "deadline")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._handle: asyncio.TimerHandle | None = None
        self.deadline: float | None = None
        """Loop time in seconds; None: nothing is waited for."""

    def arm(self, seconds: float) -> None:
        """The deadline is `seconds` from now."""
        self.deadline = when = self._loop.time() + seconds
        if self._handle is None or self._handle.when() > when:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_at(when, self._fire)

    def clear(self) -> None:
        """Nothing is waited for."""
        self.deadline = None

    def close(self) -> None:
        """Never call again."""
        self.deadline = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        if self.deadline is None:
            return
        if self._loop.time() + _SLACK_S < self.deadline:
            self._handle = self._loop.call_at(self.deadline, self._fire)
        else:
            self.deadline = None
            self._expired()

"""Whether new requests are refused just now, before their bodies are read: for memory, for lateness, for their number.

Such a request leaves no record of its own, which would cost what there is too little of; it is counted, and rows of the
kind `refused` say how many there were (`presence.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trimtab.core.errors import Code, Refusal
from trimtab.surfaces.ladder import Ladder, Step
from trimtab.surfaces.lag import LATE_IN_A_ROW, LATE_S, WINDOW_S, Lag
from trimtab.surfaces.server.exchange import HttpRequest

MOST_REQUESTS: Final = 4096
"""Answered at once by one gateway. It bounds all that requests wait in or hold: queues for slots and for money, equal
requests behind one another, texts to embed, connections to upstreams."""
_REQUESTS_RETRY_S: Final = 1.0


class Overload:
    """See the module. `running`: requests under way, this one included; `refused` is told of each that is refused."""

    def __init__(
        self,
        ladder: Ladder,
        lag: Lag,
        running: Callable[[], int],
        refused: Callable[[Code, HttpRequest], None],
        most: int = MOST_REQUESTS,
    ) -> None:
        self._ladder, self._lag, self._most = ladder, lag, most
        self._running, self._refused = running, refused

    def look(self) -> Refusal | None:
        """What a new request is told now; None: it is welcome."""
        if self._ladder.step is Step.REFUSE:
            return _refusal(f"the gateway's memory is nearly used up: {self._ladder.words}", self._ladder.retry_after_s)
        if self._lag.is_late:
            late = f"the gateway is late: {LATE_IN_A_ROW} timers in a row came more than {LATE_S * 1000:.0f} ms late"
            return _refusal(late, WINDOW_S)
        if self._running() > self._most:
            return _refusal(f"{self._most} requests are under way, which is the most", _REQUESTS_RETRY_S)
        return None

    def refuse(self, http: HttpRequest) -> Refusal | None:
        """As `look`; what it says to this request is counted."""
        refusal = self.look()
        if refusal is not None:
            self._refused(refusal.code, http)
        return refusal


def _refusal(message: str, retry_after_s: float) -> Refusal:
    return Refusal(code=Code.OVERLOADED, message=message, retry_after_s=retry_after_s)


__all__ = ["MOST_REQUESTS", "Overload"]

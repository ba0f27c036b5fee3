"""What runs beside requests: so many at most, first to go where a request needs the room, none that outlives the
gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

MOST: Final = 16
"""At once, of one gateway: each holds a connection and what has come of an answer."""


class Beside(Protocol):
    """One of them. `close`: at once and idempotent; its slot is free in the same turn of the loop."""

    model: str

    def run(self) -> Coroutine[Any, Any, None]: ...
    def close(self, why: str) -> None: ...


class Aside:
    """See the module. `may`: whether the gateway has strength to spare just now."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._running: dict[Beside, asyncio.Task[None]] = {}
        self._stopped = False
        self.may: Callable[[], bool] = lambda: True

    def __repr__(self) -> str:
        return f"<Aside: {len(self._running)} of {self._most}>"

    def __len__(self) -> int:
        return len(self._running)

    @property
    def has_room(self) -> bool:
        return not self._stopped and len(self._running) < self._most and self.may()

    def begin(self, one: Beside) -> None:
        """Runs in a task of its own, once the loop has turned."""
        task = asyncio.get_running_loop().create_task(one.run())
        self._running[one] = task
        task.add_done_callback(lambda _: self._running.pop(one, None))

    def give_way(self, model: str, is_open: Callable[[], bool]) -> None:
        """A request has come for this model: the youngest of those that run there end until it would be let in."""
        for one in [one for one in reversed(self._running) if one.model == model]:
            if is_open():
                return
            self._end(one, "gave way")

    async def stop(self) -> None:
        """End all, and take no more."""
        self._stopped = True
        tasks = list(self._running.values())
        for one in list(self._running):
            self._end(one, "the gateway stops")
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, one: Beside, why: str) -> None:
        one.close(why)
        self._running.pop(one).cancel()

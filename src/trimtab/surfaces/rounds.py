"""Rounds: replicas that are asked something again and again, each by itself and one question at a time."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from functools import partial
from typing import Final

from trimtab.core.clock import NS_PER_S
from trimtab.dataplane.inference import Replica
from trimtab.dataplane.plane import DataPlane

POLL_S = 0.25
LONGEST_S: Final = 5.0
"""An answer is waited for as long as until the next question, and no longer than this."""


class Rounds(ABC):
    """Every `health.probe_s` of each replica that is due."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._due_ns: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    @abstractmethod
    def _asked(self, replica: Replica) -> bool:
        """Whether it is to be asked at all."""

    @abstractmethod
    async def _ask(self, replica: Replica) -> None:
        """Once. Raises nothing."""

    def _keep(self, replicas: set[str]) -> None:  # noqa: B027 - most remember nothing
        """What is remembered of others may be forgotten."""

    async def watch(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._look()
                await asyncio.sleep(POLL_S)
        finally:
            for task in self._running.values():
                task.cancel()

    def _look(self) -> None:
        now = self._plane.clock.now_ns()
        asked = {one.id: one for one in self._plane.fleet.replicas() if self._asked(one)}
        self._due_ns = {one: self._due_ns.get(one, now) for one in asked}
        self._keep(set(asked))
        for one, replica in asked.items():
            if self._due_ns[one] <= now and one not in self._running:
                self._due_ns[one] = now + int(replica.health.probe_s * NS_PER_S)
                task = self._running[one] = asyncio.get_running_loop().create_task(self._ask(replica))
                task.add_done_callback(partial(self._ended, one))

    def _ended(self, replica: str, _: asyncio.Task[None]) -> None:
        self._running.pop(replica, None)


def patience_s(replica: Replica) -> float:
    """How long its answer is waited for."""
    return min(LONGEST_S, replica.health.probe_s)


__all__ = ["POLL_S", "Rounds", "patience_s"]

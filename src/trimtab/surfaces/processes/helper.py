"""Keeps one child that serves nobody itself (`control`): started again when it dies, ended with the supervisor."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence

from trimtab.core.clock import Clock
from trimtab.surfaces.processes.backoff import Backoff
from trimtab.surfaces.processes.channel import ToSupervisor
from trimtab.surfaces.processes.child import Child, how_it_ended

_log = logging.getLogger(__name__)
_GRACE_S = 5.0


class Helper:
    """One helper's life."""

    def __init__(self, name: str, command: Sequence[str], clock: Clock, environment: Mapping[str, str] | None) -> None:
        self.name = name
        self._command, self._environment = command, environment
        self._backoff = Backoff(clock)
        self._child: Child | None = None

    async def keep(self) -> None:
        """Until cancelled; the process is ended before this returns."""
        try:
            while True:
                _log.warning("%s %s; starting it again", self.name, await self._live())
                await asyncio.sleep(self._backoff.pause_s())
        finally:
            if self._child is not None:
                await asyncio.shield(asyncio.ensure_future(self._child.stop(_GRACE_S)))

    def kill(self) -> None:
        """At once, without a word."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def _live(self) -> str:
        """One process from its start to its end; how it ended, in words."""
        try:
            self._child = child = await Child.start(self._command, self._hear, environment=self._environment)
        except OSError as error:
            return f"could not be started: {error}"
        self._backoff.started()
        ended = how_it_ended(await child.ended())
        self._child = None
        return ended

    def _hear(self, message: ToSupervisor) -> None:
        _log.error("%s said %s, which is another child's word", self.name, type(message).__name__)


__all__ = ["Helper"]

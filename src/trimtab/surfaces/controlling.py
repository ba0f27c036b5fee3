"""Controlling: the loops of the control process, each by itself. What fails is said once, and tried again.

One process of a workspace runs them: who holds a loop's lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import TrimtabError
from trimtab.surfaces.processes.priority import step_back

DAY_S: Final = 86_400
WATCH_S: Final = 60.0
"""From one look at the objectives to the next."""
RETRY_S: Final = 5.0
"""From the end of a loop, or from having found nothing for it to do, to the next try."""
BUSY_S: Final = 1.0
"""Until what another process holds is tried again."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Controlling:
    """The loops of one workspace, until cancelled. What a loop needs is loaded once there is something for it to do."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._behind = ThreadPoolExecutor(1, "lake", initializer=step_back)
        """What takes rows in: one of these at a time, behind whoever serves."""

    async def run(self) -> None:
        with self._behind:
            await asyncio.gather(
                self._forever("objectives", ("slo.yaml", b""), self._watch),
                self._forever("lake", ("trimtab.yaml", b"follow_s"), self._lake),
                self._forever("features", ("features.yaml", b"features"), self._features),
            )

    async def _forever(self, what: str, needs: tuple[str, bytes], loop: Callable[[], Awaitable[None]]) -> None:
        """Once the workspace has this file, with these bytes in it: that costs nothing to find out. A loop that ends by
        an error is begun again: the workspace may be broken, the disk full, the lock taken."""
        said = ""
        while True:
            try:
                if _has(self._workspace / needs[0], needs[1]):
                    await loop()
            except (TrimtabError, OSError) as error:
                if str(error) != said:
                    _log.error("%s: %s", what, error)
                said = str(error)
            except Exception:  # noqa: BLE001 - a fault of one loop ends no other
                _log.exception("%s failed", what)
            await asyncio.sleep(RETRY_S)

    async def _watch(self) -> None:
        """Objectives are counted, and receivers told."""
        from trimtab.core.clock import SystemClock
        from trimtab.dataplane.inference.adapters.http1 import Http1Dialer
        from trimtab.foundations.store import Disk
        from trimtab.surfaces.alerting import Watch
        from trimtab.surfaces.slo_state import LOCK

        dialer = Http1Dialer()
        try:
            with Disk().held(self._workspace / LOCK, "watches the objectives of this workspace"):
                watching = Watch(self._workspace, SystemClock(), dialer)
                while True:
                    _, found = await watching.step()
                    for notice in found:
                        _log.warning("objectives: %s: %s", notice.state, notice.headline)
                    await asyncio.sleep(WATCH_S)
        finally:
            await dialer.close()

    async def _lake(self) -> None:
        """New rows are taken in, and once a day small files joined."""
        from trimtab.controlplane import lake as lakes
        from trimtab.controlplane.registry import load
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces.lake import STAGING, open_lake

        clock = SystemClock()
        terms = load(self._workspace).settings.lake
        if terms.follow_s is None:
            return
        table, compacted_ns = open_lake(terms, self._workspace), clock.wall_ns()
        rows, staging = self._workspace / "var" / "records", self._workspace / STAGING
        take = partial(lakes.ingest, rows, table, staging, source=terms.source)
        join = partial(lakes.compact, table, keep_days=terms.keep_days, history_h=terms.history_h)
        while True:
            done = await self._aside(take)
            for problem in done.damaged:
                _log.warning("lake: left out, damaged: %s", problem)
            if clock.wall_ns() - compacted_ns > DAY_S * NS_PER_S:
                compacted_ns = clock.wall_ns()
                await self._aside(partial(join, now_ns=compacted_ns))
            await asyncio.sleep(terms.follow_s)

    async def _features(self) -> None:
        """Values are published, each `every`; the documents are read anew before each time, the table kept small once a
        day."""
        from trimtab.controlplane.registry import load
        from trimtab.core.clock import SystemClock
        from trimtab.foundations.store.disk import BusyError
        from trimtab.surfaces import features

        clock = SystemClock()
        compacted_ns = clock.wall_ns()
        while True:
            workspace = await self._aside(partial(load, self._workspace))
            try:
                done = await self._aside(partial(features.materialise, workspace, clock))
                if clock.wall_ns() - compacted_ns > DAY_S * NS_PER_S:
                    compacted_ns = clock.wall_ns()
                    await self._aside(partial(features.compact, workspace, compacted_ns))
            except BusyError:  # a command takes rows in, publishes or erases: that takes seconds
                await asyncio.sleep(BUSY_S)
                continue
            for problem in done.damaged:
                _log.warning("features: left out, damaged: %s", problem)
            await asyncio.sleep(workspace.snapshot.release.features.every_s)

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._behind, work)


def _has(path: Path, words: bytes) -> bool:
    try:
        return words in path.read_bytes()
    except OSError:
        return False


__all__ = ["Controlling"]

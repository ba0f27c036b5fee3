"""Controlling: the loops of the control process, each by itself. What fails is said once, and tried again.

One process of a workspace runs them: who holds a loop's lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trimtab.core.errors import TrimtabError

SLO: Final = "slo.yaml"
WATCH_S: Final = 60.0
"""From one look at the objectives to the next."""
RETRY_S: Final = 5.0
"""From the end of a loop, or from having found nothing for it to do, to the next try."""

_log = logging.getLogger(__name__)


class Controlling:
    """The loops of one workspace, until cancelled. What a loop needs is loaded once there is something for it to do."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    async def run(self) -> None:
        await asyncio.gather(self._forever("objectives", SLO, self._watch))

    async def _forever(self, what: str, needs: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Once the workspace has the file `needs`. A loop that ends by an error is begun again: the workspace may be
        broken, the disk full, the lock taken."""
        said = ""
        while True:
            try:
                if (self._workspace / needs).exists():
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
        from trimtab.surfaces.alerting import Watch
        from trimtab.surfaces.slo_state import LOCK

        dialer = Http1Dialer()
        try:
            with _locked(self._workspace / LOCK, "watches the objectives of this workspace"):
                watching = Watch(self._workspace, SystemClock(), dialer)
                while True:
                    _, found = await watching.step()
                    for notice in found:
                        _log.warning("objectives: %s: %s", notice.state, notice.headline)
                    await asyncio.sleep(WATCH_S)
        finally:
            await dialer.close()


@contextmanager
def _locked(path: Path, does: str) -> Iterator[None]:
    """Raises BusyError while another process holds it."""
    from trimtab.foundations.store import Disk

    disk = Disk()
    disk.make_folder(path.parent)
    held = disk.lock(path, does)
    try:
        yield
    finally:
        os.close(held)


__all__ = ["Controlling"]

"""Following: a gateway takes up the features that are published, off the path of its requests.

await following.begin()     # before the first request
await following.watch()     # until cancelled
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from trimtab.core.errors import TrimtabError
from trimtab.dataplane.online import NOTHING, Online
from trimtab.dataplane.plane import DataPlane
from trimtab.surfaces.features import FILE, read

POLL_S: Final = 1.0
_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


class Following:
    """Of one gateway. What can't be read is said once, and the values before it stay, growing old."""

    def __init__(self, folder: Path, plane: DataPlane) -> None:
        self._folder, self._plane = folder, plane
        self._seen: _Stamp | None = None
        self._said = ""

    async def begin(self) -> None:
        """Look once."""
        if not self._plane.configuration.snapshot.release.features.features:
            return
        stamp = await self._plane.clock.offload(_stamp, self._folder / FILE)
        if stamp == self._seen:
            return
        try:
            found = NOTHING if stamp is None else await self._plane.clock.offload(_online, self._folder)
        except (TrimtabError, OSError) as error:
            if str(error) != self._said:
                _log.error("features stay as they were: %s", error)
            self._said = str(error)
        else:
            self._plane.online, self._said = found, ""
        self._seen = stamp

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.begin()


def _online(folder: Path) -> Online:
    found = read(folder)
    return Online(as_of_ns=found.as_of_ns, values={one.definition: one.values for one in found.features.values()})


def _stamp(path: Path) -> _Stamp | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


__all__ = ["POLL_S", "Following"]

"""The corpora of a running gateway: the indexes that fit their documents serve, the others are built aside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from trimtab.core.clock import Clock
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.plane import DataPlane
from trimtab.dataplane.retrieval import CorpusError
from trimtab.surfaces import indexes

FIRST_S: Final = 60.0
"""How long a start waits for indexes that must be built; channels that need one refuse until it is there."""

_log = logging.getLogger(__name__)


class Corpora:
    """Keeps the data plane's corpora up with what is written in the workspace."""

    def __init__(self, folder: Path, plane: DataPlane, clock: Clock) -> None:
        self._folder, self._plane, self._clock = folder, plane, clock
        self._builds: dict[str, asyncio.Task[None]] = {}

    @property
    def building(self) -> Iterable[str]:
        """Names of the corpora whose index is being built."""
        return self._builds.keys()

    async def load(self, tenancy: Tenancy) -> None:
        """Indexes that fit their documents serve now; the others are built aside, and the old ones serve meanwhile."""
        plane, names = self._plane, indexes.used(tenancy)
        try:
            found, missing = await self._clock.offload(indexes.stored, self._folder, names, plane.embedder.name)
        except (CorpusError, OSError) as error:
            _log.error("corpora: %s; the old indexes serve", error)
            return
        old = plane.configuration.corpora
        fresh = {
            name: old[name] if name in old and old[name].id == one.id else await self._clock.offload(one.corpus, name)
            for name, one in found.items()
        }
        now = plane.configuration.corpora  # a build may have ended meanwhile
        still = {name: now[name] for name in missing if name in now}
        plane.configuration = msgspec.structs.replace(plane.configuration, corpora=still | fresh)
        for name in missing:
            if name not in self._builds:
                self._builds[name] = asyncio.create_task(self._build(name))

    async def built(self) -> None:
        """The first indexes are there before anybody is told to ask; a big corpus goes on by itself."""
        if self._builds:
            await asyncio.wait(set(self._builds.values()), timeout=FIRST_S)

    def close(self) -> None:
        for task in self._builds.values():
            task.cancel()

    async def _build(self, name: str) -> None:
        plane = self._plane
        try:
            _log.info("corpus %s: building its index", name)
            serving = None
            while True:  # once more after each build: documents may have changed while theirs were embedded
                made = await indexes.ready(self._folder, name, plane.embedder, self._clock)
                if made.id == serving:
                    break
                corpus = await self._clock.offload(made.corpus, name)
                corpora = {**plane.configuration.corpora, name: corpus}
                plane.configuration = msgspec.structs.replace(plane.configuration, corpora=corpora)
                serving = made.id
                _log.info("corpus %s: %d passages, %s", name, len(corpus), corpus.id)
        except (CorpusError, OSError) as error:
            _log.error("corpus %s: its index can't be built: %s", name, error)
        finally:
            self._builds.pop(name, None)

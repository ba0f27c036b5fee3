"""Probes: replicas whose model declares a path for it are asked whether they are well, without waiting for a request
to find out."""

from __future__ import annotations

import asyncio

from trimtab.dataplane.inference import Replica
from trimtab.dataplane.inference.dialer import UpstreamError
from trimtab.dataplane.plane import DataPlane
from trimtab.surfaces.rounds import Rounds, patience_s

FAILED = 2
"""Probes in a row that fail before the replica is ejected: one may be lost on the way."""
_MOST_BYTES = 65536


class Probes(Rounds):
    """One probe at a time of each replica."""

    def __init__(self, plane: DataPlane) -> None:
        super().__init__(plane)
        self._failed: dict[str, int] = {}

    def _asked(self, replica: Replica) -> bool:
        return replica.health.probe is not None

    def _keep(self, replicas: set[str]) -> None:
        self._failed = {one: count for one, count in self._failed.items() if one in replicas}

    async def _ask(self, replica: Replica) -> None:
        if await self._is_well(replica):
            self._failed.pop(replica.id, None)
            self._plane.fleet.seen_well(replica)
            return
        failed = self._failed[replica.id] = self._failed.get(replica.id, 0) + 1
        if failed >= FAILED:
            self._plane.fleet.ill(replica, at_once=True)

    async def _is_well(self, replica: Replica) -> bool:
        assert replica.health.probe is not None
        try:
            async with asyncio.timeout(patience_s(replica)):
                answer = await self._plane.dialer.send(
                    replica.origin, "GET", replica.health.probe, list(replica.headers), b""
                )
                with answer:
                    await answer.read_all(_MOST_BYTES)
                    return 200 <= answer.status < 300
        except (UpstreamError, TimeoutError):
            return False

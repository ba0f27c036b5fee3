"""Probes: replicas whose model declares a path for it are asked whether they are well, without waiting for a request
to find out."""

from __future__ import annotations

import asyncio
from functools import partial

from trimtab.core.clock import NS_PER_S
from trimtab.dataplane.inference import Replica
from trimtab.dataplane.inference.dialer import UpstreamError
from trimtab.dataplane.plane import DataPlane

POLL_S = 0.25
LONGEST_S = 5.0
"""A probe's answer is waited for as long as until the next one, and no longer than this."""
FAILED = 2
"""Probes in a row that fail before the replica is ejected: one may be lost on the way."""
_MOST_BYTES = 65536


class Probes:
    """One probe at a time of each replica."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._due_ns: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

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
        probed = {one.id: one for one in self._plane.fleet.replicas() if one.health.probe is not None}
        self._due_ns = {one: self._due_ns.get(one, now) for one in probed}
        self._failed = {one: count for one, count in self._failed.items() if one in probed}
        for one, replica in probed.items():
            if self._due_ns[one] <= now and one not in self._running:
                self._due_ns[one] = now + int(replica.health.probe_s * NS_PER_S)
                task = self._running[one] = asyncio.get_running_loop().create_task(self._probe(replica))
                task.add_done_callback(partial(self._ended, one))

    def _ended(self, replica: str, _: asyncio.Task[None]) -> None:
        self._running.pop(replica, None)

    async def _probe(self, replica: Replica) -> None:
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
            async with asyncio.timeout(min(LONGEST_S, replica.health.probe_s)):
                answer = await self._plane.dialer.send(
                    replica.origin, "GET", replica.health.probe, list(replica.headers), b""
                )
                with answer:
                    await answer.read_all(_MOST_BYTES)
                    return 200 <= answer.status < 300
        except (UpstreamError, TimeoutError):
            return False

"""Replicas: where each model runs just now, which of them to ask first, and who is better left alone for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.inference.dialer import Answer, Origin, UpstreamError

LONGEST_REST_S = 30.0
"""However long a server asks to be left alone, it is asked again after this; other replicas go first meanwhile."""


LINGER_S = 1.0
LINGER_BYTES = 65536


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running endpoint of a model. `headers` carry its credential: never logged, never in a record."""

    id: str
    model: str
    origin: Origin
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Replica {self.id} at {self.origin.netloc}>"


class ReplicaView(msgspec.Struct, frozen=True):
    """A replica at a glance, for the admin page."""

    id: str
    address: str
    running: int
    resting_s: float


class Fleet:
    """Replicas by model; swapped whole by `update`, while counts of running requests and rests are kept by id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._models: Mapping[str, Sequence[Replica]] = {}
        self._running: dict[str, int] = {}
        self._rest_until_ns: dict[str, int] = {}
        self._lingering: set[asyncio.Task[None]] = set()

    def update(self, models: Mapping[str, Sequence[Replica]]) -> None:
        """What is there now. Requests under way finish where they are."""
        self._models = models
        known = {replica.id for replicas in models.values() for replica in replicas}
        self._rest_until_ns = {one: until for one, until in self._rest_until_ns.items() if one in known}

    def count(self, model: str) -> int:
        return len(self._models.get(model, ()))

    @property
    def is_empty(self) -> bool:
        return not any(self._models.values())

    def pick(self, model: str, tried: Collection[str], order: Sequence[str] = ()) -> Replica | None:
        """One that does not rest, if there is one; of these the first of `order`, then who runs least, then who comes
        first. None when all have been tried.

        A resting replica is still better than none: when all rest, all are tried (the panic rule of load balancers).
        """
        now = self._clock.now_ns()
        left = [replica for replica in self._models.get(model, ()) if replica.id not in tried]
        if not left:
            return None
        place = {name: number for number, name in enumerate(order)}
        return min(
            left,
            key=lambda one: (
                self._resting(one.id, now) > 0,
                place.get(one.id, len(place)),
                self._running.get(one.id, 0),
            ),
        )

    def resting(self, model: str) -> frozenset[str]:
        """Ids of those that are better left alone now."""
        if not self._rest_until_ns:
            return frozenset()
        now = self._clock.now_ns()
        return frozenset(one.id for one in self._models.get(model, ()) if self._resting(one.id, now) > 0)

    def began(self, replica: Replica) -> None:
        self._running[replica.id] = self._running.get(replica.id, 0) + 1

    def ended(self, replica: Replica) -> None:
        left = self._running[replica.id] - 1
        if left:
            self._running[replica.id] = left
        else:
            del self._running[replica.id]

    def rest(self, replica: Replica, seconds: float) -> None:
        """Leave this one alone for a while: it said so, or could not be reached."""
        self._rest_until_ns[replica.id] = self._clock.now_ns() + int(min(seconds, LONGEST_REST_S) * NS_PER_S)

    def linger(self, answer: Answer) -> None:
        """Read the rest of an answer whose content has ended, for a moment, so that its connection can be kept."""
        task = asyncio.get_running_loop().create_task(_drain(answer))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    def views(self) -> dict[str, list[ReplicaView]]:
        now = self._clock.now_ns()
        return {
            model: [
                ReplicaView(one.id, one.origin.key, self._running.get(one.id, 0), self._resting(one.id, now) / NS_PER_S)
                for one in replicas
            ]
            for model, replicas in self._models.items()
        }

    def _resting(self, replica: str, now_ns: int) -> int:
        return max(0, self._rest_until_ns.get(replica, 0) - now_ns)


async def _drain(answer: Answer) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            await answer.read_all(LINGER_BYTES)
    except (TimeoutError, UpstreamError):
        answer.close()

"""Replicas: where each model runs just now, which of them to ask first, and who is better left alone for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.models import Dialect, HealthTerms
from trimtab.dataplane.inference.credentials import Credential
from trimtab.dataplane.inference.dialect import Fault
from trimtab.dataplane.inference.dialer import Answer, Origin, UpstreamError
from trimtab.dataplane.inference.health import Health, State
from trimtab.dataplane.inference.outliers import Outliers
from trimtab.dataplane.inference.slots import Slots

_log = logging.getLogger(__name__)


LONGEST_REST_S = 600.0
"""However long a server asks to be left alone, it is asked again after this."""


LINGER_S = 1.0
LINGER_BYTES = 65536


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running endpoint of a model. `headers` carry its credential: never logged, never in a record."""

    id: str
    model: str
    origin: Origin
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    health: HealthTerms = HealthTerms()
    slots: int = 0
    """Of an embedded engine, which are kept to one tenant at a time; 0: whoever it is keeps tenants apart by itself."""
    dialect: Dialect = "openai"
    metrics: str | None = None
    """Path of its host that has the engine's metrics."""
    kv_events: Origin | None = None
    """Where the engine publishes KV events; `kv_replay`: where it tells lost ones again. Both by ZeroMQ."""
    kv_replay: Origin | None = None
    region: str | None = None
    approved: tuple[str, ...] = ()
    """Residencies whose requests may overflow to it."""
    credential: Credential | None = None
    """What makes the headers of each request, where no key that stays does."""

    def takes(self, residency: str | None, *, overflow: bool) -> bool:
        """Whether a request that must stay in `residency` may be sent here, as it is or (`overflow`) redacted. Asked
        of who is about to be sent it, since the fleet may have changed since it was ranked."""
        if residency is None or self.region == residency:
            return True
        return overflow and residency in self.approved and self.origin.scheme == "https"

    def __repr__(self) -> str:
        return f"<Replica {self.id} at {self.origin.netloc}>"


class ReplicaView(msgspec.Struct, frozen=True):
    """A replica at a glance, for the admin page."""

    id: str
    address: str
    running: int
    resting_s: float
    """Left alone for so long, since it said so."""
    health: State = "well"
    busy_s: float = 0.0
    """How long it has had a request of ours, since the start."""
    request_s: float = 0.0
    """The same, each request by itself: divided by the slots and the time it is the share of slots in use."""

    @property
    def state(self) -> str:
        """In a word: its health, or that it rests."""
        if self.health != "well":
            return self.health
        return "resting" if self.resting_s > 0 else "ready"


class _Used(msgspec.Struct):
    """How long a replica was used, up to `at_ns`."""

    at_ns: int = 0
    busy_ns: int = 0
    request_ns: int = 0

    def passed(self, running: int, now_ns: int) -> None:
        """So many have run since it was looked at last."""
        if running:
            self.busy_ns += now_ns - self.at_ns
            self.request_ns += running * (now_ns - self.at_ns)
        self.at_ns = now_ns


class Fleet:
    """Replicas by model; swapped whole by `update`, while counts, rests and health are kept by id.

    A replica that *rests* said that it wants to be left alone, and is. One that is *ejected* (`Health`) is asked only
    as a last resort, where nobody else is left: it may have come back, and no answer is certain without it.
    """

    def __init__(self, clock: Clock, worker: int = 0, workers: int = 1) -> None:
        self._clock = clock
        self._share = (worker, workers)
        """Which gateway of how many that ask the same engines."""
        self._models: Mapping[str, Sequence[Replica]] = {}
        self._running: dict[str, int] = {}
        self._used: dict[str, _Used] = {}
        self._rest_until_ns: dict[str, int] = {}
        self._health: dict[str, Health] = {}
        self._slots: dict[str, Slots] = {}
        self._outliers: dict[str, Outliers] = {}
        self._lingering: set[asyncio.Task[None]] = set()
        self.changed: Callable[[], None] = lambda: None
        """Called when a replica was ejected or has come back: how much can run has changed."""

    def update(self, models: Mapping[str, Sequence[Replica]]) -> None:
        """What is there now. Requests under way finish where they are. A replica with another address or other terms
        begins with a clean slate; one at an address that is new, where others of its model serve, slowly, since it is
        cold."""
        served = {
            model: {replica.origin for replica in replicas} for model, replicas in self._models.items() if replicas
        }
        before = {replica.id: replica for replicas in self._models.values() for replica in replicas}
        self._models = models
        known = {replica.id: replica for replicas in models.values() for replica in replicas}
        self._outliers = {}
        kept = {one for one, replica in known.items() if before.get(one) == replica}
        self._used = {one: used for one, used in self._used.items() if one in known or one in self._running}
        self._rest_until_ns = {one: until for one, until in self._rest_until_ns.items() if one in kept}
        self._health = {
            one: self._health[one] if one in kept else Health(replica.health) for one, replica in known.items()
        }
        for one, replica in known.items():
            if replica.origin not in served.get(replica.model, {replica.origin}):
                self._health[one].begins_slow(self._clock.now_ns())
        self._slots = {
            one: self._slots[one] if one in kept else Slots(replica.slots, *self._share)
            for one, replica in known.items()
            if replica.slots
        }

    def has_slots(self, model: str) -> bool:
        """Whether its requests say which slot they get."""
        return any(one.slots for one in self._models.get(model, ()))

    def slots_of(self, replica: Replica) -> Slots | None:
        return self._slots.get(replica.id)

    def count(self, model: str) -> int:
        return len(self._models.get(model, ()))

    def ids(self, model: str) -> set[str]:
        return {one.id for one in self._models.get(model, ())}

    def healthy(self, model: str) -> list[str]:
        """Ids of replicas that are not ejected; all of them where all are."""
        now = self._clock.now_ns()
        replicas = self._models.get(model, ())
        well = [one.id for one in replicas if self._health[one.id].state(now) != "ejected"]
        return well or [one.id for one in replicas]

    @property
    def is_empty(self) -> bool:
        return not any(self._models.values())

    def replicas(self) -> list[Replica]:
        return [replica for replicas in self._models.values() for replica in replicas]

    def pick(self, model: str, tried: Collection[str], order: Sequence[str] = (), *, last: bool) -> Replica | None:
        """The first of `order`, then the one that runs least of its share; before them one that is on trial, after them
        one that comes back and has had its share. None when nobody else is to be asked. `last`: no other model could
        answer, so that an ejected replica is better than none: the one whose time is over first.
        """
        now = self._clock.now_ns()
        left = [one for one in self._models.get(model, ()) if one.id not in tried and not self._resting(one.id, now)]
        able = [one for one in left if self._health[one.id].takes(now)]
        if not able:
            return min(left, key=lambda one: self._health[one.id].until_ns()) if left and last else None
        if len(able) == 1:
            return able[0]
        loads = {one.id: (self._running.get(one.id, 0) + 1) / self._health[one.id].weight(now) for one in able}
        least, place = min(loads.values()), {name: number for number, name in enumerate(order)}

        def rank(one: Replica) -> tuple[int, int, float]:
            state, load = self._health[one.id].state(now), loads[one.id]
            own = 0 if state == "half-open" else 2 if state == "slow" and load > least else 1
            return own, place.get(one.id, len(place)), load

        return min(able, key=rank)

    def avoided(self, model: str) -> frozenset[str]:
        """Ids of those that are better left alone now; none where there is no other."""
        if len(self._models.get(model, ())) < 2:
            return frozenset()
        now = self._clock.now_ns()
        return frozenset(
            one.id
            for one in self._models.get(model, ())
            if self._resting(one.id, now) or not self._health[one.id].takes(now)
        )

    def takes(self, replica: Replica) -> bool:
        """Whether it is well enough to be asked."""
        health = self._health.get(replica.id)
        return health is not None and health.takes(self._clock.now_ns())

    def is_able(self, model: str) -> bool:
        """Whether somebody is there who neither rests nor is ejected."""
        now = self._clock.now_ns()
        replicas = self._models.get(model, ())
        return any(not self._resting(one.id, now) and self._health[one.id].takes(now) for one in replicas)

    def least_rest_s(self, model: str) -> float | None:
        """When the first of those that rest may be asked again; None if none does."""
        now = self._clock.now_ns()
        rests = [self._resting(one.id, now) for one in self._models.get(model, ())]
        return min((rest for rest in rests if rest), default=0) / NS_PER_S or None

    def running(self, replica: Replica) -> int:
        """Requests of ours that run there now."""
        return self._running.get(replica.id, 0)

    def began(self, replica: Replica) -> Callable[[], None]:
        """A request was sent there; call what this returns when it has ended, however that was."""
        used = self._used.setdefault(replica.id, _Used())
        used.passed(self._running.get(replica.id, 0), self._clock.now_ns())
        self._running[replica.id] = self._running.get(replica.id, 0) + 1
        health = self._health.get(replica.id)
        trial = health is not None and health.began(self._clock.now_ns())

        def ended() -> None:
            left = self._running[replica.id] - 1
            used.passed(left + 1, self._clock.now_ns())
            if left:
                self._running[replica.id] = left
            else:
                del self._running[replica.id]
            if trial and health is not None:
                health.trial_ended()

        return ended

    def failed(self, replica: Replica, fault: Fault) -> None:
        """An attempt there has failed: it rests if it said so, and is ejected if it is ill."""
        if fault.rest_s:
            until = self._clock.now_ns() + int(min(fault.rest_s, LONGEST_REST_S) * NS_PER_S)
            self._rest_until_ns[replica.id] = until
        if fault.harm != "none":
            self.ill(replica, at_once=fault.harm == "eject")

    def began_to_answer(self, replica: Replica, first_ms: float, foreseen_ms: float | None) -> None:
        """Its first content came after `first_ms`. Who is slower than its like, beyond doubt, is ejected while others
        are well."""
        if foreseen_ms is None or self.count(replica.model) < 2:
            return
        outliers = self._outliers.setdefault(replica.model, Outliers())
        certificate = outliers.observe(replica.id, first_ms / foreseen_ms)
        health = self._health.get(replica.id)
        if certificate is None or health is None or self.healthy(replica.model) == [replica.id]:
            return
        if health.failed(self._clock.now_ns(), at_once=True, found_out=False):
            _log.warning("replica %s is ejected: it is slower than its like (%s)", replica.id, certificate)
            self.changed()

    def ill(self, replica: Replica, *, at_once: bool) -> None:
        """An attempt or a probe has failed there."""
        health = self._health.get(replica.id)
        if health is not None and health.failed(self._clock.now_ns(), at_once=at_once):
            _log.warning("replica %s is ejected", replica.id)
            if replica.model in self._outliers:
                self._outliers[replica.model].forget(replica.id)
            self.changed()

    def seen_well(self, replica: Replica) -> None:
        """A probe was answered there."""
        health = self._health.get(replica.id)
        if health is not None:
            health.seen_well(self._clock.now_ns())

    def succeeded(self, replica: Replica) -> None:
        """An answer came whole."""
        health = self._health.get(replica.id)
        if health is not None and health.succeeded(self._clock.now_ns()):
            _log.info("replica %s is back", replica.id)
            self.changed()

    def linger(self, answer: Answer) -> None:
        """Read the rest of an answer whose content has ended, for a moment, so that its connection can be kept."""
        task = asyncio.get_running_loop().create_task(_drain(answer))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    def views(self) -> dict[str, list[ReplicaView]]:
        now = self._clock.now_ns()
        return {model: [self._view(one, now) for one in replicas] for model, replicas in self._models.items()}

    def _view(self, replica: Replica, now: int) -> ReplicaView:
        running, used = self._running.get(replica.id, 0), self._used.get(replica.id, _Used())
        used.passed(running, now)
        return ReplicaView(
            replica.id,
            replica.origin.key,
            running,
            self._resting(replica.id, now) / NS_PER_S,
            self._health[replica.id].state(now),
            used.busy_ns / NS_PER_S,
            used.request_ns / NS_PER_S,
        )

    def _resting(self, replica: str, now_ns: int) -> int:
        return max(0, self._rest_until_ns.get(replica, 0) - now_ns)


async def _drain(answer: Answer) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            await answer.read_all(LINGER_BYTES)
    except (TimeoutError, UpstreamError):
        answer.close()

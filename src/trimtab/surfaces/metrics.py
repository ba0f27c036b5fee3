"""What a gateway shows at `/metrics`: the counts of its records, and what is read from its parts at the scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Final, get_args

from trimtab.controlplane.metrics import Counts, Declared, Family, process, sample
from trimtab.controlplane.metrics import of_gateway as f
from trimtab.controlplane.metrics.of_requests import OBJECTIVES
from trimtab.controlplane.records import JournalState
from trimtab.controlplane.telemetry import Kept
from trimtab.core.clock import NS_PER_MS, NS_PER_S, Clock
from trimtab.core.money import usd
from trimtab.dataplane.plane import Configuration, DataPlane
from trimtab.dataplane.spend import BudgetRow, StoreLostError
from trimtab.surfaces import indexes
from trimtab.surfaces.lag import Lag
from trimtab.surfaces.processes import EngineStatus
from trimtab.surfaces.processes.channel import EngineStateName
from trimtab.surfaces.traces import NO_TRACES, TracesState

SLICE_NS: Final = NS_PER_MS // 2
"""How long a scrape writes before it lets requests run."""


class Parts:
    """What a scrape looks at beside the plane; each is asked anew at every scrape."""

    def __init__(
        self,
        plane: DataPlane,
        journal: Callable[[], JournalState],
        engines: Callable[[], Iterable[EngineStatus]],
        building: Callable[[], Iterable[str]],
        problems: Callable[[], int],
        lost_lines: Callable[[], int],
    ) -> None:
        self.plane, self.journal, self.engines = plane, journal, engines
        self.building, self.problems, self.lost_lines = building, problems, lost_lines
        self.front: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Open connections and running requests of the public port."""
        self.worker = 0
        """Which gateway of the workspace this is."""
        self.store_lost: Callable[[], bool] = lambda: False
        """Whether the shared store can't be reached."""
        self.traces: Callable[[], TracesState] = lambda: NO_TRACES
        """What became of traces."""
        self.judged: Callable[[], Iterable[str]] = lambda: (OBJECTIVES.head,)
        """The lines of objectives that are counted by themselves."""
        self.memory: Callable[[], Iterable[str]] = tuple
        """The memory ladder's lines."""


class Metrics:
    """The text of one gateway's metrics. `text` is written in slices: between two of them the loop does its work."""

    def __init__(self, counts: Counts, lag: Lag, parts: Parts, clock: Clock) -> None:
        self._counts, self._lag, self._parts, self._clock = counts, lag, parts, clock

    async def text(self, exemplars: bool = False) -> bytes:
        """Everything, in Prometheus' format; with exemplars (which only OpenMetrics has) on buckets of latencies."""
        pieces: list[str] = []
        until = self._clock.now_ns() + SLICE_NS
        for piece in self._pieces(await _rows(self._parts), exemplars):
            pieces.append(piece)
            if self._clock.now_ns() >= until:
                await asyncio.sleep(0)
                until = self._clock.now_ns() + SLICE_NS
        return "".join(pieces).encode()

    def _pieces(self, budgets: Sequence[BudgetRow], exemplars: bool) -> Iterator[str]:
        yield from self._counts.pieces(exemplars)
        yield from self._parts.judged()
        yield from _workspace(self._parts)
        yield from _features(self._parts.plane)
        yield from _models(self._parts.plane)
        yield from _engines(self._parts.engines())
        yield from _told(self._parts.plane)
        yield from _corpora(self._parts)
        yield from _cache(self._parts.plane)
        yield from _budgets(budgets)
        yield from _journal(self._parts.journal())
        yield from _traces(self._parts.traces())
        yield self._lag.text()
        yield from self._parts.memory()
        yield _one(f.LOG_LOST, self._parts.lost_lines())
        yield _one(f.TASKS, len(asyncio.all_tasks()))
        yield from process()


def declared(configuration: Configuration, embedder: str) -> Declared:
    """The names that may be labels under this configuration."""
    tenants = configuration.snapshot.tenancy.tenants
    names = (variant.name for variant in configuration.catalogue.variants.values())
    return Declared(
        {name: frozenset(tenant.channels) for name, tenant in tenants.items()}, frozenset({*names, embedder})
    )


def _one(family: Family, number: float | str) -> str:
    return family.head + sample(family, (), number)


def _workspace(parts: Parts) -> Iterator[str]:
    names = parts.plane.configuration.snapshot.names
    values = (version("trimtab"), names.tenancy or "none", names.release or "none", names.prices or "none")
    yield f.INFO.head + sample(f.INFO, values, 1)
    yield f.WORKER_UP.head + sample(f.WORKER_UP, (str(parts.worker),), 1)
    yield _one(f.PROBLEMS, parts.problems())
    yield _one(f.STORE_LOST, int(parts.store_lost()))
    yield _one(f.DRAINING, int(parts.plane.draining))
    connections, running = parts.front()
    yield _one(f.CONNECTIONS, connections)
    yield _one(f.IN_FLIGHT, running)


def _models(plane: DataPlane) -> Iterator[str]:
    gates = {**plane.gates.views(), plane.embedder.name: plane.embedding_gate.view()}
    yield f.SLOTS.head
    for model, view in gates.items():
        yield sample(f.SLOTS, (model,), view.slots)
    yield f.RUNNING.head
    for model, view in gates.items():
        yield sample(f.RUNNING, (model,), view.running)
    yield f.WAITING.head
    for model, view in gates.items():
        yield sample(f.WAITING, (model,), view.waiting)
    yield f.EXPECTED_WAIT.head
    for model, view in gates.items():
        if view.expected_wait_ms is not None:
            yield sample(f.EXPECTED_WAIT, (model,), view.expected_wait_ms / 1000)
    yield f.REPLICAS.head
    fleet = plane.fleet.views()
    for model, replicas in fleet.items():
        states = [one.state for one in replicas]
        for state in ("ready", "resting", "ejected", "half-open", "slow"):
            yield sample(f.REPLICAS, (model, state), states.count(state))
    yield f.BUSY.head
    for model, replicas in fleet.items():
        for one in replicas:
            yield sample(f.BUSY, (model, one.id), one.busy_s)
    yield f.IN_USE.head
    for model, replicas in fleet.items():
        for one in replicas:
            yield sample(f.IN_USE, (model, one.id), one.request_s)


def _features(plane: DataPlane) -> Iterator[str]:
    """Nothing of it where none are declared."""
    declared, online = plane.configuration.snapshot.release.features, plane.online
    yield f.FEATURES_AGE.head
    if declared.features and online.as_of_ns is not None:
        yield sample(f.FEATURES_AGE, (), (plane.clock.wall_ns() - online.as_of_ns) / NS_PER_S)
    yield f.FEATURES_STALE.head
    if declared.features:
        yield sample(f.FEATURES_STALE, (), int(not online.is_fresh(plane.clock.wall_ns(), declared.stale_ns)))
    yield f.FEATURE_VALUES.head
    for name, one in declared.features.items():
        yield sample(f.FEATURE_VALUES, (name,), len(online.values.get(one.definition, {})))


def _engines(engines: Iterable[EngineStatus]) -> Iterator[str]:
    known = list(engines)
    yield f.ENGINE.head
    for engine in known:
        for state in get_args(EngineStateName):
            yield sample(f.ENGINE, (engine.name, state), int(engine.state == state))
    yield f.RESTARTS.head
    for engine in known:
        yield sample(f.RESTARTS, (engine.name,), engine.restarts)


def _told(plane: DataPlane) -> Iterator[str]:
    """What engines tell of themselves, where they are read."""
    now_ns = plane.clock.now_ns()
    replicas = [one for one in plane.fleet.replicas() if one.metrics is not None]
    fresh = [(one, told) for one in replicas if (told := plane.signals.fresh(one.id, now_ns)) is not None]
    yield f.ENGINE_RUNNING.head
    yield from (sample(f.ENGINE_RUNNING, (one.model, one.id), told.running) for one, told in fresh)
    yield f.ENGINE_WAITING.head
    yield from (sample(f.ENGINE_WAITING, (one.model, one.id), told.waiting) for one, told in fresh)
    yield f.ENGINE_KV_USED.head
    for one, told in fresh:
        if told.kv_used is not None:
            yield sample(f.ENGINE_KV_USED, (one.model, one.id), told.kv_used)
    yield f.ENGINE_AGE.head
    for one in replicas:
        if (heard := plane.signals.last(one.id)) is not None:
            yield sample(f.ENGINE_AGE, (one.model, one.id), (now_ns - heard.at_ns) / NS_PER_S)


def _corpora(parts: Parts) -> Iterator[str]:
    configuration, building = parts.plane.configuration, frozenset(parts.building())
    names = indexes.used(configuration.snapshot.tenancy)
    yield f.CORPUS.head
    for name in names:
        yield sample(f.CORPUS, (name,), int(name in configuration.corpora))
    yield f.CORPUS_BUILDING.head
    for name in names:
        yield sample(f.CORPUS_BUILDING, (name,), int(name in building))
    yield f.PASSAGES.head
    for name in names:
        if name in configuration.corpora:
            yield sample(f.PASSAGES, (name,), len(configuration.corpora[name]))


def _cache(plane: DataPlane) -> Iterator[str]:
    stats = plane.cache.stats
    yield f.CACHE_LOOKUPS.head
    for result, count in (("hit", stats.hits), ("follower", stats.followers), ("miss", stats.misses)):
        yield sample(f.CACHE_LOOKUPS, (result,), count)
    yield _one(f.CACHE_STORED, stats.stored) + _one(f.CACHE_EVICTED, stats.evicted)
    yield _one(f.CACHE_ENTRIES, stats.entries) + _one(f.CACHE_BYTES, stats.bytes)


async def _rows(parts: Parts) -> Sequence[BudgetRow]:
    """Nothing where the store that knows can't be reached: a stale figure would be taken for the true one."""
    plane = parts.plane
    if parts.store_lost():
        return ()
    try:
        return await plane.budgets.rows(plane.configuration.snapshot.tenancy)
    except StoreLostError:
        return ()


def _budgets(rows: Sequence[BudgetRow]) -> Iterator[str]:
    owners = [(_scope(row.name), row.name, row.period, row.tz) for row in rows]
    for family, field in (
        (f.BUDGET_LIMIT, "limit_nanousd"),
        (f.BUDGET_SPENT, "settled_nanousd"),
        (f.BUDGET_RESERVED, "reserved_nanousd"),
        (f.BUDGET_LEFT, "left_nanousd"),
    ):
        yield family.head
        for owner, row in zip(owners, rows, strict=True):
            yield sample(family, owner, usd(getattr(row, field)))
    yield f.BUDGET_ENDS.head
    for owner, row in zip(owners, rows, strict=True):
        yield sample(f.BUDGET_ENDS, owner, row.ends_wall_ns // NS_PER_S)


def _scope(name: str) -> str:
    return "channel" if "/" in name else "key" if name.startswith("key_") else "tenant"


def _journal(state: JournalState) -> Iterator[str]:
    yield _one(f.RECORDS, state.seq) + _one(f.RECORDS_LOST, state.lost)
    yield _one(f.RECORDS_WAITING, state.waiting) + _one(f.RECORDS_FAILING, int(state.failing is not None))


def _traces(state: TracesState) -> Iterator[str]:
    yield f.OTLP_KEPT.head
    for why in get_args(Kept):
        yield sample(f.OTLP_KEPT, (why,), state.kept.get(why, 0))
    yield f.OTLP_TRACES.head
    for result in ("sent", "dropped", "failed"):
        yield sample(f.OTLP_TRACES, (result,), getattr(state, result))
    yield _one(f.OTLP_REJECTED, state.rejected) + _one(f.OTLP_WAITING, state.waiting)


__all__ = ["Metrics", "Parts", "declared"]

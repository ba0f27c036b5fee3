"""The composition root of a gateway process: workspace, journal, data plane, front door and admin socket, put together.

`run_gateway` is what the gateway child runs. Everything that changes while it lives comes in here: engines from the
supervisor, documents from the folder, a drain.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from pathlib import Path
from typing import Any, Final

from trimtab.controlplane import records
from trimtab.controlplane.metrics import Counts, resident_bytes
from trimtab.controlplane.records.texts import Texts
from trimtab.controlplane.registry import PATTERNS, Settings, Workspace, load
from trimtab.controlplane.slo import Counted, objectives
from trimtab.core.clock import Clock, SystemClock
from trimtab.core.errors import Code, ConfigError, TrimtabError
from trimtab.core.ids import ClockIds
from trimtab.core.record import Record
from trimtab.dataplane import wiring
from trimtab.dataplane.classify import Classifier
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.plane import DataPlane
from trimtab.dataplane.spend import StoreLostError
from trimtab.foundations.config import Fingerprint, SecretError, fingerprint, resolve_secret
from trimtab.foundations.embed import create_embedder
from trimtab.surfaces import indexes
from trimtab.surfaces.corpora import Corpora
from trimtab.surfaces.credentials import Keyring
from trimtab.surfaces.following import Following
from trimtab.surfaces.hints import hints
from trimtab.surfaces.kv_listening import KvListening
from trimtab.surfaces.ladder import BEGINS, HURRY_IDLE_S, Ladder, Step
from trimtab.surfaces.lag import Lag
from trimtab.surfaces.learned import Learned
from trimtab.surfaces.listening import Listening
from trimtab.surfaces.logs import AccessLog, LogSettings, Output
from trimtab.surfaces.memory import MIB, bounds
from trimtab.surfaces.metrics import Metrics, Parts, declared
from trimtab.surfaces.opening import counters_of, http_limits, open_journal, secret_of, settle_memory
from trimtab.surfaces.overload import Overload
from trimtab.surfaces.presence import Presence
from trimtab.surfaces.probing import Probes
from trimtab.surfaces.processes import (
    Drain,
    Drained,
    End,
    Engines,
    EngineStatus,
    GatewayControl,
    Ready,
    StartEngine,
    StopEngine,
)
from trimtab.surfaces.replicas import replicas_of
from trimtab.surfaces.server import HttpError, HttpLimits, HttpRequest, Listener
from trimtab.surfaces.server.admin import Gateway, admin, socket_path
from trimtab.surfaces.server.app import ROUTES, public
from trimtab.surfaces.server.scrape import Scrape
from trimtab.surfaces.sinks import Sinks
from trimtab.surfaces.stores import Counters, keep
from trimtab.surfaces.traces import Traces, open_traces
from trimtab.surfaces.workers import Workers

POLL_S = 0.5
QUIET_S = 0.2
"""How long the documents must have been left alone before they are loaded: nobody reads a half-written file."""
DRAIN_FLUSH_S = 5.0

TAKEN_UP: Final = frozenset({"demo"})
"""Of trimtab.yaml, what a reload changes: tenancy has it."""
_log = logging.getLogger(__name__)


async def run_gateway(workspace: Path, listen: socket.socket, control: GatewayControl) -> None:
    """Serve on `listen` until a Drain has come and the last stream has ended. Raises ConfigError for a workspace that
    can't be loaded at the start; later a broken one is refused and the last good one serves."""
    clock = SystemClock()
    loaded = await clock.offload(load, workspace, clock)
    gateway = await LiveGateway.open(loaded, clock, control)
    try:
        await gateway.serve(listen)
    finally:
        await gateway.close()


class LiveGateway:
    """One gateway process: see `server.admin.Gateway` for what the admin socket asks of it."""

    def __init__(
        self,
        workspace: Workspace,
        plane: DataPlane,
        journal: records.Journal,
        counts: Counts,
        clock: Clock,
        control: GatewayControl,
        kept: Counters,
        texts: Texts,
        traces: Traces | None,
        presence: Presence,
    ) -> None:
        self.plane, self._kept, self._texts, self._traces = plane, kept, texts, traces
        self._counts, self._lag, self._presence = counts, Lag(clock), presence
        self._parts = Parts(
            plane,
            journal.state,
            lambda: list(self._engines.values()),
            lambda: self._corpora.building,
            lambda: len(self._problems),
            _lost_lines,
        )
        memory = bounds(workspace.settings.memory_limit_mib)
        self._limits = http_limits(workspace.settings.server, memory)
        self._ladder = Ladder(clock, memory, self._spare)
        self._overload = Overload(self._ladder, self._lag, lambda: self._parts.front()[1], self._turned_away)
        plane.aside.may = lambda: self._ladder.step is Step.NORMAL and not self._lag.is_late
        self._parts.memory, self._parts.worker = self._ladder.text, control.worker
        if traces is not None:
            self._parts.traces = traces.state
        self._parts.store_lost = lambda: self._kept.state()["lost"] is not None
        self._front: Listener | None = None
        self._counted = Counted([])
        self._metrics = Metrics(counts, self._lag, self._parts, clock)
        self._workspace, self._journal, self._clock, self._control = workspace, journal, clock, control
        self._corpora = Corpora(workspace.folder, plane, clock)
        self._learned = Learned(lambda: self._workspace, control.worker, plane.gates, plane.governor, clock)
        self._following = Following(workspace.folder, plane)
        self._keyring = Keyring(clock, plane.dialer)
        self._engines: dict[str, EngineStatus] = {}
        self._seen: Fingerprint | None = None
        self._problems: list[str] = []
        self._loading = asyncio.Lock()
        self._url: str | None = None

    @classmethod
    async def open(cls, workspace: Workspace, clock: Clock, control: GatewayControl) -> LiveGateway:
        """Everything but the sockets. Raises ConfigError where a part of the workspace can't be used."""
        folder = workspace.folder
        seen = await clock.offload(fingerprint, folder, PATTERNS)
        counters = await clock.offload(counters_of, workspace, {})
        telemetry = workspace.settings.telemetry
        secret = secret_of(folder)
        embedder = create_embedder("nano", clock)
        classifier = await clock.offload(Classifier, clock, embedder, indexes.labels(folder, embedder))
        prepared = await classifier.prepare(workspace.snapshot.tenancy.tenants)
        counts = Counts(lambda: declared(plane.configuration, embedder.name), clock)
        traces = open_traces(telemetry, folder, control.worker, clock, counts.exemplar)
        try:
            journal = await clock.offload(open_journal, workspace, control.worker, clock)
        except ConfigError:
            raise
        except (TrimtabError, OSError) as error:
            raise ConfigError([f"var/records: {error}"]) from error
        try:
            kept = await keep(workspace, journal, clock)
        except ConfigError:
            await clock.offload(journal.close)
            raise
        days = workspace.settings.records.retention_days
        texts = Texts(folder, control.worker, secret, clock, retention_days=days)
        configuration = wiring.configure(workspace.snapshot, counters, prepared)
        access, ids = AccessLog(every=LogSettings.told().access == "all"), ClockIds(clock)
        presence = Presence(clock, ids, lambda: plane.configuration.snapshot.tenancy)
        counted = Counted(objectives(workspace.snapshot.tenancy, workspace.slo))
        presence.sink = Sinks(journal, kept, counts, counted, access, presence, *([] if traces is None else [traces]))
        plane = wiring.build(
            clock=clock,
            ids=ids,
            sink=presence.sink,
            dialer=Http1Dialer(),
            configuration=configuration,
            secret=secret,
            embedder=embedder,
            classifier=classifier,
            store=kept.store,
            worker=control.worker,
            workers=control.workers,
            texts=texts,
            telemetry=telemetry,
        )
        gateway = cls(workspace, plane, journal, counts, clock, control, kept, texts, traces, presence)
        gateway._seen = seen
        gateway._counted, gateway._parts.judged = counted, counted.pieces
        plane.recorded = gateway._record
        await kept.begin(plane)
        gateway._set_fleet()
        await gateway._learned.begin()
        await gateway._following.begin()
        await gateway._corpora.load(workspace.snapshot.tenancy)
        return gateway

    async def _record(self, record_id: str) -> Record | None:
        """A request's row, once it is on disk."""
        return await self._clock.offload(records.find, self._workspace.folder / "var" / "records", record_id)

    async def serve(self, listen: socket.socket) -> None:
        """Until drained."""
        settings = self._workspace.settings
        worker, workers = self._control.worker, self._control.workers
        all_: Gateway = self if workers == 1 else Workers(self, self._workspace.folder, worker, workers)
        scrape = Scrape(all_.metrics, self._metrics_key()) if settings.server.metrics else None
        handler = public(self.plane, scrape, self._overload)
        front = self._front = Listener(handler, self._clock, self._limits, self._report)
        back = Listener(admin(all_, self), self._clock, HttpLimits(max_body_bytes=1 << 16), _report)
        self._parts.front = lambda: (front.connections, front.active)
        path = socket_path(self._workspace.folder, worker)
        watchers = [asyncio.create_task(self._watch()), asyncio.create_task(self._lag.watch())]
        watchers.append(asyncio.create_task(self._following.watch()))
        try:
            await back.start_unix(path)
            await front.start(listen)
            settle_memory()
            await self._corpora.built()
            self._fits_memory()
            watchers.append(asyncio.create_task(self._ladder.watch()))
            watchers += [asyncio.create_task(part(self.plane).watch()) for part in (Probes, Listening, KvListening)]
            host, port = listen.getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self._url = url
            self._presence.began()
            watchers.append(asyncio.create_task(self._presence.watch()))
            self._control.send(Ready(url=url, hints=hints(self._workspace, url)))
            await self._obey(Drain)
            self.plane.draining = True
            await self.plane.aside.stop()
            front.drain()
            await front.drained()
            self._control.send(Drained())
            await self._obey(End)  # other gateways of this address may still have streams
            await front.drained()
            self._presence.stopped()
        finally:
            self._corpora.close()
            for task in watchers:
                task.cancel()
            await front.close()
            await back.close()
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Connections to upstreams, what was learned, then what waits: for the store, the collector and the disk."""
        await self.plane.aside.stop()
        self._keyring.close()
        await self.plane.dialer.close()
        await self._learned.close()
        await self._kept.close()
        await self._clock.offload(self._texts.close, DRAIN_FLUSH_S)
        if self._traces is not None:
            await self._traces.close()
        await self._clock.offload(self._journal.close, DRAIN_FLUSH_S)

    def _metrics_key(self) -> str | None:
        """Raises ConfigError: metrics that were to need a key are not served without one."""
        reference = self._workspace.settings.server.metrics_key
        if reference is None:
            return None
        try:
            return resolve_secret(reference, self._workspace.folder).reveal()
        except SecretError as error:
            raise ConfigError([f"trimtab.yaml: server.metrics_key: {error}"]) from error

    def _fits_memory(self) -> None:
        """Raises ConfigError for a limit under which this gateway could never serve."""
        self._ladder.look()
        told = self._workspace.settings.memory_limit_mib
        if told is not None and self._ladder.step is Step.REFUSE:
            least = math.ceil(resident_bytes() / BEGINS[Step.SPARE] / MIB)
            problem = f"the gateway takes {self._ladder.words} before its first request. Write at least {least}"
            raise ConfigError([f"trimtab.yaml: memory_limit_mib: {problem}"])

    def _spare(self, step: Step) -> None:
        """What the memory ladder asks of the parts."""
        cache = self.plane.cache
        cache.filling = step < Step.SPARE
        if step >= Step.SPARE:
            cache.give_back(0.5 if step is Step.SPARE else 0)
        if self._front is not None:
            usual_s = self._limits.idle_timeout_s
            self._front.set_idle_timeout(min(HURRY_IDLE_S, usual_s) if step >= Step.HURRY else usual_s)
            self._front.keep_alive(step < Step.CLOSE)

    def _turned_away(self, code: Code, http: HttpRequest) -> None:
        self._counts.refused(code)
        self._presence.refused(code, http)

    def _report(self, request: HttpRequest | None, error: BaseException) -> None:
        """What the public port tells: bytes that were no request are counted, since they leave no record."""
        if request is None and isinstance(error, HttpError):
            self._counts.refused(error.code)
        _report(request, error)

    async def _obey(self, last: type[Drain | End]) -> None:
        """Take what the supervisor says, until it says `last`."""
        async for message in self._control:
            if isinstance(message, last):
                return
            if isinstance(message, Engines):
                self._engines = {engine.name: engine for engine in message.engines}
                self._set_fleet()

    # configuration

    async def _watch(self) -> None:
        """Load what has changed on disk once nobody writes to it any more."""
        folder, clock = self._workspace.folder, self._clock
        while True:
            await asyncio.sleep(POLL_S)
            now = await clock.offload(fingerprint, folder, PATTERNS)
            if now == self._seen:
                continue
            await asyncio.sleep(QUIET_S)
            if await clock.offload(fingerprint, folder, PATTERNS) != now:
                continue
            try:
                await self.reload()
            except ConfigError:
                continue  # said in the log; the last good one serves
            except Exception:  # noqa: BLE001 - a document must never end the watcher
                _log.exception("the workspace could not be loaded; the last good one serves")

    async def reload(self) -> dict[str, Any]:
        """Load the folder and swap it in; requests under way keep what they began with. Raises ConfigError."""
        async with self._loading:
            folder = self._workspace.folder
            self._seen = await self._clock.offload(fingerprint, folder, PATTERNS)
            try:
                loaded = await self._clock.offload(load, folder, self._clock)
            except ConfigError as error:
                self._problems = error.problems
                for problem in error.problems:
                    _log.error("the changed workspace is refused, the last good one serves: %s", problem)
                raise
            counters = await self._clock.offload(counters_of, loaded, dict(self.plane.configuration.counters))
            before, self._workspace, self._problems = self._workspace, loaded, []
            prepared = await self.plane.classifier.prepare(loaded.snapshot.tenancy.tenants)
            book = await self._kept.prepare(self.plane.budgets, before.snapshot.tenancy, loaded.snapshot.tenancy)
            kept = self.plane.configuration.corpora
            self.plane.configuration = wiring.configure(loaded.snapshot, counters, prepared, kept)
            await book()
            self._counted.take(objectives(loaded.snapshot.tenancy, loaded.slo))
            self._set_fleet()
            await self._corpora.load(loaded.snapshot.tenancy)
            for part in Settings.__struct_fields__:
                if part not in TAKEN_UP and getattr(before.settings, part) != getattr(loaded.settings, part):
                    _log.warning("trimtab.yaml: a changed %s takes effect at the next start", part)
            names = loaded.snapshot.names
            _log.info("loaded %s %s %s", names.tenancy, names.release, names.prices)
            return {"ok": True, "snapshots": names}

    def _set_fleet(self) -> None:
        try:
            found = replicas_of(
                self.plane.configuration.catalogue.models, self._engines, self._workspace.folder, self._keyring
            )
        except Exception:  # noqa: BLE001 - an engine's news must never end the gateway
            _log.exception("the fleet could not be set; the old one stays")
            return
        wiring.set_fleet(self.plane, found, self._share)

    def _share(self, slots: int) -> int:
        """This worker's of what a model takes at once, so that all together don't ask for more; at least one."""
        worker, workers = self._control.worker, self._control.workers
        return max(min(slots, 1), slots // workers + (worker < slots % workers))

    # what the admin socket asks

    async def state(self) -> dict[str, Any]:
        plane = self.plane
        return {
            "url": self._url,
            "worker": self._control.worker,
            "pid": os.getpid(),
            "snapshots": plane.configuration.snapshot.names,
            "draining": plane.draining,
            "overloaded": None if (too_much := self._overload.look()) is None else too_much.message,
            "memory": self._ladder.state(),
            "problems": self._problems,
            "requests": plane.requests,
            "stages": plane.stages,
            "outcomes": plane.outcomes,
            "store": self._kept.state(),
            "gates": plane.gates.views(),
            "cache": plane.cache.stats,
            "building": sorted(self._corpora.building),
            "corpora": {name: corpus.id for name, corpus in plane.configuration.corpora.items()},
            "journal": self._journal.state(),
            "engines": [_public(engine) for engine in self._engines.values()],
        }

    async def metrics(self, exemplars: bool = False) -> bytes:
        return await self._metrics.text(exemplars)

    async def flush(self) -> bool:
        rows, texts = await asyncio.gather(
            self._clock.offload(self._journal.flush), self._clock.offload(self._texts.flush)
        )
        return rows and texts

    async def forget(self) -> bool:
        self.plane.cache.clear()
        await self._clock.offload(self._texts.forget)
        return True

    async def budgets(self) -> list[Any]:
        if (lost := self._kept.state()["lost"]) is not None:
            raise StoreLostError(lost)  # what is held of it is not what is there
        return list(await self.plane.budgets.rows(self.plane.configuration.snapshot.tenancy))

    def fleet(self) -> dict[str, Any]:
        return {"replicas": self.plane.fleet.views(), "engines": [_public(one) for one in self._engines.values()]}

    def engine(self, name: str, verb: str) -> bool:
        if name not in self._engines:
            return False
        self._control.send(StopEngine(name=name) if verb == "stop" else StartEngine(name=name))
        return True


def _public(engine: EngineStatus) -> dict[str, Any]:
    """An engine's status without its key."""
    return {
        "name": engine.name,
        "state": engine.state,
        "url": engine.url,
        "pid": engine.pid,
        "detail": engine.detail,
        "restarts": engine.restarts,
    }


def _report(request: HttpRequest | None, error: BaseException) -> None:
    """What handlers raised; bytes that were no request are the client's business."""
    if isinstance(error, (HttpError, asyncio.CancelledError)):
        return
    known = request is not None and request.path in ROUTES  # another path is the caller's own words
    where = "a connection" if request is None else request.path if known else "a request"
    _log.error("%s: %s", where, type(error).__name__, exc_info=error)


def _lost_lines() -> int:
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, Output))

"""The data plane's parts as one value, and the port of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from trimtab.core.captured import TextSink
from trimtab.core.clock import Clock
from trimtab.core.errors import Refusal
from trimtab.core.ids import Ids
from trimtab.core.record import Record, RecordSink
from trimtab.core.request import Chunk, Completion, Text
from trimtab.core.telemetry import NO_TELEMETRY, Telemetry
from trimtab.dataplane.admission import Gate, Gates
from trimtab.dataplane.aside import Aside
from trimtab.dataplane.cache import AnswerCache
from trimtab.dataplane.classify import Classifier, Name, Prepared
from trimtab.dataplane.inference import Board, Choice, Dialer, Fleet, Governor, HedgeBudget, RetryBudget
from trimtab.dataplane.ingress import Catalogue
from trimtab.dataplane.online import NOTHING, Lookup, Online, Read
from trimtab.dataplane.retrieval import Corpus
from trimtab.dataplane.snapshot import Snapshot
from trimtab.dataplane.spend import Budgets, Lengths, Limiter, Pools, Store
from trimtab.foundations.embed import Embedder
from trimtab.foundations.tokens import TokenCounter

Headers = list[tuple[str, str]]

EMBEDDING_SLOTS = 2
"""Embedding requests at once. The engine has one thread, so one is served and the next is ready; more would gain
nothing, and each could put a long text before the question that a chat request has embedded meanwhile."""


class Reply(Protocol):
    """Where an answer goes, free of any dialect. One task uses it; `start` once, then `write`s, then `end`; or `fail`.

    A whole answer is one `write` of a Completion; a stream is `write`s of Chunks and Texts, as many as there are.
    """

    def start(self, status: int, headers: Headers, *, stream: bool) -> None: ...
    async def write(self, *items: Chunk | Text | Completion) -> None:
        """Send now, together; waits while the client is too slow (back-pressure). Cancelled when the client is gone."""
        ...

    async def end(self) -> None:
        """The answer is whole."""
        ...

    def fail(self, refusal: Refusal, headers: Headers, record: str) -> None:
        """Never waits. Before `start`: the error as the whole answer. After it: an error event, and the transfer is cut
        so that no reader can take what it has for the whole."""
        ...


async def _unknown(record_id: str) -> Record | None:
    """Where rows are kept nowhere."""
    return None


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded workspace as the data plane uses it; swapped whole, a request keeps the one it began with."""

    snapshot: Snapshot
    catalogue: Catalogue
    counters: Mapping[str, TokenCounter]
    """By model."""
    corpora: Mapping[str, Corpus]
    """By name: those whose index is ready."""
    prepared: Prepared
    """Intent models of the channels that declare intents."""
    need: frozenset[Name]
    """Features that policy reads at any stage, and the language, which templates and the cache ask for."""
    reads: tuple[Read, ...]
    """Declared features that policy reads."""


class DataPlane:
    """What `answer` works with. Only `configuration`, `online`, `draining` and the counts change after it was built."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: Ids,
        sink: RecordSink,
        dialer: Dialer,
        configuration: Configuration,
        secret: bytes,
        cache_bytes: int,
        embedder: Embedder,
        classifier: Classifier,
        store: Store,
        worker: int = 0,
        workers: int = 1,
        texts: TextSink | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self.clock, self.ids, self.sink, self.dialer = clock, ids, sink, dialer
        self.configuration = configuration
        self.secret, self.telemetry = secret, telemetry
        self.embedder = embedder
        self.classifier = classifier
        self.store = store
        self.texts = texts
        self.limiter = Limiter(store)
        self.budgets = Budgets(clock, store)
        self.pools = Pools(clock, store)
        self.lengths = Lengths()
        self.cache = AnswerCache(clock, cache_bytes)
        self.gates = Gates(clock)
        self.embedding_gate = Gate(clock, EMBEDDING_SLOTS)
        self.fleet = Fleet(clock, worker, workers)
        self.retries = RetryBudget(clock, workers)
        self.hedges = HedgeBudget()
        self.choice = Choice()
        self.signals = Board()
        self.governor = Governor()
        self.aside = Aside()
        self.recorded: Callable[[str], Awaitable[Record | None]] = _unknown
        """The request row of exactly this id, once it is where rows go."""
        self.online: Online = NOTHING
        """The newest values of declared features; swapped whole."""
        self.draining = False
        self.requests = 0
        self.stages: dict[str, int] = {}
        """How many requests went through each stage since the start."""
        self.outcomes: dict[str, int] = {}
        """Requests by path, or by refusal code."""

    def lookup(self, configuration: Configuration) -> Lookup:
        """What a request that has this configuration sees of features from now on."""
        stale_ns = configuration.snapshot.release.features.stale_ns
        return Lookup(self.online, configuration.reads, stale_ns, self.clock.wall_ns() if configuration.reads else 0)

    def count(self, record: Record) -> None:
        """One request has ended."""
        self.requests += 1
        for stage in record.stages:
            self.stages[stage] = self.stages.get(stage, 0) + 1
        outcome = record.code or record.path or "unknown"
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

"""Builds the data plane from ports, and puts a new configuration or fleet in place, whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trimtab.core.captured import TextSink
from trimtab.core.clock import Clock
from trimtab.core.ids import Ids
from trimtab.core.record import RecordSink
from trimtab.core.telemetry import NO_TELEMETRY, Telemetry
from trimtab.dataplane.classify import ALL, Classifier, Name, Prepared
from trimtab.dataplane.inference import Dialer, Replica
from trimtab.dataplane.ingress import Catalogue
from trimtab.dataplane.online import reads
from trimtab.dataplane.plane import Configuration, DataPlane
from trimtab.dataplane.policy import Policy
from trimtab.dataplane.retrieval import Corpus
from trimtab.dataplane.snapshot import Snapshot
from trimtab.dataplane.spend import MemoryStore, Store
from trimtab.foundations.embed import Embedder
from trimtab.foundations.tokens import TokenCounter

CACHE_BYTES = 64 << 20


def build(
    *,
    clock: Clock,
    ids: Ids,
    sink: RecordSink,
    dialer: Dialer,
    configuration: Configuration,
    secret: bytes,
    embedder: Embedder,
    classifier: Classifier,
    store: Store | None = None,
    cache_bytes: int = CACHE_BYTES,
    worker: int = 0,
    workers: int = 1,
    texts: TextSink | None = None,
    telemetry: Telemetry = NO_TELEMETRY,
) -> DataPlane:
    """A data plane without replicas; `set_fleet` gives it some. `secret`: the workspace's, at least 16 bytes. `store`:
    where limits and budgets are kept; unset, in this process. `worker` of `workers`: which one it is of those that
    share engines and the retry budget. `texts`: where those of channels that keep them go; unset, nowhere. `telemetry`:
    which upstreams are told of traces."""
    if len(secret) < 16:
        raise ValueError("the workspace secret has less than 16 bytes")
    return DataPlane(
        clock=clock,
        ids=ids,
        sink=sink,
        dialer=dialer,
        configuration=configuration,
        secret=secret,
        cache_bytes=cache_bytes,
        embedder=embedder,
        classifier=classifier,
        store=store or MemoryStore(clock),
        worker=worker,
        workers=workers,
        texts=texts,
        telemetry=telemetry,
    )


def configure(
    snapshot: Snapshot,
    counters: Mapping[str, TokenCounter],
    prepared: Prepared,
    corpora: Mapping[str, Corpus] | None = None,
) -> Configuration:
    """A snapshot ready for use. `counters` has one for each model of the release; `corpora` those that are ready."""
    release = snapshot.release
    return Configuration(
        snapshot=snapshot,
        catalogue=Catalogue(release.variants, release.models, release.aliases),
        counters=counters,
        corpora=corpora or {},
        prepared=prepared,
        need=_need(release.policy),
        reads=reads(release.policy, release.features),
    )


def set_fleet(
    plane: DataPlane, replicas: Mapping[str, Sequence[Replica]], share: Callable[[int], int] = lambda slots: slots
) -> None:
    """The replicas that are there now, by model, and with them the concurrency tokens of each model: `share` says how
    many of them are this plane's. What a replica can hold is what all of its slots need."""
    models = plane.configuration.catalogue.models
    known = {name: tuple(found) for name, found in replicas.items() if name in models}
    plane.fleet.update(known)
    plane.choice.update(known, {name: models[name].slots * models[name].context for name in known})

    def resize() -> None:
        """An ejected replica takes no requests, so that others' slots are all there are."""
        well = {name: plane.fleet.healthy(name) for name in known}
        plane.gates.resize({name: (share(models[name].slots * len(ids)), ids) for name, ids in well.items()})

    plane.fleet.changed = resize
    resize()


def _need(policy: Policy) -> frozenset[Name]:
    """Features that a rule reads, and the language, which templates and the cache ask for."""
    read = frozenset().union(*(policy.reads(at) for at in policy.tables))
    return frozenset(name for name in ALL if name in read or name == "language")

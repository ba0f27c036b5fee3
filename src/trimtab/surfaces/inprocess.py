"""A workspace's data plane inside this process, without sockets, engines or a journal: to try a stage, to measure one,
to replay a day. What serves requests is the same; what it stands on is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import Clock
from trimtab.core.errors import Refusal
from trimtab.core.ids import ClockIds
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.record import Record, RecordSink
from trimtab.core.request import Arrival, Chunk, Completion, Head, Message, Request, Text
from trimtab.core.tenancy import Channel, Key, KeyEntry, Limits, Tenancy, Tenant
from trimtab.dataplane import wiring
from trimtab.dataplane.classify import Classifier
from trimtab.dataplane.inference import Dialer
from trimtab.dataplane.plane import DataPlane, Headers
from trimtab.foundations.embed import Embedder
from trimtab.foundations.tokens import RatioEstimator
from trimtab.surfaces import indexes
from trimtab.surfaces.server.openai import parse

CHAT: Final = "/v1/chat/completions"
_SECRET: Final = b"nothing leaves this process"


async def open_plane(
    workspace: Workspace,
    tenancy: Tenancy,
    *,
    clock: Clock,
    embedder: Embedder,
    dialer: Dialer,
    sink: RecordSink,
    cache_bytes: int = wiring.CACHE_BYTES,
) -> DataPlane:
    """The workspace's data plane with these tenants, and without replicas; builds indexes that are not there."""
    snapshot = msgspec.structs.replace(workspace.snapshot, tenancy=tenancy)
    classifier = Classifier(clock, embedder, indexes.labels(workspace.folder, embedder))
    counters = {name: RatioEstimator() for name in snapshot.release.models}
    corpora = {}
    for name in indexes.used(tenancy):
        corpora[name] = (await indexes.ready(workspace.folder, name, embedder, clock)).corpus(name)
    return wiring.build(
        clock=clock,
        ids=ClockIds(clock),
        sink=sink,
        dialer=dialer,
        configuration=wiring.configure(snapshot, counters, await classifier.prepare(tenancy.tenants), corpora),
        secret=_SECRET,
        embedder=embedder,
        classifier=classifier,
        cache_bytes=cache_bytes,
    )


def keyed(tenancy: Tenancy) -> tuple[Tenancy, dict[str, str]]:
    """The same tenants, each with one key that lives in this process alone; and the keys by tenant."""
    texts = {name: make("test") for name in tenancy.tenants}
    keys = {}
    for name, tenant in tenancy.tenants.items():
        text = texts[name]
        key = Key(id=key_id(text), name="in process", sha256=hash_key(text), last4=text[-4:])
        keys[key.sha256] = KeyEntry(tenant, key)
    return msgspec.structs.replace(tenancy, keys=keys), texts


def unlimited(tenancy: Tenancy) -> Tenancy:
    """The same tenants without rates and budgets; caps of a request stay."""
    tenants = {name: _unlimited(tenant) for name, tenant in tenancy.tenants.items()}
    return msgspec.structs.replace(tenancy, tenants=tenants)


def chat_request(key: str, channel: str, messages: Sequence[Message], headers: Mapping[str, str]) -> Request:
    """As a caller sends it, body and all; read by the front door's own parser."""
    body = parse(msgspec.json.encode({"messages": messages}))

    async def read() -> Any:
        return body

    return Request(Head("POST", CHAT, {"authorization": f"Bearer {key}", "trimtab-channel": channel, **headers}), read)


def arrival(clock: Clock) -> Arrival:
    """Just now, from this machine."""
    return Arrival(at_ns=clock.now_ns(), wall_ns=clock.wall_ns(), loopback=True)


class Nowhere:
    """A sink that keeps no record."""

    def write(self, record: Record) -> None: ...


class Silent:
    """A reply that nobody reads."""

    def start(self, status: int, headers: Headers, *, stream: bool) -> None: ...

    async def write(self, *items: Chunk | Text | Completion) -> None: ...

    async def end(self) -> None: ...

    def fail(self, refusal: Refusal, headers: Headers, record: str) -> None: ...


def _unlimited(tenant: Tenant) -> Tenant:
    channels = {name: _channel(channel) for name, channel in tenant.channels.items()}
    return msgspec.structs.replace(tenant, limits=Limits(), budgets=[], channels=channels)


def _channel(channel: Channel) -> Channel:
    return msgspec.structs.replace(channel, limits=Limits(), cost=msgspec.structs.replace(channel.cost, budgets=[]))


__all__ = ["CHAT", "Nowhere", "Silent", "arrival", "chat_request", "keyed", "open_plane", "unlimited"]

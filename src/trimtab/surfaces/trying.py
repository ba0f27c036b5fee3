"""One stage on lines of one's own: the very functions that serve, without a gateway, a key or a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.controlplane.registry import Workspace, load
from trimtab.core.clock import Clock, SystemClock
from trimtab.core.document import Document
from trimtab.core.errors import Refusal
from trimtab.core.ids import ClockIds
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.ledger import Ledger
from trimtab.core.record import Record
from trimtab.core.request import Arrival, Chunk, Completion, Head, Request
from trimtab.core.tenancy import Channel, Key, KeyEntry, Limits, Tenancy, Tenant
from trimtab.dataplane import wiring
from trimtab.dataplane.classify import Classifier
from trimtab.dataplane.ground import ground
from trimtab.dataplane.guard import OutScreen, regions_of
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.pipeline import decide
from trimtab.dataplane.plane import DataPlane, Headers
from trimtab.dataplane.retrieval import Hit, question_of, retrieve
from trimtab.dataplane.routing.rank import RETRIEVAL_TOKENS
from trimtab.dataplane.run import Run
from trimtab.foundations.embed import create_embedder
from trimtab.foundations.tokens import RatioEstimator
from trimtab.surfaces import indexes
from trimtab.surfaces.server.openai import parse

STAGES: Final = ("bind", "guard_in", "classify", "decide", "route", "retrieve", "guard_out")
_PATH: Final = "/v1/chat/completions"
_PATIENCE_S: Final = 60.0


class Try(Document, frozen=True):
    """A line. `text` is short for one user message; `answer`, for `guard_out`, is what a model would have said."""

    id: str | int | None = None
    tenant: str | None = None
    channel: str | None = None
    text: str | None = None
    messages: list[dict[str, Any]] = []
    answer: str | None = None


class Trial:
    """A workspace ready to try stages of. Rates and money are not looked at; nothing is recorded or sent."""

    def __init__(self, workspace: Workspace, plane: DataPlane, clock: Clock, keys: Mapping[str, str]) -> None:
        """`keys`: of each tenant, for this trial alone."""
        self._workspace, self._plane, self._clock, self._keys = workspace, plane, clock, keys

    @classmethod
    async def open(cls, folder: Path) -> Trial:
        """Raises ConfigError for a broken workspace; builds indexes that are not there."""
        clock = SystemClock()
        workspace = load(folder, clock)
        keys = {name: make("test") for name in workspace.snapshot.tenancy.tenants}
        tenancy = _open(workspace.snapshot.tenancy, keys)
        snapshot = msgspec.structs.replace(workspace.snapshot, tenancy=tenancy)
        embedder = create_embedder("nano", clock)
        classifier = Classifier(clock, embedder)
        counters = {name: RatioEstimator() for name in snapshot.release.models}
        corpora = {
            name: (await indexes.ready(folder, name, embedder, clock)).corpus(name) for name in indexes.used(tenancy)
        }
        plane = wiring.build(
            clock=clock,
            ids=ClockIds(clock),
            sink=_Nowhere(),
            dialer=Http1Dialer(),
            configuration=wiring.configure(snapshot, counters, await classifier.prepare(tenancy.tenants), corpora),
            secret=b"nothing leaves a trial",
            embedder=embedder,
            classifier=classifier,
        )
        return cls(workspace, plane, clock, keys)

    async def run(self, stage: str, line: Try) -> dict[str, Any]:
        """The stage's object as the record has it, or `error`."""
        tenant, channel = self._place(line)
        if tenant is None:
            return {"error": {"code": "channel_required", "message": "name a tenant and a channel that there are"}}
        run = Run(Ledger(self._clock, _arrival(self._clock), self._plane.ids.record_id()), _Silent(), self._plane)
        decided = await decide(self._request(line, tenant, channel), run)
        record = run.record
        found = await self._found(stage, line, run)
        if found is not None:
            return {stage: found}
        code, message = ("unknown", "the stage was not reached")
        if isinstance(decided, Refusal):
            code, message = decided.code.wire, decided.message
        return {"error": {"code": record.code or code, "message": message}}

    async def _found(self, stage: str, line: Try, run: Run) -> Any:
        record = run.record
        if stage == "bind":
            return record.contract
        if stage == "guard_in":
            if run.body is None:
                return None
            rows = [row for row in record.guards if row.stage == "in"]
            return {"guards": rows, "messages": run.body.messages}
        if stage == "classify":
            return record.features
        if stage == "decide":
            return [rule for rule in record.rules if rule.at == "decide"] or None
        if stage == "route":
            return record.plans or None
        if run.body is None or run.bound is None:
            return None
        hits = await self._hits(run)
        if stage == "retrieve":
            return [
                {
                    "source": hit.passage.source,
                    "title": hit.passage.title,
                    "cosine": hit.cosine,
                    "text": hit.passage.text,
                }
                for hit in hits
            ]
        return self._guarded(line, run)

    async def _hits(self, run: Run) -> tuple[Hit, ...]:
        corpus = run.corpus
        if corpus is None or run.body is None:
            return ()
        run.retrieved = await retrieve(
            corpus,
            self._plane.embedder,
            question_of(run.body.messages),
            max_tokens=RETRIEVAL_TOKENS,
            count=RatioEstimator().count,
            timeout_s=_PATIENCE_S,
            language=run.language,
        )
        return run.retrieved.hits

    def _guarded(self, line: Try, run: Run) -> dict[str, Any] | None:
        """What becomes of `answer`: the guards' rows, and whether the passages support it."""
        if line.answer is None:
            return None
        assert run.bound is not None
        guards = run.bound.channel.guards
        screen = OutScreen(
            run.guards_out, guards.deny, run.placeholders, guards.restore, regions_of(tuple(run.bound.tenant.markets))
        )
        screen.feed(Chunk({"choices": [{"index": 0, "delta": {"content": line.answer}, "finish_reason": "stop"}]}))
        verdict = ground(run, {"choices": [{"message": {"content": line.answer}}]})
        rows = [*screen.rows(), *(row for row in run.record.guards if row.check == "grounded")]
        found: dict[str, Any] = {"guards": rows}
        if verdict is not None:
            found |= {"supported": verdict.supported, "score": verdict.score, "reasons": verdict.reasons}
            found["quote"] = verdict.quote
        return found

    def _place(self, line: Try) -> tuple[str | None, str]:
        """The tenant and channel that a line means; the only ones there are need not be named."""
        tenants = self._workspace.snapshot.tenancy.tenants
        tenant, channel = line.tenant, line.channel or ""
        if tenant is None and "/" in channel:
            tenant, _, channel = channel.partition("/")
        if tenant is None and len(tenants) == 1:
            tenant = next(iter(tenants))
        if tenant not in tenants:
            return None, channel
        channels = tenants[tenant].channels
        channel = channel.removeprefix(f"{tenant}/") or (next(iter(channels)) if len(channels) == 1 else "")
        return (tenant if channel in channels else None), channel

    def _request(self, line: Try, tenant: str, channel: str) -> Request:
        messages = line.messages or [{"role": "user", "content": line.text or ""}]
        body = parse(msgspec.json.encode({"messages": messages}))
        headers = {
            "authorization": f"Bearer {self._keys[tenant]}",
            "trimtab-channel": channel,
            "cache-control": "no-store",
        }

        async def read() -> Any:
            return body

        return Request(Head("POST", _PATH, headers), read)


def _open(tenancy: Tenancy, texts: Mapping[str, str]) -> Tenancy:
    """The same tenants without limits and budgets, each with a key for trials only, which lives in this process."""
    tenants: dict[str, Tenant] = {}
    keys: dict[str, KeyEntry] = {}
    for name, tenant in tenancy.tenants.items():
        channels = {own: _unlimited(channel) for own, channel in tenant.channels.items()}
        tenants[name] = msgspec.structs.replace(tenant, limits=Limits(), budgets=[], channels=channels)
        text = texts[name]
        key = Key(id=key_id(text), name="trial", sha256=hash_key(text), last4=text[-4:])
        keys[key.sha256] = KeyEntry(tenants[name], key)
    return msgspec.structs.replace(tenancy, tenants=tenants, keys=keys)


def _unlimited(channel: Channel) -> Channel:
    cost = msgspec.structs.replace(channel.cost, budgets=[])
    return msgspec.structs.replace(channel, limits=Limits(), cost=cost)


def _arrival(clock: Clock) -> Arrival:
    return Arrival(at_ns=clock.now_ns(), wall_ns=clock.wall_ns(), loopback=True)


class _Nowhere:
    def write(self, record: Record) -> None:
        """A trial leaves no record."""


class _Silent:
    """Nobody is told anything."""

    def start(self, status: int, headers: Headers, *, stream: bool) -> None: ...

    async def write(self, item: Chunk | Completion) -> None: ...

    async def end(self) -> None: ...

    def fail(self, refusal: Refusal, headers: Headers, record: str) -> None: ...


__all__ = ["STAGES", "Trial", "Try"]

"""One stage on lines of one's own: the very functions that serve, without a gateway, a key or a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trimtab.controlplane.registry import Workspace, load
from trimtab.core.clock import Clock, SystemClock
from trimtab.core.document import Document
from trimtab.core.errors import Refusal
from trimtab.core.ledger import Ledger
from trimtab.core.request import Chunk, Request
from trimtab.dataplane.ground import ground
from trimtab.dataplane.guard import OutScreen, regions_of
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.pipeline import decide
from trimtab.dataplane.plane import DataPlane
from trimtab.dataplane.retrieval import Hit, question_of, retrieve
from trimtab.dataplane.routing.rank import RETRIEVAL_TOKENS
from trimtab.dataplane.run import Run
from trimtab.foundations.config import did_you_mean
from trimtab.foundations.embed import create_embedder
from trimtab.foundations.tokens import RatioEstimator
from trimtab.surfaces.inprocess import Nowhere, Silent, arrival, chat_request, keyed, open_plane, unlimited

STAGES: Final = ("bind", "guard_in", "classify", "decide", "route", "retrieve", "guard_out")
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
        tenancy, keys = keyed(unlimited(workspace.snapshot.tenancy))
        embedder = create_embedder("nano", clock)
        plane = await open_plane(
            workspace, tenancy, clock=clock, embedder=embedder, dialer=Http1Dialer(), sink=Nowhere()
        )
        return cls(workspace, plane, clock, keys)

    async def run(self, stage: str, line: Try) -> dict[str, Any]:
        """The stage's object as the record has it, or `error`."""
        tenant, channel = self._place(line)
        wrong = self._astray(tenant, channel)
        if wrong:
            return {"error": {"code": "channel_required", "message": wrong}}
        assert tenant is not None
        run = Run(Ledger(self._clock, arrival(self._clock), self._plane.ids.record_id()), Silent(), self._plane)
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
        verdict = ground(run, [line.answer])
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
        channels = tenants[tenant].channels if tenant in tenants else {}
        return tenant, channel.removeprefix(f"{tenant}/") or (next(iter(channels)) if len(channels) == 1 else "")

    def _astray(self, tenant: str | None, channel: str) -> str:
        """What is wrong with a tenant and channel, and what was meant; blank if nothing is."""
        tenants = self._workspace.snapshot.tenancy.tenants
        if tenant not in tenants:
            said = "name a tenant" if tenant is None else f"there is no tenant {tenant!r}"
            return f"{said}. {did_you_mean(tenant or '', tenants)}"
        channels = tenants[tenant].channels
        if channel not in channels:
            said = f"there is no channel {channel!r} of {tenant}" if channel else f"name a channel of {tenant}"
            return f"{said}. {did_you_mean(channel, channels)}"
        return ""

    def _request(self, line: Try, tenant: str, channel: str) -> Request:
        messages = line.messages or [{"role": "user", "content": line.text or ""}]
        return chat_request(self._keys[tenant], channel, messages, {"cache-control": "no-store"})


__all__ = ["STAGES", "Trial", "Try"]

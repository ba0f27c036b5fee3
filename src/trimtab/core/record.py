"""Record v1: the one row that each request leaves behind. null is unknown, 0 is a measured zero. Holds no text.

Frozen by tests/golden: a change is a version step, a migration, and a line in the changelog.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Literal, Protocol

import msgspec

from trimtab.core.contract import Asked, Contract
from trimtab.core.decision import Features, Path, RuleTrace
from trimtab.core.money import Usage

Outcome = Literal["success", "dropped", "ignored"]

answering: ContextVar[str | None] = ContextVar("answering", default=None)
"""Id of the record of the request that this task answers: what a log line says of whose it is."""


class Snapshots(msgspec.Struct, kw_only=True):
    """Which immutable values decided: names of the workspace's parts."""

    tenancy: str | None = None
    release: str | None = None
    prices: str | None = None
    weights: str | None = None
    fleet: str | None = None


class PlanRow(msgspec.Struct, kw_only=True):
    """A ranked plan, and why it was left, if it was."""

    variant: str
    tier: str
    path: str
    max_tokens: int
    estimate_nanousd: int | None
    degradations: list[str]
    outcome: str | None = None
    """taken, or the refusal's code."""


class Attempt(msgspec.Struct, kw_only=True):
    """One call of a replica; `start_ms` after arrival."""

    replica: str
    start_ms: float
    outcome: Outcome
    reason: str | None = None
    usage: Usage | None = None
    variant: str | None = None


class InterToken(msgspec.Struct, kw_only=True):
    """Gaps between content chunks, ms."""

    p50: float
    p95: float
    max: float


class Tokens(msgspec.Struct, kw_only=True):
    """Tokens by where they came from; the parts of the prompt are estimates, the totals are the upstream's."""

    system: int | None = None
    history: int | None = None
    user: int | None = None
    retrieved: int | None = None
    compressed: int | None = None
    prompt: int | None = None
    cached: int | None = None
    written: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    guard: int | None = None
    source: str | None = None


class CostRow(msgspec.Struct, kw_only=True):
    """Nano-dollars: predicted, held, true, and what the channel's one-model-for-all would have cost."""

    estimate_nanousd: int | None = None
    reserved_nanousd: int | None = None
    settled_nanousd: int | None = None
    baseline_nanousd: int | None = None


class Met(msgspec.Struct, kw_only=True):
    """Whether the contract was kept; None where it can't be told."""

    latency: bool | None = None
    quality: bool | None = None
    cost: bool | None = None


class GuardRow(msgspec.Struct, kw_only=True):
    """One check of one guard stage: how often it fired, never on what."""

    stage: Literal["in", "out"]
    check: str
    hits: int
    action: str


class Record(msgspec.Struct, kw_only=True):
    """One row. `seq` orders a worker's rows; `prev` chains them (both set by the journal that writes the row)."""

    v: int = 1
    kind: Literal["request", "adjust", "verdict", "shadow", "lost"] = "request"
    id: str
    of: str | None = None
    worker: int | None = None
    seq: int | None = None
    prev: str | None = None
    t_wall_ns: int
    tenant: str | None = None
    channel: str | None = None
    route: str | None = None
    persona: str | None = None
    market: str | None = None
    key_id: str | None = None
    session: str | None = None
    role: str | None = None
    snapshots: Snapshots
    contract: Contract | None = None
    asked: Asked | None = None
    features: Features | None = None
    rules: list[RuleTrace]
    plans: list[PlanRow]
    path: Path | None = None
    tier: str | None = None
    variant: str | None = None
    replica: str | None = None
    attempts: list[Attempt]
    stages: dict[str, list[float]]
    """name: [start_ms, dur_ms] after arrival; a stage entered twice has the first start and the summed time."""
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    itl: InterToken | None = None
    tokens: Tokens
    cost: CostRow
    predicted: dict[str, float]
    guards: list[GuardRow]
    certificates: list[dict[str, Any]]
    status: int | None = None
    code: str | None = None
    rule: str | None = None
    finish_reason: str | None = None
    stream: bool | None = None
    met: Met


class RecordSink(Protocol):
    """Where finished records go. Never blocks, never raises for a full disk (that is the sink's own business)."""

    def write(self, record: Record) -> None: ...


def blank(record_id: str, wall_ns: int) -> Record:
    """A record of which nothing is known yet but its name and time."""
    return Record(
        id=record_id,
        t_wall_ns=wall_ns,
        snapshots=Snapshots(),
        rules=[],
        plans=[],
        attempts=[],
        stages={},
        tokens=Tokens(),
        cost=CostRow(),
        predicted={},
        guards=[],
        certificates=[],
        met=Met(),
    )

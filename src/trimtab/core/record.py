"""Record v1: the one row that each request leaves behind. null is unknown, 0 is a measured zero. Holds no text.

Frozen by tests/golden: a change is a version step, a migration, and a line in the changelog.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Literal, Protocol

import msgspec

from trimtab.core.contract import Asked, Contract
from trimtab.core.decision import Features, Path, RuleTrace
from trimtab.core.rows import (
    AdmissionRow,
    Attempt,
    CertificateRow,
    CostRow,
    ExperimentRow,
    GatewayRow,
    GuardRow,
    InterToken,
    Met,
    PlanRow,
    SeenFeature,
    SettingRow,
    Snapshots,
    Tokens,
    TraceRow,
    VerdictRow,
)

ALIVE_S: Final = 60.0
"""A gateway that has had nothing to write for so long writes that it is there."""

answering: ContextVar[str | None] = ContextVar("answering", default=None)
"""Id of the record of the request that this task answers: what a log line says of whose it is."""


class Record(msgspec.Struct, kw_only=True):
    """One row. `seq` orders a worker's rows; `prev` chains them (both set by the journal that writes the row)."""

    v: int = 1
    """Version of this layout."""
    kind: Literal["request", "adjust", "verdict", "shadow", "lost", "refused", "gateway"] = "request"
    """request; refused: how many requests of a channel the gateway refused on arrival with this `code`, since it had
    too much to do to write a row for each; gateway: that a gateway process was there; adjust: what a provider billed
    beyond what the request had reserved, in money alone; lost: what a
    request held of a shared store when its gateway was lost, which counts as spent (negative: its gateway turned up,
    and it does not); shadow: a variant that was asked beside an answer, with what that took and cost, which nobody is
    charged; verdict: what somebody said of an answer (`/v1/feedback`)."""
    id: str
    """`rec_` and a ULID; the caller has it as `trimtab-record`."""
    of: str | None = None
    """The record that this one is about; null in a request's own."""
    worker: int | None = None
    """The gateway process that wrote it."""
    seq: int | None = None
    """Number within the worker, without gaps."""
    prev: str | None = None
    """Hash of the worker's row before: the chain that `report --verify` checks."""
    t_wall_ns: int
    """Arrival, nanoseconds since 1970 (UTC)."""
    tenant: str | None = None
    """Who pays; null where the key was refused."""
    channel: str | None = None
    """Name within the tenant; before the body was read as the headers say; null where these name none that is there."""
    route: str | None = None
    """HTTP path."""
    persona: str | None = None
    """Of the key or the caller."""
    market: str | None = None
    """Of the key."""
    key_id: str | None = None
    """Which key; null where it was refused."""
    session: str | None = None
    """HMAC of the conversation, 16 hex; equal for equal conversations of a tenant."""
    role: Literal["arm", "control", "shadow"] | None = None
    """Who answered, in an experiment: its arm, or what that stands in for; shadow in a row of that kind; null: there is
    no experiment, or someone whom it does not touch answered, or nobody."""
    trace: TraceRow | None = None
    """Its place in a trace; null in rows that are no request's."""
    experiment: ExperimentRow | None = None
    """The session's place in its channel's experiment; null: the channel has none, or the caller named a variant."""
    snapshots: Snapshots
    """Which immutable values decided."""
    contract: Contract | None = None
    """The bound terms; null before bind."""
    events: list[str] = []
    """Names of the events that raised its priority class; empty where the class is no higher than declared."""
    asked: Asked | None = None
    """What the caller asked for."""
    features: Features | None = None
    """What the classifier said; null before classify."""
    online: list[SeenFeature] = []
    """Declared features that rules read; empty where no rule does."""
    rules: list[RuleTrace]
    """Every rule that was looked at, in order."""
    plans: list[PlanRow]
    """Ranked plans, then those left out, with the reason."""
    path: Path | None = None
    """cache-exact, direct, rag, template or refused; null where the caller hung up before."""
    tier: str | None = None
    """Who answered; null where no model did."""
    variant: str | None = None
    """Who answered, NAME@HASH."""
    replica: str | None = None
    """Who answered."""
    attempts: list[Attempt]
    """Every call of a replica."""
    stages: dict[str, list[float]]
    """name: [start_ms, dur_ms] after arrival; a stage entered twice has the first start and the summed time."""
    ttft_ms: float | None = None
    """Arrival to the first byte of a stream's content; null for whole answers."""
    e2e_ms: float | None = None
    """Arrival to the end."""
    itl: InterToken | None = None
    """Gaps between content chunks; null without a stream."""
    tokens: Tokens
    """Tokens by where they came from."""
    cost: CostRow
    """Money."""
    predicted: dict[str, float]
    """What was foreseen of a request that a model ran for, when it was sent (`sent_ms` after arrival; what follows
    counts from there): `ttft_ms`, `itl_ms` (mean), `e2e_ms`, which are kept with the share `percentile`;
    `model_ttft_ms`, `model_itl_ms`, `model_e2e_ms` without the correction by earlier errors; `epoch`, how often the
    model's pace had changed for good: errors are learned from within one; `output_tokens`; and what it was foreseen
    from, by llm-d's names: `input_token_length`, `num_request_running`, `num_request_waiting`,
    `prefill_tokens_in_flight`, `decode_tokens_in_flight`; where there are several replicas also `prefix_cache_score`,
    the share of its prompt that the one asked first was believed to hold."""
    guards: list[GuardRow]
    """Each check of each guard stage."""
    setting: SettingRow | None = None
    """Which setting of the model's engines it was to get; null: the model has none for it."""
    verdict: VerdictRow | None = None
    """In a row of that kind: what was said."""
    count: int | None = None
    """In a row of the kind refused: how many."""
    gateway: GatewayRow | None = None
    """In a row of that kind: what became of the process."""
    admissions: list[AdmissionRow] = []
    """What the gate of each plan that was tried decided, in order."""
    certificates: list[CertificateRow]
    """What a decision about this request relied on."""
    status: int | None = None
    """HTTP status that was sent, or 499 where the caller hung up."""
    code: str | None = None
    """Error code; null where it was answered."""
    rule: str | None = None
    """The rule, limit or budget that refused."""
    finish_reason: str | None = None
    """As the caller got it."""
    stream: bool | None = None
    """Whether a stream was asked for; null before the body was read."""
    met: Met
    """Whether the contract was kept."""


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

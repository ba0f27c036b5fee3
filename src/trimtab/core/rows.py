"""Parts of a record: what each stage of a request's way wrote down. See `record.py`, whose rules hold for them too."""

from __future__ import annotations

from typing import Literal

import msgspec

from trimtab.core.money import Usage

Outcome = Literal["success", "dropped", "ignored"]
Figure = Literal["ttft", "itl", "e2e"]
Certified = Literal["ttft", "itl", "e2e", "met"]
Short = Literal["slots", "turn", "ttft", "itl", "e2e", "others", "booked", "share"]

Why = Literal["first", "again", "other replica", "next plan", "continue", "hedge"]


class Snapshots(msgspec.Struct, kw_only=True):
    """Which immutable values decided: names of the workspace's parts."""

    tenancy: str | None = None
    """Tenants, channels, keys, budgets."""
    release: str | None = None
    """Models, variants, prompts, policy, templates."""
    prices: str | None = None
    """Prices."""
    weights: str | None = None
    """Nothing fills it yet."""
    fleet: str | None = None
    """Nothing fills it yet."""


class PlanRow(msgspec.Struct, kw_only=True):
    """A ranked plan, and why it was left, if it was."""

    variant: str
    """NAME@HASH of what would answer."""
    tier: str
    """S, M or L."""
    path: str
    """direct or rag."""
    max_tokens: int
    """Cap of each choice's answer."""
    estimate_nanousd: int | None
    """Cost at the caps; null: no price."""
    degradations: list[str]
    """What was made smaller: window, retrieval, tier."""
    outcome: str | None = None
    """taken; why it was left out or failed; null: not reached."""


class Attempt(msgspec.Struct, kw_only=True):
    """One call of a replica."""

    replica: str
    """`engine:NAME`, or MODEL/NUMBER of an endpoint."""
    start_ms: float
    """After arrival."""
    outcome: Outcome
    """success, dropped (failed or cut) or ignored."""
    reason: str | None = None
    """Why it was dropped."""
    usage: Usage | None = None
    """Its tokens."""
    variant: str | None = None
    """The variant that was asked."""
    why: Why = "first"
    """What led to it: the request's first; the same replica once more; another replica of the model; the next plan;
    going on with a stream that broke; a second one beside a slow one."""
    skipped: int = 0
    """Events of its stream that were no JSON, and were left out."""
    overflow: bool = False
    """The request left its residency, on the terms of the model's `overflow`."""
    model: str | None = None
    """The name by which the model was asked for there."""
    dialect: str | None = None
    """How it was spoken to; null: it runs in the gateway."""
    first_ms: float | None = None
    """From its start to its first content; null: none came."""
    dur_ms: float | None = None
    """From its start to its end."""
    span_id: str | None = None
    """Of its span, 16 hex: what the upstream was sent in `traceparent`, if anything."""


class InterToken(msgspec.Struct, kw_only=True):
    """Gaps between content chunks, ms."""

    p50: float
    """Median."""
    p95: float
    """95th percentile."""
    max: float
    """Longest."""


class Tokens(msgspec.Struct, kw_only=True):
    """Tokens by where they came from; the parts of the prompt are estimates, the totals are the upstream's."""

    system: int | None = None
    """System prompt, estimated."""
    history: int | None = None
    """Earlier turns, estimated."""
    user: int | None = None
    """Last user turn, estimated."""
    retrieved: int | None = None
    """Passages, counted; null without retrieval."""
    compressed: int | None = None
    """Nothing fills it yet."""
    prompt: int | None = None
    """All of the prompt; 0 from the cache."""
    cached: int | None = None
    """Of these, from the provider's cache."""
    written: int | None = None
    """Of these, written to it."""
    written_1h: int | None = None
    """Of those written, the ones that are kept there for an hour."""
    audio_in: int | None = None
    """Of the prompt, audio."""
    audio_cached: int | None = None
    """Of the audio, from the provider's cache."""
    completion: int | None = None
    """The answer."""
    reasoning: int | None = None
    """Of these, reasoning."""
    audio_out: int | None = None
    """Of the answer, audio."""
    guard: int | None = None
    """Nothing fills it yet."""
    source: str | None = None
    """upstream, counted, estimated, or cache."""


class CostRow(msgspec.Struct, kw_only=True):
    """Nano-dollars: predicted, held, true, and what the channel's one-model-for-all would have cost."""

    estimate_nanousd: int | None = None
    """Of the plan at its caps."""
    reserved_nanousd: int | None = None
    """Held on every budget."""
    settled_nanousd: int | None = None
    """What it came to; null: a model without a price was asked."""
    unpriced: list[str] = []
    """Kinds of tokens that were used, have no price of their own, and cost the dearest that applies: `written_1h`,
    `audio_in`, `audio_out`."""
    baseline_nanousd: int | None = None
    """The same tokens by the channel's `baseline`; null: none is declared or priced."""


class Met(msgspec.Struct, kw_only=True):
    """Whether the contract was kept; None where it can't be told."""

    latency: bool | None = None
    """End-to-end, first token and gaps were in time."""
    quality: bool | None = None
    """Null in a request's own row; in a verdict, whether a score that judges the answer was at least a half."""
    cost: bool | None = None
    """The cost was within the cap."""


class GuardRow(msgspec.Struct, kw_only=True):
    """One check of one guard stage: how often it fired, never on what."""

    stage: Literal["in", "out"]
    """On the way in or out."""
    check: str
    """The check."""
    hits: int
    """How often it fired."""
    action: str
    """none, redacted, restored or blocked."""


class ExperimentRow(msgspec.Struct, kw_only=True):
    """A session's place in an experiment, whoever then answered."""

    name: str
    """Of the experiment."""
    arm: str
    """control, or the arm's name."""
    instead: str | None = None
    """Why control answered where the arm should have; null: it did not."""


class SettingRow(msgspec.Struct, kw_only=True):
    """Which setting of a model's engines a request was to get, and what that is known to gain."""

    model: str
    """Whose `settings`."""
    name: str | None
    """The setting; null: the model's own endpoints."""
    why: Literal["measured", "remembered", "measured for all", "neighbour", "exploring", "batch", "overhead"]
    """What decided: the tenant's own measurements (with a certificate), what was decided before the gateway started
    anew, the measurements of all tenants, those at other numbers of requests; or it was this request's turn to show
    what the other choice takes. Or too many requests ran (`batch`), or the engine proposed too many tokens in vain
    (`overhead`)."""
    running: int
    """Requests of the model that ran, whatever their setting."""
    about: str
    """The setting that `gain` is about."""
    gain: float | None = None
    """Time for a token on the model's own endpoints over that on the setting, lately; null: one of them is unknown."""
    full: bool = False
    """The setting had no room, or nobody who is well, so that the model's own endpoints were asked."""
    by: str | None = None
    """The setting that answered; null: the model's own endpoints, or nobody."""
    drafted: int | None = None
    """Tokens that the engine proposed; null: it did not tell."""
    accepted: int | None = None
    """Of these, those that the model accepted."""


class VerdictRow(msgspec.Struct, kw_only=True):
    """What came of an answer, as its caller said."""

    name: str
    """Of what is told: thumb, csat, correct, conversion, abandoned, or the caller's own."""
    score: float | None = None
    """In [0,1]; null: it was no score."""
    label: str | None = None
    """A class."""
    value: float | None = None
    """A quantity: stars, seconds, money."""


class AdmissionRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the gate of one plan's model decided, and by which numbers. Times are in ms from the decision on."""

    model: str
    """Whose gate it was."""
    how: Literal["free", "waited", "booked", "probe", "refused"]
    """Let in at once, after a wait, at the time it had been told, or although it would be late; or refused."""
    short: Short | None = None
    """What stood in the way of who was refused: slots, turn (others wait before it), ttft, itl, e2e (its own target),
    others (somebody's who runs), booked (promised to others who come about now), share (its tenant has a third or
    more of what runs, and leaves the last places to those who have come lately)."""
    waited_ms: float | None = None
    """In line; null: it did not wait."""
    percentile: float
    """At which its contract promises latency."""
    level: float | None = None
    """Of the quantile of forecast errors that was reckoned with; null: too little was known, slots decided."""
    ttft_ms: float | None = None
    """To its first token, at that level."""
    itl_ms: float | None = None
    """Between two tokens, at that level."""
    e2e_ms: float | None = None
    """To its end, at that level."""
    waived: list[Figure] = []
    """Targets that the tier could not keep even when idle, and that stood in nobody's way."""
    replica: str | None = None
    """Where the model has several: the one that it was reckoned with, which is asked first."""
    held: float | None = None
    """Share of its prompt that this one was believed to hold already."""
    replica_ms: float | None = None
    """What the request costs there, in ms that people wait (`dataplane/inference/README.md`); null: too little was
    known, the fewest requests decided."""
    next_ms: float | None = None
    """What it would have cost on the next replica."""
    running: int
    """Requests that ran."""
    waiting: int
    """Requests in line."""
    slots: int
    """The most that may run."""
    retry_after_s: float | None = None
    """When it was told to come back, where this was the refusal that it got."""

    @property
    def counts(self) -> bool:
        """Whether what came of it says something of the level: forecasts let it in, by all of its targets."""
        return self.how not in ("refused", "probe") and self.level is not None and not self.waived


class Over(msgspec.Struct, kw_only=True):
    """Where the observations of a certificate stand in the records: in the rows of the worker that wrote it, in the
    order of `seq`, from one to another, both counted, those of this model that `core.outcome` has an outcome of."""

    figure: Certified
    """ttft, itl or e2e: how far above their forecasts these were; met: who was let in by forecasts and missed its
    contract."""
    model: str
    """Whose requests."""
    percentile: float
    """What is promised, as a share."""
    since: str | None = msgspec.field(name="from")
    """Id of the first row that was learned from; null: none was. A gateway process knows of no row before: neither
    counts nor errors are taken over from an earlier one, except by learning from its rows again."""
    until: str | None
    """Id of the last row that had been learned from when this was written."""


class CertificateRow(msgspec.Struct, kw_only=True):
    """What is claimed, by what theorem, from how many observations, and where these are found."""

    claim: str
    """What the figures are about."""
    method: str
    """The theorem's short name."""
    estimate: float | None
    """What was seen; null: nothing yet."""
    lower: float
    """The true figure is not below."""
    upper: float
    """Nor above."""
    error: float
    """Probability that this is false; 0: it holds whatever comes."""
    observations: int
    """How many."""
    over: Over | None = None
    """How to compute it anew (`report --recheck`); null: records alone can't."""


class GatewayRow(msgspec.Struct, kw_only=True):
    """That a gateway process was there: what availability is reckoned from where nothing was asked, or nobody was there
    to write it down."""

    event: Literal["start", "alive", "stop"]
    """start: it serves from now on; alive: it has had nothing else to write for a minute; stop: its last request has
    ended, and it serves no more. A process without a stop was lost."""
    supervisor: str | None
    """Of which `trimtab serve` it is a part, as long as that lives callers wait for the next gateway instead of being
    refused; null: the system does not tell."""


class SeenFeature(msgspec.Struct, kw_only=True):
    """What rules could read of one declared feature (`features.yaml`), when they looked."""

    name: str
    """As declared; rules read it as `feature_NAME`."""
    definition: str
    """Hash of what it was declared to be."""
    key: str | None
    """Whose: tenant, TENANT/CHANNEL, market, variant or tier; null: the request has none."""
    value: float | None
    """Null: unknown, or too old, so that rules saw its default."""
    as_of_ns: int | None
    """It was reckoned from what had ended before this, in nanoseconds since 1970; null: nothing was reckoned yet."""


class TraceRow(msgspec.Struct, kw_only=True):
    """The request's place in a trace (W3C Trace Context)."""

    trace_id: str
    """32 hex: the caller's, or the bits of the record's ULID."""
    span_id: str
    """16 hex: the request's own span."""
    parent_span_id: str | None
    """The caller's span; null: it sent no `traceparent`, or none that can be read."""
    sampled: bool
    """As upstreams are told: the caller's flag or, in a new trace, whether it is of the share that is kept."""

"""Who pays and what they declared: tenants, keys, channels, limits, budgets. Plain values, loaded by the registry."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from trimtab.core.contract import Emit, OnMiss, PriorityName, Resume
from trimtab.core.document import Document
from trimtab.core.models import Share, Slug, Tier

Hex64 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits, the SHA-256 of the key")]
KeyId = Annotated[str, Meta(pattern="^key_[0-9a-f]{16}$", description="key_ and 16 hexadecimal digits")]
Percentile = Annotated[float, Meta(gt=0.5, lt=1, examples=[0.95])]
TtftMs = Annotated[float, Meta(gt=0, le=3_600_000, examples=[800])]
ItlMs = Annotated[float, Meta(gt=0, le=3_600_000, examples=[80])]
E2eMs = Annotated[float, Meta(gt=0, le=86_400_000, examples=[4000])]
Time = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$",
        description="a time like 2026-11-24T09:00:00Z (RFC 3339)",
        examples=["2026-11-24T09:00:00Z"],
    ),
]


class Rate(Document, frozen=True):
    """A GCRA limit: `per_s` sustained, at most `burst` at once. Unit: requests, or tokens."""

    per_s: Annotated[float, Meta(gt=0, le=1e9, examples=[10])]
    burst: Annotated[int, Meta(ge=1, le=1_000_000_000, examples=[20])]


class Limits(Document, frozen=True):
    """Rates of a key, channel or tenant; all that apply must allow."""

    requests: Rate | None = None
    tokens: Rate | None = None


class Grant(Document, frozen=True):
    """Extra money for a budget until a time (RFC 3339), and who gave it."""

    usd: Decimal
    until: Time
    by: Annotated[str, Meta(min_length=1, description="the name of who gave it")]


class Budget(Document, frozen=True):
    """So many dollars a period; the period turns at midnight (the 1st) in `tz`."""

    period: Literal["day", "month"]
    usd: Decimal
    tz: str = "UTC"
    grants: list[Grant] = []


class Key(Document, frozen=True):
    """An API key: only its SHA-256 is kept."""

    id: KeyId
    name: Annotated[str, Meta(min_length=1, max_length=100, description="a name of 1 to 100 characters")]
    sha256: Hex64
    last4: Annotated[str, Meta(min_length=4, max_length=4, description="the last 4 characters of the key")]
    default_channel: str | None = None
    persona: str | None = None
    market: str | None = None
    limits: Limits = Limits()
    budgets: list[Budget] = []
    created_at: Annotated[str, Meta(pattern=r"^$|^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+$", description="a time")] = ""
    expires_at: Time | None = None
    revoked_at: Time | None = None


class LatencyTargets(Document, frozen=True):
    """Declared latency in ms at `percentile`; `deadline_ms` defaults to three times `e2e_ms`."""

    ttft_ms: TtftMs
    itl_ms: ItlMs
    e2e_ms: E2eMs
    percentile: Percentile = 0.95
    deadline_ms: E2eMs | None = None


class QualityTargets(Document, frozen=True):
    """Least quality, in [0,1]."""

    min: Annotated[Share, Meta(examples=[0.0])]


class Targets(Document, frozen=True):
    """What a channel promises."""

    latency: LatencyTargets
    quality: QualityTargets


class TighterLatency(Document, frozen=True):
    """Latency terms of a route or persona; absent fields keep the channel's."""

    ttft_ms: TtftMs | None = None
    itl_ms: ItlMs | None = None
    e2e_ms: E2eMs | None = None
    percentile: Percentile | None = None
    deadline_ms: E2eMs | None = None


class Override(Document, frozen=True):
    """Targets of one HTTP route or persona of a channel; absent parts keep the channel's."""

    latency: TighterLatency = TighterLatency()
    quality: QualityTargets | None = None
    max_per_request_usd: Decimal | None = None


class ChannelCost(Document, frozen=True):
    """The cap of one request, and the channel's own budgets."""

    max_per_request_usd: Decimal
    budgets: list[Budget] = []


class CacheTerms(Document, frozen=True):
    """`reuse`: whether answers without an explicit temperature may be reused. `ids: ignore`: redacted values don't
    separate entries. `unclassified`: whether a request whose complexity and risk nobody has told may use the cache;
    policy reads it as `cache_unclassified`, and the default takes the unknown for risky."""

    reuse: bool = False
    unclassified: Literal["deny", "allow"] = "deny"
    ttl_s: Annotated[float, Meta(gt=0, le=2_592_000, examples=[3600])] = 3600.0
    ids: Literal["separate", "ignore"] = "separate"


class GuardTerms(Document, frozen=True):
    """Which checks run on the way in and out; `restore`: placeholders become the caller's own values again on the way
    out; `deny`: texts that never leave."""

    checks_in: list[str] = msgspec.field(default_factory=lambda: ["email"])
    checks_out: list[str] = msgspec.field(default_factory=lambda: ["deny"])
    restore: bool = True
    deny: list[str] = []


class Channel(Document, frozen=True):
    """A product surface of a tenant with its declared targets. No targets, no start."""

    targets: Targets
    cost: ChannelCost
    description: str = ""
    residency: str | None = None
    priority: PriorityName | None = None
    languages: list[str] = []
    intents: dict[Slug, list[str]] = {}
    """What users want, by name, with a few examples of how they say it."""
    corpus: Slug | None = None
    """Name of a folder in corpora/, whose passages answers are made from."""
    cache: CacheTerms = CacheTerms()
    guards: GuardTerms = GuardTerms()
    emit: Emit = "token"
    on_miss: OnMiss = "reroute"
    resume: Resume = "error"
    system: Literal["append", "forbid"] = "append"
    tiers: list[Tier] = msgspec.field(default_factory=lambda: ["S", "M", "L"])
    pin: list[str] = []
    capture: Literal["none", "redacted"] = "none"
    limits: Limits = Limits()
    routes: dict[str, Override] = {}
    personas: dict[str, Override] = {}
    baseline: str | None = None
    """Variant that would have answered everything: the saving is counted against it."""


class Tenant(Document, frozen=True):
    """A business unit: its keys, channels, limits and budgets."""

    id: Slug
    channels: Annotated[dict[Slug, Channel], Meta(min_length=1)]
    name: str = ""
    residency: str | None = None
    languages: list[str] = []
    markets: list[str] = []
    priority: PriorityName = "standard"
    personas: list[str] = []
    limits: Limits = Limits()
    budgets: list[Budget] = []
    keys: list[Key] = []


class KeyEntry(msgspec.Struct, frozen=True):
    """A key with the tenant that it belongs to."""

    tenant: Tenant
    key: Key


class Tenancy(msgspec.Struct, frozen=True):
    """All tenants as one immutable value; `keys` is indexed by the key's SHA-256 in hex."""

    id: str
    tenants: dict[str, Tenant]
    keys: dict[str, KeyEntry]
    demo: bool = False
    """Whether `tt-demo-*` keys are accepted on loopback."""

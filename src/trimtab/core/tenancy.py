"""Who pays and what they declared: tenants, keys, channels, limits, budgets. Plain values, loaded by the registry."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from trimtab.core.contract import Emit, OnMiss, PriorityName, Resume
from trimtab.core.document import Document
from trimtab.core.models import Tier


class Rate(Document, frozen=True):
    """A GCRA limit: `per_s` sustained, at most `burst` at once. Unit: requests, or tokens."""

    per_s: float
    burst: int


class Limits(Document, frozen=True):
    """Rates of a key, channel or tenant; all that apply must allow."""

    requests: Rate | None = None
    tokens: Rate | None = None


class Grant(Document, frozen=True):
    """Extra money for a budget until a time (RFC 3339), and who gave it."""

    usd: Decimal
    until: str
    by: str


class Budget(Document, frozen=True):
    """So many dollars a period; the period turns at midnight (the 1st) in `tz`."""

    period: Literal["day", "month"]
    usd: Decimal
    tz: str = "UTC"
    grants: list[Grant] = []


class Key(Document, frozen=True):
    """An API key: only its SHA-256 is kept."""

    id: str
    name: str
    sha256: str
    last4: str
    default_channel: str | None = None
    persona: str | None = None
    market: str | None = None
    limits: Limits = Limits()
    budgets: list[Budget] = []
    created_at: str = ""
    expires_at: str | None = None
    revoked_at: str | None = None


class LatencyTargets(Document, frozen=True):
    """Declared latency in ms at `percentile`; `deadline_ms` defaults to three times `e2e_ms`."""

    ttft_ms: float
    itl_ms: float
    e2e_ms: float
    percentile: float = 0.95
    deadline_ms: float | None = None


class QualityTargets(Document, frozen=True):
    """Least quality, in [0,1]."""

    min: float


class Targets(Document, frozen=True):
    """What a channel promises."""

    latency: LatencyTargets
    quality: QualityTargets


class TighterLatency(Document, frozen=True):
    """Latency terms of a route or persona; absent fields keep the channel's."""

    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None
    percentile: float | None = None
    deadline_ms: float | None = None


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
    """`reuse`: whether answers without an explicit temperature may be reused. `ttl`: seconds. `ids: ignore`: redacted
    values don't separate entries."""

    reuse: bool = False
    ttl_s: float = 3600.0
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

    id: str
    channels: dict[str, Channel]
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

"""Who pays and what they declared: tenants, keys, channels, limits, budgets. Plain values, loaded by the registry."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from trimtab.core.contract import Emit, OnMiss, PriorityName, Resume
from trimtab.core.document import Document, Time
from trimtab.core.events import Event, Timeline
from trimtab.core.experiments import NO_EXPERIMENTS, Experiments
from trimtab.core.models import Share, Slug, Tier

Hex64 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits, the SHA-256 of the key")]
KeyId = Annotated[str, Meta(pattern="^key_[0-9a-f]{16}$", description="key_ and 16 hexadecimal digits")]
Percentile = Annotated[float, Meta(gt=0.5, lt=1, examples=[0.95])]
TtftMs = Annotated[float, Meta(gt=0, le=3_600_000, examples=[800])]
ItlMs = Annotated[float, Meta(gt=0, le=3_600_000, examples=[80])]
E2eMs = Annotated[float, Meta(gt=0, le=86_400_000, examples=[4000])]


class Rate(Document, frozen=True):
    """A GCRA limit."""

    per_s: Annotated[float, Meta(gt=0, le=1e9, examples=[10])]
    """Sustained rate, in requests or tokens a second."""
    burst: Annotated[int, Meta(ge=1, le=1_000_000_000, examples=[20])]
    """How much may come at once, in requests or tokens."""


class Limits(Document, frozen=True):
    """Rates of a key, channel or tenant; all that apply must allow."""

    requests: Rate | None = None
    """Rate of requests."""
    tokens: Rate | None = None
    """Rate of tokens, prompt and answer; charged by estimate at the start, trued up at the end."""


class Grant(Document, frozen=True):
    """Extra money for a budget until a time."""

    usd: Decimal
    """How much more the budget has."""
    until: Time
    """When the grant ends."""
    by: Annotated[str, Meta(min_length=1, description="the name of who gave it")]
    """Who gave it."""


class Budget(Document, frozen=True):
    """So many dollars a period. Reserved before a request runs, so never overspent."""

    period: Literal["day", "month"]
    """What turns at midnight: every day, or on the 1st."""
    usd: Decimal
    """What may be spent in a period."""
    tz: str = "UTC"
    """IANA time zone in which the period turns."""
    grants: list[Grant] = []
    """Extra money for a while."""


class Key(Document, frozen=True):
    """An API key: only its SHA-256 is kept."""

    id: KeyId
    """Its public name; `trimtab keys create` writes it."""
    name: Annotated[str, Meta(min_length=1, max_length=100, description="a name of 1 to 100 characters")]
    """What it is for, as it appears in lists."""
    sha256: Hex64
    """SHA-256 of the whole key."""
    last4: Annotated[str, Meta(min_length=4, max_length=4, description="the last 4 characters of the key")]
    """Its last four characters, to tell keys apart."""
    default_channel: str | None = None
    """The channel of requests that name none."""
    persona: str | None = None
    """The persona of its requests; must be one of the tenant's."""
    market: str | None = None
    """The market of its requests; must be one of the tenant's. Phone numbers without a country code are read as of
    it."""
    limits: Limits = Limits()
    """Rates of this key alone."""
    budgets: list[Budget] = []
    """Money of this key alone."""
    created_at: Annotated[str, Meta(pattern=r"^$|^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+$", description="a time")] = ""
    """When it was made."""
    expires_at: Time | None = None
    """When it ends."""
    revoked_at: Time | None = None
    """When it was revoked; it is refused from then on."""
    lineage: KeyId | None = None
    """Of a key that took another's place: the id of the first of them. `trimtab keys rotate` writes it. All keys of
    a lineage share one account for their limits and budgets, and declare the same ones."""

    @property
    def account(self) -> str:
        """Under which name its limits and budgets are counted: its own id, or that of the first of its lineage."""
        return self.lineage or self.id


class LatencyTargets(Document, frozen=True):
    """Declared latency."""

    ttft_ms: TtftMs
    """Time to the first token."""
    itl_ms: ItlMs
    """Time between tokens: the 95th percentile of a stream's gaps is held against it."""
    e2e_ms: E2eMs
    """Time to the end of the answer."""
    percentile: Percentile = 0.95
    """The share of requests that must keep the targets."""
    deadline_ms: E2eMs | None = None
    """When a request is ended. Unset, three times `e2e_ms`."""


class QualityTargets(Document, frozen=True):
    """Declared quality."""

    min: Annotated[Share, Meta(examples=[0.0])]
    """The least `quality.lower` of a variant that may answer."""


class Targets(Document, frozen=True):
    """What a channel promises."""

    latency: LatencyTargets
    """How fast."""
    quality: QualityTargets
    """How good."""
    availability: Annotated[float, Meta(gt=0, lt=1, examples=[0.9995])] | None = None
    """The share of requests that must get an answer. `trimtab check` says when the providers behind the channel can't
    carry it by what they promise."""


class TighterLatency(Document, frozen=True):
    """Latency terms of a route or persona; absent fields keep the channel's."""

    ttft_ms: TtftMs | None = None
    """Time to the first token."""
    itl_ms: ItlMs | None = None
    """Time between tokens."""
    e2e_ms: E2eMs | None = None
    """Time to the end of the answer."""
    percentile: Percentile | None = None
    """The share of requests that must keep the targets."""
    deadline_ms: E2eMs | None = None
    """When a request is ended."""


class Override(Document, frozen=True):
    """Targets of one HTTP route or persona of a channel; absent parts keep the channel's."""

    latency: TighterLatency = TighterLatency()
    """Latency terms that differ."""
    quality: QualityTargets | None = None
    """Least quality, if it differs."""
    max_per_request_usd: Decimal | None = None
    """Cap of one request, if it differs."""


class ChannelCost(Document, frozen=True):
    """The cap of one request, and the channel's own budgets."""

    max_per_request_usd: Decimal
    """What one request may cost at most. Plans that might cost more are made smaller or left out."""
    budgets: list[Budget] = []
    """Money of this channel alone; the tenant's budgets hold too."""


class CacheTerms(Document, frozen=True):
    """What the answer cache may do for a channel. By default the unknown counts as risky, and nothing is reused."""

    reuse: bool = False
    """Whether answers to requests without an explicit temperature may be reused. Requests with temperature 0 always
    may."""
    unclassified: Literal["deny", "allow"] = "deny"
    """Whether requests whose complexity and risk are unknown may use the cache; policy reads it as
    `cache_unclassified`."""
    ttl_s: Annotated[float, Meta(gt=0, le=2_592_000, examples=[3600])] = 3600.0
    """How long an answer is kept."""
    ids: Literal["separate", "ignore"] = "separate"
    """Whether redacted values (addresses, numbers) separate entries, or are ignored."""


class GuardTerms(Document, frozen=True):
    """Which checks run on the way in and out."""

    checks_in: list[str] = msgspec.field(default_factory=lambda: ["email"])
    """What becomes a placeholder before anything else sees the text: email, phone, card, iban."""
    checks_out: list[str] = msgspec.field(default_factory=lambda: ["deny"])
    """What is looked for in answers: deny, and email, phone, card, iban of the model's own."""
    restore: bool = True
    """Placeholders become the caller's own values again on the way out."""
    deny: list[str] = []
    """Texts that never leave, for the check `deny`."""
    images: Literal["refuse", "allow"] = "refuse"
    """What is to be seen in an image is neither looked at nor redacted. `allow`: prompts with images go to models that
    declare `images`; never out of a residency, from where only what was redacted may leave."""


class Channel(Document, frozen=True):
    """A product surface of a tenant with its declared targets. No targets, no start."""

    targets: Targets
    """What it promises. Required: a channel without targets does not start."""
    cost: ChannelCost
    """What it may cost."""
    description: str = ""
    """For people; nothing reads it."""
    residency: str | None = None
    """Only models whose `region` is this may answer. Unset, the tenant's."""
    priority: PriorityName | None = None
    """Who waits less when a tier is full. Unset, the tenant's."""
    languages: list[str] = []
    """Languages that are spoken here (ISO 639-1), of the tenant's. The classifier expects them; templates come in
    the first that has one. Unset, the tenant's."""
    intents: dict[Slug, list[str]] = {}
    """What users want, by name, with a few examples of how they say it, in any language. Policy reads it as
    `intent`."""
    corpus: Slug | None = None
    """Name of a folder in corpora/, whose passages answers are made from and held against. Needs `emit: answer`."""
    cache: CacheTerms = CacheTerms()
    """What may be answered from the cache."""
    guards: GuardTerms = GuardTerms()
    """What is looked for on the way in and out."""
    emit: Emit = "token"
    """`token`: a stream leaves as it comes. `answer`: nothing leaves before the whole answer is checked. `sentence`
    is not supported yet."""
    on_miss: OnMiss = "reroute"
    """When no plan can answer now. `wait`: until the deadline. `reroute`: at most `ttft_ms` for each plan, then the
    next. `template`: as reroute, then the template `unavailable`. `refuse`: no waiting at all."""
    resume: Resume = "error"
    """When a stream breaks after its first byte. `error`: an error event and a cut. `hold`: nothing leaves before
    the answer is whole, so another plan can still answer. `continue`: a model with `prefill` goes on with it, where
    there is one, else as `error`."""
    system: Literal["append", "forbid"] = "append"
    """Whether callers may send system messages (they come after the variant's prompt), or get 403."""
    tiers: list[Tier] = msgspec.field(default_factory=lambda: ["S", "M", "L"])
    """Tiers that may answer."""
    pin: list[str] = []
    """What callers may choose as `model`: variants, models, `tier:S`. All else is routed (`auto`) or refused."""
    capture: Literal["none", "redacted"] = "none"
    """Whether texts of requests and answers are kept. `redacted`: as `guards.checks_in` leaves them, encrypted under a
    key for each tenant and data subject, beside the records; `trimtab explain --text` shows them, `trimtab erase` ends
    them. Needs the extra `records`."""
    limits: Limits = Limits()
    """Rates of this channel; the tenant's hold too."""
    routes: dict[str, Override] = {}
    """Terms that differ by HTTP path (`/v1/chat/completions`)."""
    personas: dict[str, Override] = {}
    """Terms that differ by persona, of the tenant's."""
    baseline: str | None = None
    """The variant that would have answered everything: the saving is counted against it."""


class Tenant(Document, frozen=True):
    """A business unit: its keys, channels, limits and budgets."""

    id: Slug
    """Its name in records, metrics and `TENANT/CHANNEL`; the same as the file's."""
    channels: Annotated[dict[Slug, Channel], Meta(min_length=1)]
    """Product surfaces by name."""
    name: str = ""
    """For people."""
    residency: str | None = None
    """Residency of channels that declare none."""
    languages: list[str] = []
    """Languages of its users (ISO 639-1)."""
    markets: list[str] = []
    """Markets that its keys may name. Names that are countries also say how phone numbers are read."""
    priority: PriorityName = "standard"
    """Priority class of channels that declare none. A caller may ask for a lower one, never a higher one."""
    personas: list[str] = []
    """Personas that keys and channels may name."""
    limits: Limits = Limits()
    """Rates of all its keys and channels together."""
    budgets: list[Budget] = []
    """Money of all its keys and channels together."""
    keys: list[Key] = []
    """Its API keys. `trimtab keys create`, `rotate` and `revoke` write them."""


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
    events: tuple[Event, ...] = ()
    """As declared: past, running and to come."""
    raised: dict[tuple[str, str], Timeline] = {}
    """What they do, by (tenant, channel): those alone that any of them raises. Looked up for each request."""
    experiments: Experiments = NO_EXPERIMENTS
    """Who gets which arm. Looked up for each request."""

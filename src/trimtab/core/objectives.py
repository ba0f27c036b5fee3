"""Objectives: what channels are held to over weeks, and whom to tell. The document; `controlplane/slo` reads it.

Most need not be written: what a channel declares (targets, availability, budgets) is an objective already.
"""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from trimtab.core.document import Document
from trimtab.core.models import Share, Slug
from trimtab.core.tenancy import Channel

Kind = Literal["latency", "availability", "quality", "guard", "cost", "spend"]
ReceiverKind = Literal["webhook", "slack", "pagerduty", "email"]
DEFAULT_WINDOW: Final = "30d"

ChannelGlob = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9*?-]{1,64}(?:/[a-z0-9*?-]{1,64})?$",
        description="TENANT/CHANNEL or CHANNEL, in which * and ? stand for anything",
        examples=["commerce/*"],
    ),
]
WindowText = Annotated[
    str,
    Meta(
        pattern=r"^(?:day|month|[1-9]\d?d)$",
        description="a number of days that roll (1d to 90d), or day or month of the calendar",
        examples=["30d"],
    ),
]


class ObjectiveDoc(Document, frozen=True, kw_only=True):
    """An objective of some channels. Where a channel has one of this kind and route already, only what is written
    here changes; of several entries the last one that matches counts."""

    channels: Annotated[list[ChannelGlob], Meta(min_length=1)]
    """Whose: `TENANT/CHANNEL`, or `CHANNEL` for those of this name of all tenants; `*` and `?` stand for anything."""
    objective: Annotated[Kind, Meta(examples=["latency"])]
    """`latency`: answers in time. `availability`: requests answered rather than failed. `quality`: answers that were
    judged good, of those that were judged. `guard`: answers that no guard blocked. `cost`: requests within a price.
    `spend`: money in a window, an allowance like any other."""
    route: Annotated[str, Meta(pattern=r"^/[!-~]*$", description="an HTTP path", examples=["/v1/messages"])] | None = (
        None
    )
    """Requests of this HTTP path alone. Unset, all."""
    target: Annotated[float, Meta(gt=0.5, lt=1, examples=[0.99])] | None = None
    """The share that must be good. Unset, what the channel declares. None for `spend`."""
    window: WindowText | None = None
    """Over which it is counted: days that roll (`30d`), or `day` or `month` of the calendar. Unset, 30d."""
    tz: str | None = None
    """IANA time zone in which a day or month turns. Unset, UTC."""
    ttft_ms: Annotated[float, Meta(gt=0, le=3_600_000, examples=[800])] | None = None
    """For `latency`: the first token of a stream comes within this. Unset, with `e2e_ms` unset, too: the request's own
    contract was kept."""
    e2e_ms: Annotated[float, Meta(gt=0, le=86_400_000, examples=[4000])] | None = None
    """For `latency`: the answer ends within this."""
    usd: Decimal | None = None
    """For `cost`: what one request may cost (unset, its contract's cap). For `spend`: what a window may cost."""
    false_pages_per_year: Annotated[float, Meta(gt=0, le=52)] | None = None
    """How often in a year, at most and on average, this objective may page while its budget lasts. Unset, 1."""
    freeze_below: Share | None = None
    """Releases freeze while less than this share of the budget is left. Unset, 0; a `spend` objective freezes nothing
    unless it says so."""
    off: bool = False
    """The objective does not count, though the channel declares it."""


class Receiver(Document, frozen=True, kw_only=True):
    """Who is told when the budget of an objective burns."""

    kind: Annotated[ReceiverKind, Meta(examples=["slack"])]
    """The form of what is sent: `webhook` (our own JSON), `slack` (an incoming webhook, or what takes the same),
    `pagerduty` (Events API v2, or what takes the same), `email` (SMTP)."""
    url: Annotated[str, Meta(min_length=1, examples=["env:SLACK_WEBHOOK_URL"])] | None = None
    """Where it goes: https://..., or `env:NAME` or `file:PATH` of it, since such addresses are secrets as a rule; for
    `email` smtp://HOST:PORT or smtps://HOST:PORT. Unset for `pagerduty`, its own."""
    key: Annotated[str, Meta(min_length=1, examples=["env:PAGERDUTY_ROUTING_KEY"])] | None = None
    """`env:NAME` or `file:PATH` of a secret: the routing key of `pagerduty`; of `webhook` what is sent as
    `Authorization: Bearer`; of `email` the password."""
    user: str | None = None
    """For `email`: who signs in at the server. Unset, nobody."""
    sender: Annotated[str, Meta(min_length=3, examples=["trimtab@example.com"])] | None = None
    """For `email`: the address in From."""
    to: Annotated[list[str], Meta(examples=[["oncall@example.com"]])] = []
    """For `email`: the addresses that get it."""
    channels: list[ChannelGlob] = msgspec.field(default_factory=lambda: ["*/*"])
    """Whose alerts, as in an objective."""
    severities: list[Literal["page", "ticket"]] = msgspec.field(default_factory=lambda: ["page", "ticket"])
    """Which alerts."""
    private: bool = False
    """It may be on a private network or on this machine."""


class SloDocument(Document, frozen=True, kw_only=True):
    """slo.yaml: objectives beyond those that channels declare, and who is told."""

    objectives: list[ObjectiveDoc] = []
    """Added to what channels declare, or in its place."""
    receivers: dict[Slug, Receiver] = {}
    """Who is told, by name."""
    link: Annotated[str, Meta(pattern=r"^https?://[!-~]+$", examples=["https://grafana.example.com/d/trimtab-slo"])] | (
        None
    ) = None
    """A page that every alert links to: a dashboard, a runbook."""


NO_SLO: Final = SloDocument()


def stands_for(glob: str, tenant: str, channel: str) -> bool:
    """Whether a channel glob means this channel."""
    return fnmatchcase(f"{tenant}/{channel}" if "/" in glob else channel, glob)


def declared_target(channel: Channel, kind: Kind) -> float | None:
    """The share of good requests that a channel's own targets promise; None: they say nothing of this kind."""
    if kind == "latency":
        return channel.targets.latency.percentile
    if kind == "availability":
        return channel.targets.availability
    if kind == "quality":
        return channel.targets.quality.min or None
    return None

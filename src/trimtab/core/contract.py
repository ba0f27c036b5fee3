"""The contract: what one request may spend and must reach. Bound at ingress, frozen, hashed, never loosened after."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

OnMiss = Literal["wait", "reroute", "template", "refuse"]
Resume = Literal["continue", "error", "hold"]
Emit = Literal["token", "sentence", "answer"]
PriorityName = Literal["critical", "interactive", "standard", "batch"]


class Priority(IntEnum):
    """Priority classes; the smaller goes first."""

    critical = 0
    interactive = 1
    standard = 2
    batch = 3


class Latency(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Targets in ms at `percentile`: admission predicts, attainment judges. `deadline_ms` ends the request."""

    ttft_ms: float
    """Bound time to first token."""
    itl_ms: float
    """Bound time between tokens."""
    e2e_ms: float
    """Bound end-to-end time."""
    percentile: float = 0.95
    """The share of requests that the promise is about."""
    deadline_ms: float
    """After arrival: when the request is ended."""


class Quality(msgspec.Struct, frozen=True):
    """`min` in [0,1]: the least probability that the channel's golden grader accepts the answer."""

    min: float
    """Least quality."""


class Cost(msgspec.Struct, frozen=True):
    """The cap of this one request in nano-dollars."""

    max_per_request_nanousd: int
    """Cap of the request."""


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """Effective terms: the stricter of what the channel declares and what the caller asks."""

    latency: Latency
    """Latency terms."""
    quality: Quality
    """Quality terms."""
    cost: Cost
    """Cost terms."""
    residency: str | None
    """Region in which it must be answered; null: any."""
    priority: PriorityName
    """Priority class."""
    on_miss: OnMiss
    """What happens when no plan can answer."""
    resume: Resume
    """What happens when a stream breaks."""
    emit: Emit
    """What may leave when."""
    hash: str = ""
    """Equal for equal terms."""

    @property
    def rank(self) -> Priority:
        return Priority[self.priority]


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the caller asked for, by header or body, before it was bound. Absent is None."""

    channel: str | None = None
    """`trimtab-channel`."""
    latency_ms: float | None = None
    """`trimtab-latency-ms`."""
    ttft_ms: float | None = None
    """`trimtab-ttft-ms` or `x-llm-d-slo-ttft-ms`."""
    itl_ms: float | None = None
    """`trimtab-itl-ms` or `x-llm-d-slo-tpot-ms`."""
    max_cost_nanousd: int | None = None
    """`trimtab-max-cost-usd`."""
    min_quality: float | None = None
    """`trimtab-min-quality`."""
    priority: PriorityName | None = None
    """`trimtab-priority`."""
    persona: str | None = None
    """`trimtab-persona`."""
    session: str | None = None
    """Always null in a record: the session stands there as its HMAC only."""

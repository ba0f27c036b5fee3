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
    itl_ms: float
    e2e_ms: float
    percentile: float = 0.95
    deadline_ms: float


class Quality(msgspec.Struct, frozen=True):
    """`min` in [0,1]: the least probability that the channel's golden grader accepts the answer."""

    min: float


class Cost(msgspec.Struct, frozen=True):
    """The cap of this one request in nano-dollars."""

    max_per_request_nanousd: int


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """Effective terms: the stricter of what the channel declares and what the caller asks."""

    latency: Latency
    quality: Quality
    cost: Cost
    residency: str | None
    priority: PriorityName
    on_miss: OnMiss
    resume: Resume
    emit: Emit
    hash: str = ""

    @property
    def rank(self) -> Priority:
        return Priority[self.priority]


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the caller asked for, by header or body, before it was bound. Absent is None."""

    channel: str | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    itl_ms: float | None = None
    max_cost_nanousd: int | None = None
    min_quality: float | None = None
    priority: PriorityName | None = None
    persona: str | None = None
    session: str | None = None

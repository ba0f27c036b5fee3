"""What the decide stages hand on: features, rule traces, what is allowed, plans."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from trimtab.core.models import OverflowTerms, Tier, Variant

At = Literal["decide", "route", "admit", "guard_out"]
Degradation = Literal["window", "retrieval", "tier"]
Path = Literal["cache-exact", "cache-semantic", "direct", "rag", "template", "refused"]

Value: TypeAlias = bool | int | float | str | list[str]
"""What a policy's condition may read."""


class Feature(msgspec.Struct, frozen=True):
    """A value with the classifier's confidence in it, both in [0,1] where numeric."""

    value: Any
    """What it is; null where it was looked for and not found."""
    confidence: float | None = None
    """How sure, in [0,1]."""
    because: dict[str, Any] | None = None
    """What it was seen by: names and values of the observations behind it, never text of the caller's."""


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What the classifier says; None is unknown, which no rule takes for low risk."""

    language: Feature | None = None
    """ISO 639-1 code of the last user turn."""
    intent: Feature | None = None
    """One of the channel's intents."""
    complexity: Feature | None = None
    """In [0,1]."""
    risk: Feature | None = None
    """0 low, 1 medium, 2 high."""


class RuleTrace(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that was looked at: whether it hit, and the values it read."""

    id: str
    """The rule."""
    at: At
    """Where it looked."""
    hit: bool
    """Whether it hit."""
    values: dict[str, Any]
    """The variables that its condition read, with their values."""
    error: str | None = None
    """Why the condition failed, if it did: then it counts as hit for what it restricts."""


class OnFull(msgspec.Struct, frozen=True):
    """What to do when a tier is full: wait at most `wait_ms`, then the next plan if `reroute`."""

    wait_ms: float
    reroute: bool


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of the rules that hit at one stage. Effects only restrict, so their order does not matter."""

    forbid: frozenset[str] = frozenset()
    """`cache`, `rag`, `tier:L`, `variant:x`."""
    prefer: tuple[str, ...] = ()
    guards: frozenset[str] = frozenset()
    degrade: tuple[Degradation, ...] | None = None
    on_full: OnFull | None = None
    answer: str | None = None
    """`template:NAME`."""
    trace: tuple[RuleTrace, ...] = ()


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What policy permits this request: the channel's declaration cut by the rules at `decide`."""

    cache: bool
    rag: bool
    tiers: frozenset[Tier]
    forbidden_variants: frozenset[str]
    guards_in: tuple[str, ...]
    guards_out: tuple[str, ...]
    prefer: tuple[str, ...]
    degrade: tuple[Degradation, ...]
    answer: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One way to answer within `Allowed`."""

    path: Literal["direct", "rag"]
    variant: Variant
    max_tokens: int
    """Output tokens of each choice."""
    choices: int
    prompt_bound: int
    """Tokens that the prompt can't exceed."""
    estimate_nanousd: int | None
    """Cost at the caps; None where the model has no price."""
    degradations: tuple[Degradation, ...] = ()
    dropped_turns: int = 0
    """How many of the oldest messages (system ones not counted) the window lost."""
    index: str | None = None
    """Id of the corpus's index; None for a direct plan."""
    retrieval_tokens: int = 0
    """What passages may take of the prompt; within `prompt_bound`."""
    overflow: OverflowTerms | None = None
    """The request leaves its residency, on these terms; None: it stays."""

    @property
    def tier(self) -> Tier:
        return self.variant.tier

    @property
    def leaves(self) -> bool:
        """Whether the request leaves its residency."""
        return self.overflow is not None

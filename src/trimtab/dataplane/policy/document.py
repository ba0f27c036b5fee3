"""policy.yaml: rules that restrict. A rule says where it looks, when it hits, and what it then takes away."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from trimtab.core.decision import At, Degradation
from trimtab.core.document import Document

RuleId = Annotated[
    str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$", description="a-z, 0-9 and dashes", examples=["no-rag"])
]
Forbidden = Annotated[
    str,
    Meta(
        pattern=r"^(?:cache|rag|tier:[SML]|variant:[A-Za-z0-9][A-Za-z0-9._-]*)$",
        description="cache, rag, tier:S|M|L or variant:NAME",
        examples=["cache"],
    ),
]
Preferred = Annotated[
    str,
    Meta(
        pattern=r"^(?:tier:[SML]|variant:[A-Za-z0-9][A-Za-z0-9._-]*)$",
        description="tier:S|M|L or variant:NAME",
        examples=["tier:S"],
    ),
]
Answer = Annotated[
    str,
    Meta(pattern=r"^template:[a-z0-9][a-z0-9_-]*$", description="template:NAME", examples=["template:refusal"]),
]


class OnFullTerms(Document, frozen=True):
    """What to do when a tier is full."""

    wait_ms: Annotated[float, Meta(ge=0, le=600_000, examples=[2000])]
    """How long to wait for a slot; never longer than `on_miss` of the contract allows."""
    reroute: bool
    """Whether the next plan is tried after that."""


class Then(Document, frozen=True):
    """What a hit takes away. `prefer` alone takes nothing away: it orders what is left."""

    forbid: list[Forbidden] = []
    """What may not be used. At decide and route."""
    prefer: list[Preferred] = []
    """What goes first among what is left. At decide and route."""
    guards: list[str] = []
    """Checks that also watch the way out. At decide."""
    degrade: list[Degradation] | None = None
    """How a plan that is too dear is made smaller; of several rules, what all allow. At decide and route."""
    on_full: OnFullTerms | None = None
    """What to do when the tier has no free slot; of several rules, the strictest. At admit."""
    answer: Answer | None = None
    """The template that is sent in place of an answer. At decide, route and guard_out."""

    @property
    def restricts(self) -> bool:
        """Whether any effect but the order of `prefer` is set."""
        return bool(self.forbid or self.guards or self.answer) or self.degrade is not None or self.on_full is not None


class RuleTest(Document, frozen=True):
    """An example that must hold."""

    name: Annotated[str, Meta(min_length=1, description="what must be true, in words", examples=["hits when ..."])]
    """What must be true, in words."""
    given: dict[str, Any]
    """Values of variables; what isn't given is unknown."""
    hit: bool
    """Whether the rule hits."""


class Rule(Document, frozen=True):
    """One rule: where it looks, when it hits, what it then takes away."""

    id: RuleId
    """Its name, in traces and records."""
    at: Annotated[At, Meta(examples=["decide"])]
    """The stage at which it looks."""
    when: Annotated[
        str,
        Meta(min_length=1, max_length=2000, description="a CEL condition", examples=["latency_e2e_ms < 800.0"]),
    ]
    """The condition, in CEL, over the variables of its stage."""
    then: Annotated[Then, Meta(examples=["{forbid: [cache]}"])]
    """What a hit takes away."""
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    """Larger goes first where only one can win (`answer`) or order counts (`prefer`)."""
    description: str = ""
    """Why the rule is there, for people."""
    tests: list[RuleTest] = []
    """Examples that must hold; `trimtab check` runs them."""


class PolicyDocument(Document, frozen=True):
    """policy.yaml: all rules of a workspace."""

    rules: list[Rule]
    """All rules. Their order means nothing."""

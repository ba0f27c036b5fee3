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
    """A full tier: wait at most `wait_ms` in its queue, then try the next plan if `reroute`."""

    wait_ms: Annotated[float, Meta(ge=0, le=600_000, examples=[2000])]
    reroute: bool


class Then(Document, frozen=True):
    """What a hit takes away. `prefer` alone takes nothing away: it orders what is left."""

    forbid: list[Forbidden] = []
    prefer: list[Preferred] = []
    guards: list[str] = []
    degrade: list[Degradation] | None = None
    on_full: OnFullTerms | None = None
    answer: Answer | None = None

    @property
    def restricts(self) -> bool:
        """Whether any effect but the order of `prefer` is set."""
        return bool(self.forbid or self.guards or self.answer) or self.degrade is not None or self.on_full is not None


class RuleTest(Document, frozen=True):
    """An example that must hold: with `given` (what isn't given is unknown), does the rule hit?"""

    name: Annotated[str, Meta(min_length=1, description="what must be true, in words", examples=["hits when ..."])]
    given: dict[str, Any]
    hit: bool


class Rule(Document, frozen=True):
    """One rule. `priority`: larger goes first where only one can win (`answer`) or order counts (`prefer`)."""

    id: RuleId
    at: Annotated[At, Meta(examples=["decide"])]
    when: Annotated[
        str,
        Meta(min_length=1, max_length=2000, description="a CEL condition", examples=["latency_e2e_ms < 800.0"]),
    ]
    then: Annotated[Then, Meta(examples=["{forbid: [cache]}"])]
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    description: str = ""
    tests: list[RuleTest] = []


class PolicyDocument(Document, frozen=True):
    """All rules of a workspace. Their order in the file means nothing."""

    rules: list[Rule]

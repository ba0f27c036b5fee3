"""Experiments: which sessions get another variant than the rest, or have one answer beside it. Plain values.

An arm is a pure function of the session: the session is hashed to a point of [0, 2^64) under a key of the experiment's
own, and arms are intervals in the order in which they are declared, from 0 on. So the last arm (of a canary, the only
one) grows into the rest and moves nobody back, and experiments are independent of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from hashlib import blake2b
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from trimtab.core.document import Document
from trimtab.core.events import Raisable
from trimtab.core.models import Share, Slug, Tier, Variant, VariantName

CONTROL: Final = "control"
"""The arm of those who are in none."""
_POINTS: Final = 1 << 64

Kind = Literal["ab", "canary", "shadow"]


class ArmDoc(Document, frozen=True, kw_only=True):
    """A variant, and how many get it."""

    variant: VariantName
    """Who answers, a variant of `models.yaml`. While it is an arm nobody else gets it, but who names it as `model`."""
    share: Share
    """Of the sessions. 0: nobody yet, and nobody else either."""


class Experiment(Document, frozen=True, kw_only=True):
    """Some sessions get another variant: it answers them (`ab`, `canary`), or it is asked beside (`shadow`)."""

    kind: Annotated[Kind, Meta(examples=["canary"])]
    """`ab`: arms beside what is there. `canary`: one arm that is to grow. `shadow`: one variant that gets the same
    messages after an answer has begun; what it says reaches nobody, is stored nowhere and charged to no budget."""
    channels: Annotated[list[Raisable], Meta(min_length=1)]
    """Whose sessions: `TENANT/CHANNEL`, or `CHANNEL` for those of this name of all tenants."""
    of: Annotated[str, Meta(min_length=1, description="a variant or tier:S", examples=["small-en"])]
    """What the arms stand in for: a variant, or all of a tier (`tier:S`). Plans of others stay as they are."""
    arms: Annotated[dict[Slug, ArmDoc], Meta(min_length=1)]
    """Arms by name, as records have it. Their order counts: the last one can grow and moves nobody from another arm."""


class Arm(msgspec.Struct, frozen=True):
    """`below`: the end of its interval, whose begin is the end of the one before."""

    name: str
    variant: str
    below: int


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as a channel's requests look it up. `key`: hash of its name."""

    name: str
    kind: Kind
    of: str
    key: bytes
    arms: tuple[Arm, ...]

    @classmethod
    def declared(cls, name: str, experiment: Experiment) -> Split:
        """The intervals of its shares, as they are written in decimals."""
        arms, sum_ = [], Fraction(0)
        for arm, document in experiment.arms.items():
            sum_ += Fraction(str(document.share))
            arms.append(Arm(arm, document.variant, min(round(sum_ * _POINTS), _POINTS)))
        key = blake2b(name.encode()).digest()
        return cls(name=name, kind=experiment.kind, of=experiment.of, key=key, arms=tuple(arms))

    def arm_of(self, session: str) -> Arm | None:
        """The session's arm; None: control."""
        point = int.from_bytes(blake2b(session.encode(), key=self.key, digest_size=8).digest(), "big")
        return next((arm for arm in self.arms if point < arm.below), None)

    def replaces(self, name: str, tier: Tier) -> bool:
        """Whether its arms stand in for this variant, which is not an arm itself."""
        return self.of in (name, f"tier:{tier}") and all(name != arm.variant for arm in self.arms)


class Assigned(msgspec.Struct, frozen=True):
    """A session's place in one experiment. `arm`: None for control."""

    split: Split
    arm: Arm | None

    @property
    def arm_name(self) -> str:
        return self.arm.name if self.arm is not None else CONTROL

    def replaces(self, variant: Variant) -> bool:
        return self.split.replaces(variant.name, variant.tier)


class Experiments(msgspec.Struct, frozen=True):
    """All that is declared, by (tenant, channel). `held`: variants that are arms, kept from everybody else."""

    splits: Mapping[tuple[str, str], tuple[Split, ...]] = {}
    held: frozenset[str] = frozenset()

    def assigned(self, tenant: str, channel: str, session: str) -> tuple[Assigned, ...]:
        """The session's place in each experiment of its channel."""
        splits = self.splits.get((tenant, channel), ())
        return tuple(Assigned(split, split.arm_of(session)) for split in splits)


NO_EXPERIMENTS: Final = Experiments()

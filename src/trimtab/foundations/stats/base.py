"""What members of the statistics core have in common: they observe, they certify, their state survives a restart."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

Observation = TypeVar("Observation", contravariant=True)
State = TypeVar("State", covariant=True)


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed, with what error, from how many observations. A decision puts it into its record.

    `claim`: what the figures are about, in words. `method`: the theorem's short name. `estimate`: what was seen, None
    before anything was. `lower`, `upper`: the claim itself, the true figure lies between them. `error`: the probability
    that this is false, however often somebody looks; 0 where the claim holds for every sequence of observations.
    """

    claim: str
    method: str
    estimate: float | None
    lower: float
    upper: float
    error: float
    observations: int


class Member(Protocol[Observation, State]):
    """One running statistic. Each class also has `from_state(state)`, which goes on exactly where `state()` was taken,
    and raises ValueError for a state that it could not have made. A member that can be merged without loss of its claim
    says so by a method `merge`; one that has none must not be.

    Not for threads: lives on the event loop, costs microseconds.
    """

    def observe(self, value: Observation, /) -> None:
        """One more observation. Raises ValueError for what is none, with nothing changed."""
        ...

    def certificate(self) -> Certificate:
        """What may be claimed now."""
        ...

    def state(self) -> State:
        """All that is needed to go on: a msgspec Struct that JSON can hold."""
        ...

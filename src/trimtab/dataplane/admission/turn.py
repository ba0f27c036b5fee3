"""Who asks a gate for a ticket: what its contract is worth to the gate, and how large it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.core.contract import Latency
from trimtab.dataplane.admission.queue import cost
from trimtab.foundations.podmodel import Ask

_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request before a gate."""

    rank: int
    """Its class: the smaller goes first."""
    tenant: str
    """Who takes turns with others."""
    channel: str = ""
    """Whose answers have a length of their own."""
    at_ns: int
    """When it arrived, on the clock's `now_ns`: targets count from there."""
    latency: Latency
    """Its targets."""
    ask: Ask
    """How many tokens it is expected to have."""
    held: Mapping[str, float] = _NOTHING
    """Share of its prompt that replicas are believed to hold already, by their ids."""
    avoid: frozenset[str] = frozenset()
    """Replicas that are better left alone now."""
    key: int = 0
    """Of what it asks: equal where a client tries again."""
    strict: bool = False
    """A target that the tier can't keep even when idle refuses it. Else such a target stands in nobody's way."""

    @property
    def first_due_ns(self) -> int:
        """When its first token is due."""
        return self.at_ns + int(self.latency.ttft_ms * NS_PER_MS)

    @property
    def due_ns(self) -> int:
        """When its end is due."""
        return self.at_ns + int(self.latency.e2e_ms * NS_PER_MS)

    def ask_of(self, replica: str) -> Ask:
        """What it would ask of that replica."""
        share = self.held.get(replica, 0.0)
        return msgspec.structs.replace(self.ask, cached=share * self.ask.prompt) if share else self.ask

    @property
    def warmest(self) -> Ask:
        """What it would ask of the replica that holds most of its prompt."""
        return self.ask_of(max(self.held, key=self.held.__getitem__)) if self.held else self.ask

    @property
    def tokens(self) -> float:
        """What it costs its tenant's turn."""
        return cost(self.ask.prompt, self.ask.output)

"""The gates of all models, and what they have learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trimtab.core.clock import Clock
from trimtab.dataplane.admission.gate import Gate
from trimtab.dataplane.admission.ticket import GateView
from trimtab.dataplane.admission.tier import Tier, TierState
from trimtab.foundations.podmodel import Fit, Predictor


class Gates:
    """One gate per model, by its name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}
        self._known: dict[str, TierState] = {}
        """Of models whose gates may come later."""

    def resize(self, slots: Mapping[str, tuple[int, int | Sequence[str]]]) -> None:
        """Tokens and replicas (their ids, or how many there are) per model as of now; a model that is not named has
        none. Tickets already given go on."""
        for name, gate in self._gates.items():
            gate.resize(*slots.get(name, (0, ())))
        for name, (number, replicas) in slots.items():
            if name not in self._gates:
                self._gates[name] = gate = Gate(self._clock, number, replicas)
                if name in self._known:
                    gate.tier.restore(self._known[name])
        for name in [name for name, gate in self._gates.items() if name not in slots and gate.is_empty]:
            del self._gates[name]

    def of(self, model: str) -> Gate | None:
        """None for a model that has no replica."""
        gate = self._gates.get(model)
        return gate if gate is not None and gate.slots else None

    def states(self) -> dict[str, TierState]:
        """What has been learned of each model."""
        return {name: gate.tier.state() for name, gate in self._gates.items()}

    def restore(self, states: Mapping[str, TierState]) -> None:
        """Know this of these models, also of those whose gates come later. Raises ValueError for a state that no tier
        has; nothing is changed then."""
        for state in states.values():
            Tier(Predictor(Fit(), ())).restore(state)
        self._known |= states
        for name in states.keys() & self._gates.keys():
            self._gates[name].tier.restore(states[name])

    def views(self) -> dict[str, GateView]:
        return {name: gate.view() for name, gate in self._gates.items()}

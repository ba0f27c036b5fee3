"""What a gate answers: a ticket, or why there is none; and the gate at a glance.

A ticket ends in exactly one of three ways: *success* teaches times, *dropped* and *ignored* don't: what was cut short,
by its caller or by a fault, says nothing about how long it would have taken (Netflix concurrency-limits).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from trimtab.dataplane.admission.replica import STEP, Running
from trimtab.dataplane.admission.tier import Foreseen, Look
from trimtab.dataplane.admission.turn import Turn

if TYPE_CHECKING:
    from trimtab.dataplane.admission.gate import Gate

Ending = Literal["success", "dropped", "ignored"]
How = Literal["free", "waited", "booked", "probe"]
"""In what way somebody was let in: at once, after a wait, at the time it was told, or although it would be late."""


class GateView(msgspec.Struct, frozen=True):
    """A gate at a glance. `expected_wait_ms`: None while no service has been seen."""

    free: int
    running: int
    slots: int
    waiting: int
    expected_wait_ms: float | None


class Refused:
    """No ticket: why, and what the gate was at. `can_keep`: whether an idle tier could keep the contract."""

    __slots__ = ("_gate", "can_keep", "how", "look", "own", "room_ms", "running", "slots", "turn", "waiting")

    def __init__(self, gate: Gate, turn: Turn, look: Look, *, can_keep: bool) -> None:
        self._gate, self.turn, self.look, self.can_keep = gate, turn, look, can_keep
        self.how: Literal["refused"] = "refused"
        self.running, self.slots, self.waiting = gate.used, gate.slots, gate.waiting
        self.own = gate.own(turn)
        """Of those that run, its tenant's."""
        self.room_ms = gate.room_ms(turn, look) if can_keep or not turn.strict else None
        """Until there should be room, apart from what is promised to others; None: never, for a strict request whose
        contract an idle tier can't keep."""

    def book(self) -> float | None:
        """Seconds after which this request is let in, which from now on is a promise; None: never."""
        return None if self.room_ms is None else self._gate.book(self.turn, self.room_ms)


class Ticket:
    """Permission to run one request; give it back by `end`, at any time and any number of times."""

    __slots__ = ("_ended", "_gate", "_running", "_since_ns", "how", "look", "running", "slots", "turn", "waiting")

    def __init__(self, gate: Gate, turn: Turn, look: Look, how: How, running: Running) -> None:
        self._gate, self._running, self._since_ns = gate, running, running.began_ns
        self._ended = False
        self.turn, self.look, self.how = turn, look, how
        self.running, self.slots, self.waiting = gate.used, gate.slots, gate.waiting

    def sent(self) -> Foreseen | None:
        """It is sent to a replica now, for the first time or once more; its times teach. What it will take."""
        return None if self._ended else self._gate.sent(self._running)

    @property
    def order(self) -> tuple[str, ...]:
        """Ids of replicas: the one that it is reckoned to, then the others, the cheapest first."""
        return self.look.order

    def begun_at(self, replica: str) -> None:
        """That replica begins to answer: where it is not the one that it was reckoned to, it runs there from now on."""
        if not self._ended and replica != self._running.place.id:
            self._gate.moved(self._running, replica)

    def wrote(self, tokens: int) -> None:
        """So many tokens of its answer have come in all."""
        if not self._ended:
            running = self._running
            if running.first_ns is None:
                self._gate.begun(running)
            running.wrote = tokens
            if tokens - running.mark >= STEP:
                self._gate.passed(running)

    def end(self, how: Ending = "ignored") -> None:
        """Synchronous, idempotent: the first ending counts."""
        if not self._ended:
            self._ended = True
            self._gate.give_back(self._running, self._since_ns, how)


__all__ = ["Ending", "GateView", "How", "Refused", "Ticket"]

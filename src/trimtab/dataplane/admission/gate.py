"""Concurrency tokens: so many requests at once per model, the rest waits for a bounded time in the fair queue.

A ticket ends in exactly one of three ways: *success* and *dropped* teach the estimate of service time, *ignored* (the
request never ran, or failed fast) does not, so that quick failures can't fake a fast tier (Netflix
concurrency-limits). The expected wait is `ceil((waiting + 1) / slots)` services of exponentially averaged length.

Beside that the gate has its `tier` foresee how long requests take. Nothing is decided by it yet.

A token that comes free goes to the first waiter in the same turn of the loop, so that nobody overtakes the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

import msgspec

from trimtab.core.clock import NS_PER_MS, NS_PER_S, Clock
from trimtab.dataplane.admission.queue import Entry, FairQueue, cost
from trimtab.dataplane.admission.replica import Running
from trimtab.dataplane.admission.tier import Tier
from trimtab.foundations.podmodel import Ask, Fit, Predictor

Ending = Literal["success", "dropped", "ignored"]
_WEIGHT = 0.1  # of the newest service time in the average


class GateView(msgspec.Struct, frozen=True):
    """A gate at a glance. `expected_wait_ms`: None while no service has been seen."""

    free: int
    slots: int
    waiting: int
    expected_wait_ms: float | None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Who stands in line for one request: its class (the smaller `rank` goes first), its tenant, when its first token
    is due on the clock's `now_ns`, and how many tokens it is expected to have."""

    rank: int
    tenant: str
    due_ns: int
    ask: Ask

    @property
    def tokens(self) -> float:
        """What it costs its tenant's turn."""
        return cost(self.ask.prompt, self.ask.output)


class Ticket:
    """Permission to run one request; give it back by `end`, at any time and any number of times."""

    __slots__ = ("_ended", "_gate", "_running", "_since_ns", "turn")

    def __init__(self, gate: Gate, turn: Turn, since_ns: int) -> None:
        self._gate, self._since_ns, self._ended = gate, since_ns, False
        self._running: Running | None = None
        self.turn = turn

    def sent(self) -> None:
        """It is sent to a replica now, for the first time or once more; its times teach."""
        if not self._ended:
            self._gate.stop(self._running, whole=False)
            self._running = self._gate.send(self.turn.ask)

    def wrote(self, tokens: int) -> None:
        """So many tokens of its answer have come in all."""
        if self._running is not None and not self._ended:
            if self._running.first_ns is None:
                self._gate.begun(self._running)
            self._running.wrote = tokens

    def end(self, how: Ending = "ignored") -> None:
        """Synchronous, idempotent: the first ending counts."""
        if not self._ended:
            self._ended = True
            self._gate.stop(self._running, whole=how == "success")
            wrote = self._running.wrote if self._running is not None else None
            self._gate.give_back(self.turn, self._since_ns, how, wrote)


class Gate:
    """The tokens of one model. `slots` may change at any time; a smaller number takes effect as tickets end."""

    def __init__(self, clock: Clock, slots: int, replicas: int = 1) -> None:
        self._clock = clock
        self.slots = slots
        self.tier = Tier(Predictor(Fit(), ()), replicas)
        self._used = 0
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._service_ms: float | None = None

    def __repr__(self) -> str:
        return f"<Gate {self._used} of {self.slots} used, {len(self._queue)} waiting>"

    def view(self) -> GateView:
        wait = None
        if self._service_ms is not None and self.slots:
            rounds = -(-(len(self._queue) + 1) // self.slots) if self._used >= self.slots else 0
            wait = rounds * self._service_ms
        return GateView(max(0, self.slots - self._used), self.slots, len(self._queue), wait)

    def resize(self, slots: int, replicas: int = 1) -> None:
        self.slots = slots
        self.tier.resize(replicas)
        self._hand_out()

    async def admit(self, turn: Turn, wait_s: float) -> Ticket | None:
        """A ticket, at once or after at most `wait_s`; None: not in time."""
        if self._used < self.slots and not self._queue:
            self._used += 1
            self._queue.charge(turn.rank, turn.tenant, turn.tokens)
            return Ticket(self, turn, self._clock.now_ns())
        if wait_s <= 0:
            return None
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = self._queue.push(told, rank=turn.rank, tenant=turn.tenant, due=turn.due_ns, tokens=turn.tokens)
        try:
            async with asyncio.timeout(wait_s):
                await told
        except BaseException as gone:
            if told.done() and not told.cancelled():  # the token was handed over while we were leaving
                self._used -= 1
                self._queue.charge(turn.rank, turn.tenant, -turn.tokens)
                self._hand_out()
            else:
                self._leave(entry)
            if isinstance(gone, TimeoutError):
                return None
            raise
        return Ticket(self, turn, self._clock.now_ns())

    def send(self, ask: Ask) -> Running:
        """A ticket's request goes to a replica."""
        return self.tier.begin(ask, self._clock.now_ns())

    def begun(self, running: Running) -> None:
        """Its first token has come."""
        self.tier.first(running, self._clock.now_ns())

    def stop(self, running: Running | None, *, whole: bool) -> None:
        """It is with its replica no more."""
        if running is not None:
            self.tier.end(running, self._clock.now_ns(), whole=whole)

    def give_back(self, turn: Turn, since_ns: int, how: Ending, wrote: int | None) -> None:
        """A ticket has ended. `wrote`: tokens of its answer that were seen; None: it never ran."""
        assert self._used > 0, "more tickets ended than were given"
        self._used -= 1
        had = 0.0 if wrote is None and how == "ignored" else cost(turn.ask.prompt, wrote or turn.ask.output)
        self._queue.charge(turn.rank, turn.tenant, had - turn.tokens)
        if how != "ignored":
            took_ms = (self._clock.now_ns() - since_ns) / NS_PER_MS
            old = self._service_ms
            self._service_ms = took_ms if old is None else old + _WEIGHT * (took_ms - old)
        self._hand_out()

    @property
    def is_empty(self) -> bool:
        """Nobody runs, nobody waits."""
        return not self._used and not self._queue

    def _hand_out(self) -> None:
        """Free tokens to waiters, in order; the token is the waiter's from this moment."""
        while self._queue and self._used < self.slots:
            entry = next(iter(self._queue))
            if entry.item.done():  # cancelled, and has not yet come to leave by itself
                self._queue.leave(entry)
                continue
            self._queue.take(entry)
            self._used += 1
            entry.item.set_result(None)

    def _leave(self, entry: Entry[asyncio.Future[None]]) -> None:
        """A waiter goes unserved."""
        self._queue.leave(entry)
        entry.item.cancel()


class Gates:
    """One gate per model, by its name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    def resize(self, slots: Mapping[str, tuple[int, int]]) -> None:
        """Tokens and replicas per model as of now; a model that is not named has none. Tickets already given go on."""
        for name, gate in self._gates.items():
            gate.resize(*slots.get(name, (0, 1)))
        for name, (number, replicas) in slots.items():
            if name not in self._gates:
                self._gates[name] = Gate(self._clock, number, replicas)
        for name in [name for name, gate in self._gates.items() if name not in slots and gate.is_empty]:
            del self._gates[name]

    def of(self, model: str) -> Gate | None:
        """None for a model that has no replica."""
        gate = self._gates.get(model)
        return gate if gate is not None and gate.slots else None

    def views(self) -> dict[str, GateView]:
        return {name: gate.view() for name, gate in self._gates.items()}


def retry_after_s(view: GateView) -> float:
    """Seconds until a token is expected; one second where nothing is known."""
    if view.expected_wait_ms is None:
        return 1.0
    return max(0.05, view.expected_wait_ms * NS_PER_MS / NS_PER_S)

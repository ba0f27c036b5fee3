"""The gate of a model: takes what it can finish within its contract, has the rest wait in fair order, or refuses at
once.

`admit` looks at the tier as it is (`Tier.look`). Who fits, would overtake nobody and leaves room for those who were
promised it, runs at once. Who does not fit waits in the fair queue for as long as its contract leaves, if there is
likely to be room by then; else it is refused at once, with what stands in the way. `Refused.book` tells when there will
be room, and keeps it (`Bookings`): that is its `Retry-After`. While too little is known of the model for a forecast,
slots alone decide, from a few on with more for each answer that begins (TCP's slow start), and everybody may wait.

What comes free goes to waiters in the same turn of the loop, so that nobody overtakes the queue. Whoever stands first
and does not fit is passed over for one who does, as long as its own deadline lets it wait; who has come back at the
time that it was told goes before all, and is not passed over.

An idle replica takes anybody: nobody else is served by a refusal then, and an estimate that is too high would never be
corrected. A strict request (`on_miss: refuse`) that would be late runs so only every `PROBE_NS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from trimtab.core.clock import NS_PER_MS, NS_PER_S, Clock
from trimtab.dataplane.admission.bookings import Bookings
from trimtab.dataplane.admission.foreign import Told
from trimtab.dataplane.admission.queue import Entry, FairQueue, cost
from trimtab.dataplane.admission.replica import Running
from trimtab.dataplane.admission.room import endings_ms, endings_until, takes_ms
from trimtab.dataplane.admission.shares import Shares
from trimtab.dataplane.admission.ticket import Ending, GateView, How, Refused, Ticket
from trimtab.dataplane.admission.tier import Foreseen, Look, Tier
from trimtab.dataplane.admission.turn import Turn
from trimtab.foundations.podmodel import Fit, Predictor

START: Final = 16
"""Slots of each replica while nothing is known of it: few for an accelerator, more than a processor has."""
MORE: Final = 2
"""Slots that each answer which begins then adds."""
TRIES: Final = 4
"""Waiters that are looked at for one that comes free: what a turn of the loop may cost."""
PROBE_NS: Final = 5 * NS_PER_S
AHEAD: Final = 16
"""Intervals between two admissions over which it is reckoned how much is promised."""
LEAST_AHEAD_NS: Final = NS_PER_S
MOST_AHEAD_NS: Final = 20 * NS_PER_S
LEAST_REST: Final = 0.02
"""Share that is left to those without a promise."""
UNKNOWN_MS: Final = 1_000.0
"""When to come back where nothing is known."""
LEAST_MS: Final = 50.0
_WEIGHT: Final = 0.1  # of the newest service time in the average
_FALL: Final = 0.01  # by which the number of those who run together is believed to have fallen, with each that ends


class _Waiter:
    __slots__ = ("ready", "ticket", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ticket: Ticket | None = None


class Gate:
    """One model's. `slots` may change at any time; a smaller number takes effect as tickets end."""

    def __init__(self, clock: Clock, slots: int, replicas: int | Sequence[str] = 1) -> None:
        self._clock = clock
        self.slots = slots
        self.tier = Tier(Predictor(Fit(), ()))
        self.tier.resize(replicas, slots)
        self.used = 0
        self._walk_ns = 0
        """From when on somebody may come in without a promise."""
        self._busy = 0.0
        """How many run together when it is full."""
        self._begun = 0
        """Answers that have begun: each shows that the model takes more."""
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._promised: deque[_Waiter] = deque()
        """Who has come back when it was told to, and waits for room."""
        self._bookings = Bookings()
        self._shares = Shares()
        self._probed_ns: int | None = None
        self._service_ms: float | None = None

    def __repr__(self) -> str:
        return f"<Gate {self.used} of {self.slots} used, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return len(self._queue) + len(self._promised)

    @property
    def free(self) -> int:
        """Slots that may be taken. Of a tier that nobody knows yet few, and more with each answer that begins."""
        slots = self.slots
        if not self.tier.is_ready:
            slots = min(slots, START * self.tier.replicas + MORE * self._begun)
        return max(0, slots - self.used)

    @property
    def is_empty(self) -> bool:
        """Nobody runs, nobody waits."""
        return not self.used and not self.waiting

    def own(self, turn: Turn) -> int:
        """Requests of its tenant that run."""
        return self._shares.running(turn.tenant)

    def is_open(self, turn: Turn) -> bool:
        """Whether it would be let in at once."""
        return self._look(turn, self._clock.now_ns()).short is None

    def view(self) -> GateView:
        wait = None
        if self._service_ms is not None and self.slots:
            rounds = -(-(self.waiting + 1) // self.slots) if self.used >= self.slots else 0
            wait = rounds * self._service_ms
        return GateView(self.free, self.used, self.slots, self.waiting, wait)

    def resize(self, slots: int, replicas: int | Sequence[str] = 1) -> None:
        """`replicas`: their ids, or how many there are."""
        self.slots = slots
        self.tier.resize(replicas, slots)
        self._hand_out()

    # --- before it runs

    async def admit(self, turn: Turn, wait_s: float) -> Ticket | Refused:
        """A ticket, at once or after at most `wait_s`; or why there is none."""
        now_ns = self._clock.now_ns()
        self._bookings.lapse(now_ns)
        self._shares.come(turn.rank, turn.tenant, now_ns)
        booked = self._bookings.claim(turn.key, now_ns)
        look = self._look(turn, now_ns, promised=booked)
        if look.short is None:
            self._queue.charge(turn.rank, turn.tenant, turn.tokens)
            return self._begin(turn, look, "booked" if booked else "free", now_ns)
        if self._may_probe(turn, look, now_ns):
            self._queue.charge(turn.rank, turn.tenant, turn.tokens)
            return self._begin(turn, look, "probe", now_ns)
        until_ns = self._worth_waiting(turn, look, now_ns, now_ns + int(wait_s * NS_PER_S), booked=booked)
        if until_ns is None:
            return self._refused(turn, look)
        return await self._wait(turn, look, (until_ns - now_ns) / NS_PER_S, booked=booked)

    def book(self, turn: Turn, room_ms: float) -> float:
        """A place for somebody who was refused: seconds until then."""
        now_ns = self._clock.now_ns()
        due_ns = self._bookings.book(
            turn.rank, turn.tenant, turn.key, now_ns + int(room_ms * NS_PER_MS), self._interval_ns(turn, now_ns)
        )
        return max(LEAST_MS, (due_ns - now_ns) / NS_PER_MS) / 1000

    def room_ms(self, turn: Turn, look: Look) -> float:
        """Until there should be room for it, apart from what is promised to others."""
        if not self.used:
            return LEAST_MS
        endings = 1
        if look.short in ("ttft", "itl", "e2e"):
            endings = endings_until(self.tier, turn, self._clock.now_ns()) or self.used
        ahead = self._queue.ahead(turn.rank, turn.tenant) + len(self._promised)
        ms = endings_ms(self.tier, endings + ahead, self._clock.now_ns())
        if ms is None:
            wait_ms = self.view().expected_wait_ms
            ms = UNKNOWN_MS if wait_ms is None else wait_ms
        return max(LEAST_MS, ms)

    def _look(self, turn: Turn, now_ns: int, *, promised: bool = False, from_line: bool = False) -> Look:
        """`promised`: it has come at its time. `from_line`: it stands in line itself, so that nobody is before it."""
        free = self.free
        if not free:
            return self._shut(turn, "slots")
        if not promised and not from_line:
            if self._promised:
                return self._shut(turn, "booked")
            if self._queue.goes_before(turn.rank, turn.tenant, of_equals=True):
                return self._shut(turn, "turn")
        look = self.tier.look(turn, now_ns, promised=promised)
        if look.short is not None or promised or look.idle:
            return look
        if self._lacks(turn, free, self._shares.kept(turn.rank, turn.tenant, now_ns), now_ns):
            return msgspec.structs.replace(look, short="share")
        if now_ns < self._walk_ns and self._lacks(turn, free, self._near(turn, now_ns)[0], now_ns):
            return msgspec.structs.replace(look, short="booked")
        return look

    def _shut(self, turn: Turn, short: Literal["slots", "turn", "booked"]) -> Look:
        return Look(short=short, percentile=turn.latency.percentile)

    def _lacks(self, turn: Turn, free: int, others: float, now_ns: int) -> bool:
        """Whether there is no room left for so many like it, once it runs."""
        return others > 0 and (others > free - 1 or self.tier.look(turn, now_ns, others=others).short is not None)

    def _walked_in(self, turn: Turn, now_ns: int) -> None:
        """Who comes without a promise takes what is not promised: so much later may the next one."""
        if not len(self._bookings):
            return
        self._bookings.give_up(turn.key)
        near, ahead_ns = self._near(turn, now_ns)
        if near:
            interval_ns = self._interval_ns(turn, now_ns)
            rest = max(1 - interval_ns * near / ahead_ns, LEAST_REST)
            self._walk_ns = max(now_ns, self._walk_ns) + int(interval_ns / rest)

    def _near(self, turn: Turn, now_ns: int) -> tuple[float, float]:
        """How many are likely to come who were told to, in the next so many ns."""
        if not len(self._bookings):
            return 0.0, 0.0
        ahead_ns = min(max(AHEAD * self._interval_ns(turn, now_ns), LEAST_AHEAD_NS), MOST_AHEAD_NS)
        return self._bookings.near(turn.rank, turn.tenant, now_ns + int(ahead_ns)), ahead_ns

    def _interval_ns(self, turn: Turn, now_ns: int) -> float:
        """Between two who are let in while the tier is full (Little's law)."""
        each_ms = takes_ms(self.tier, turn.ask, now_ns) or self._service_ms or UNKNOWN_MS
        return each_ms * NS_PER_MS / max(1.0, self._busy)

    def _may_probe(self, turn: Turn, look: Look, now_ns: int) -> bool:
        if look.short not in ("ttft", "itl", "e2e") or not look.idle:
            return False
        if turn.strict:
            if self._probed_ns is not None and now_ns - self._probed_ns < PROBE_NS:
                return False
            self._probed_ns = now_ns
        return True

    def _worth_waiting(self, turn: Turn, look: Look, now_ns: int, until_ns: int, *, booked: bool) -> int | None:
        """Until when, of what it may wait; None: there will be no room by then."""
        latest_ns = self.tier.latest_ns(turn)
        until_ns = until_ns if latest_ns is None else min(until_ns, latest_ns)
        if until_ns <= now_ns:
            return None
        if not self.tier.is_ready or booked:
            return until_ns
        if look.short in ("ttft", "itl", "e2e") and not self.tier.can_keep(turn):
            return None
        return until_ns if now_ns + self.room_ms(turn, look) * NS_PER_MS <= until_ns else None

    def _begin(self, turn: Turn, look: Look, how: How, now_ns: int) -> Ticket:
        self.used += 1
        self._shares.begin(turn.tenant)
        if how != "booked":
            self._walked_in(turn, now_ns)
        self._busy = max(self._busy, self.used)
        return Ticket(self, turn, look, how, self.tier.begin(turn, now_ns, look.order[0]))

    async def _wait(self, turn: Turn, look: Look, wait_s: float, *, booked: bool) -> Ticket | Refused:
        waiter = _Waiter(turn)
        entry: Entry[_Waiter] | None = None
        if booked:
            self._promised.append(waiter)
        else:
            entry = self._queue.push(
                waiter, rank=turn.rank, tenant=turn.tenant, due=turn.first_due_ns, tokens=turn.tokens
            )
            if look.short == "turn":
                self._hand_out()  # it may come before those who wait, and fit
        try:
            async with asyncio.timeout(wait_s):
                await waiter.ready
        except BaseException as gone:
            if waiter.ticket is not None:  # it was handed over while we were leaving
                if isinstance(gone, TimeoutError):
                    return waiter.ticket
                waiter.ticket.end("ignored")
                raise
            self._leave(waiter, entry)
            if not isinstance(gone, TimeoutError):
                raise
            now_ns = self._clock.now_ns()
            again = self._look(turn, now_ns, promised=booked)
            return self._refused(turn, again if again.short is not None else look)
        assert waiter.ticket is not None
        return waiter.ticket

    def _leave(self, waiter: _Waiter, entry: Entry[_Waiter] | None) -> None:
        """A waiter goes unserved."""
        waiter.ready.cancel()
        if entry is not None:
            self._queue.leave(entry)
        elif waiter in self._promised:
            self._promised.remove(waiter)
        self._hand_out()  # it may have stood before others who fit

    def _refused(self, turn: Turn, look: Look) -> Refused:
        return Refused(self, turn, look, can_keep=self.tier.can_keep(turn))

    # --- while it runs, and after

    def tell(self, replica: str, told: Told) -> None:
        """The engine of that replica has told what it is at: what is not ours counts there until it tells again."""
        self.tier.tell(replica, told, self._clock.now_ns())
        self._hand_out()

    def sent(self, running: Running) -> Foreseen | None:
        """A ticket's request goes to a replica."""
        self.tier.sent(running, self._clock.now_ns())
        return self.tier.foresee(running)

    def moved(self, running: Running, replica: str) -> None:
        """Another replica has begun to answer than was asked first."""
        self._begun += 1
        self.tier.moved(running, replica, self._clock.now_ns())
        self._hand_out()

    def begun(self, running: Running) -> None:
        """Its first token has come: its prompt is in, and there may be room for the next."""
        self._begun += 1
        self.tier.first(running, self._clock.now_ns())
        self._hand_out()

    def passed(self, running: Running) -> None:
        """So many of its tokens have come since the last time that they tell the pace."""
        self.tier.passed(running, self._clock.now_ns())

    def give_back(self, running: Running, since_ns: int, how: Ending) -> None:
        """A ticket has ended."""
        assert self.used > 0, "more tickets ended than were given"
        self.used -= 1
        self._shares.end(running.turn.tenant)
        now_ns, turn, wrote = self._clock.now_ns(), running.turn, running.wrote
        self.tier.end(running, now_ns, whole=how == "success")
        had = 0.0 if not wrote and how == "ignored" else cost(turn.ask.prompt, wrote or turn.ask.output)
        self._queue.correct(turn.rank, turn.tenant, had - turn.tokens)
        if how != "ignored":
            took_ms = (now_ns - since_ns) / NS_PER_MS
            old = self._service_ms
            self._service_ms = took_ms if old is None else old + _WEIGHT * (took_ms - old)
        self._busy += _FALL * (self.used - self._busy)
        if how == "success" and running.first_ns is None:
            self._begun += 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Tokens to waiters who fit, in order; a token is the waiter's from this moment. Who has come when it was told
        to goes first, unless one in line is of a more urgent class, or its tenant has had less."""
        for _ in range(TRIES):
            if not self.free:
                return
            while self._promised and self._promised[0].ready.done():  # cancelled, and has not yet come to leave itself
                self._promised.popleft()
            promised = self._promised[0] if self._promised else None
            if promised is None or self._queue.goes_before(promised.turn.rank, promised.turn.tenant):
                if not (self._queue and self._hand_one()):
                    return
            elif not self._hand_promised(promised):
                return

    def _hand_promised(self, waiter: _Waiter) -> bool:
        now_ns, turn = self._clock.now_ns(), waiter.turn
        look = self._look(turn, now_ns, promised=True)
        if look.short is not None and not self._may_probe(turn, look, now_ns):
            return False
        self._queue.charge(turn.rank, turn.tenant, turn.tokens)
        self._promised.popleft()
        self._give(waiter, look, "booked", now_ns)
        return True

    def _hand_one(self) -> bool:
        """To the first waiter who fits, of a few; whether there was one."""
        for number, entry in enumerate(self._queue):
            waiter = entry.item
            if waiter.ready.done():
                self._queue.leave(entry)
                return True
            now_ns = self._clock.now_ns()
            look = self._look(waiter.turn, now_ns, from_line=True)
            fits = look.short is None
            if fits or self._may_probe(waiter.turn, look, now_ns):
                self._queue.take(entry)
                self._give(waiter, look, "waited" if fits else "probe", now_ns)
                return True
            if number + 1 >= TRIES or look.short in ("slots", "booked"):
                return False
        return False

    def _give(self, waiter: _Waiter, look: Look, how: How, now_ns: int) -> None:
        waiter.ticket = self._begin(waiter.turn, look, how, now_ns)
        waiter.ready.set_result(None)

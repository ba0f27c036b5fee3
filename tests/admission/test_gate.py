"""A gate before one small engine, on virtual time: who is let in, who waits, who is refused by what, and whether what
the refused are told is true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trimtab.core.clock import Clock
from trimtab.core.contract import Latency
from trimtab.dataplane.admission import Gate, Refused, Ticket, Turn
from trimtab.foundations.podmodel import Ask
from trimtab.surfaces.twin.loop import VirtualLoop

PROMPT_S, TOKEN_S, EACH_S = 0.1, 0.02, 0.001
"""Of the engine: for each prompt, one after the other; between two tokens of an answer, and more for each that runs."""
OUTPUT = 50


class Engine:
    """Takes prompts in one by one, and writes all answers side by side."""

    def __init__(self, clock: Clock, slots: int = 64, prompts: int = 1) -> None:
        """`prompts`: so many are taken in side by side."""
        self.clock, self.gate = clock, Gate(clock, slots)
        self._intake = asyncio.Semaphore(prompts)
        self.begun_ms: list[float] = []
        """From arrival to first token of all that were let in."""

    def turn(self, **terms: Any) -> Turn:
        named = {"tenant": "shop", "key": 0, "rank": 2, "strict": True, "ttft_ms": 1000.0, "itl_ms": 100.0} | terms
        latency = Latency(
            ttft_ms=named.pop("ttft_ms"), itl_ms=named.pop("itl_ms"), e2e_ms=60_000, percentile=0.95, deadline_ms=90_000
        )
        return Turn(at_ns=self.clock.now_ns(), latency=latency, ask=Ask(prompt=500, output=OUTPUT), **named)

    async def ask(self, turn: Turn, wait_s: float = 0.0) -> Ticket | Refused:
        """One request: at its end, or at once where it is refused."""
        got = await self.gate.admit(turn, wait_s)
        if isinstance(got, Ticket):
            await self.serve(got)
        return got

    async def serve(self, ticket: Ticket) -> None:
        foreseen, sent_ns = ticket.sent(), self.clock.now_ns()
        async with self._intake:
            await asyncio.sleep(PROMPT_S)
        ticket.wrote(1)
        first_ns = self.clock.now_ns()
        self.begun_ms.append((first_ns - ticket.turn.at_ns) / 1e6)
        for wrote in range(2, OUTPUT + 1):
            await asyncio.sleep(TOKEN_S + EACH_S * self.gate.used)
            ticket.wrote(wrote)
        ticket.end("success")
        if foreseen is not None:
            now_ns, learn = self.clock.now_ns(), self.gate.tier.predictor.learn
            learn(foreseen.times, "ttft", (first_ns - sent_ns) / 1e6)
            learn(foreseen.times, "itl", (now_ns - first_ns) / 1e6 / (OUTPUT - 1))
            learn(foreseen.times, "e2e", (now_ns - sent_ns) / 1e6)
            self.gate.tier.judge(0.95, missed=self.begun_ms[-1] > ticket.turn.latency.ttft_ms)

    async def teach(self) -> None:
        """Requests by ones, twos and more."""
        for together in (1, 2, 4, 6, 8) * 3:
            await asyncio.gather(*(self.ask(self.turn(ttft_ms=10_000.0)) for _ in range(together)))


def run(main: Callable[[Engine], Awaitable[None]], prompts: int = 1) -> None:
    loop = VirtualLoop(seed=1)

    async def whole() -> None:
        await main(Engine(loop.clock, prompts=prompts))

    try:
        loop.run_until_complete(whole())
    finally:
        loop.close()


def lets_in(got: Ticket | Refused) -> bool:
    return isinstance(got, Ticket)


def test_of_a_model_that_nobody_knows_slots_decide_few_at_first() -> None:
    """Sixteen at once, then two more with each answer that begins; who can't wait is refused by slots."""

    async def main(engine: Engine) -> None:
        patient = [engine.turn(ttft_ms=30_000.0) for _ in range(60)]
        asked = [asyncio.create_task(engine.ask(turn, 30.0)) for turn in patient]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (engine.gate.used, engine.gate.waiting) == (16, 44)
        refused = await engine.ask(engine.turn())
        assert isinstance(refused, Refused)
        assert (refused.look.short, refused.look.level, refused.running) == ("slots", None, 16)
        assert refused.book() is not None
        await asyncio.sleep(2.5 * PROMPT_S)
        assert engine.gate.used == 20
        assert all(map(lets_in, await asyncio.gather(*asked)))
        assert engine.gate.is_empty

    run(main)


def test_whoever_would_begin_too_late_is_refused_at_once_by_the_forecast() -> None:
    """Of forty who come together about nine can begin within a second; all who are let in do."""

    async def main(engine: Engine) -> None:
        await engine.teach()
        engine.begun_ms.clear()
        began_ns = engine.clock.now_ns()
        got = await asyncio.gather(*(engine.ask(engine.turn()) for _ in range(40)))
        refused = [one for one in got if isinstance(one, Refused)]
        assert 6 <= 40 - len(refused) <= 10
        assert max(engine.begun_ms) <= 1000
        assert {one.look.short for one in refused} == {"ttft"}
        assert all(one.look.ttft_ms is not None and one.look.ttft_ms > 1000 for one in refused)
        assert engine.clock.now_ns() - began_ns < 3e9

    run(main)


def test_what_the_refused_are_told_is_true() -> None:
    """Who comes back when told to is let in, with everybody else still asking; who comes at half of it mostly not."""
    counts = {1.0: [0, 0], 0.5: [0, 0]}

    async def main(engine: Engine) -> None:
        await engine.teach()
        later: list[asyncio.Task[None]] = []

        async def once_more(key: int, told: float, part: float) -> None:
            await asyncio.sleep(told * part)
            got = await engine.ask(engine.turn(key=key), 0.5)
            counts[part][0] += 1
            counts[part][1] += lets_in(got)

        async def one(key: int) -> None:
            got = await engine.ask(engine.turn(key=key), 0.5)
            if isinstance(got, Refused):
                told = got.book()
                assert told is not None
                later.append(asyncio.create_task(once_more(key, told, 1.0 if key % 2 else 0.5)))

        first = []
        for key in range(900):  # 30 a second, of the 10 that can begin
            first.append(asyncio.create_task(one(key)))
            await asyncio.sleep(1 / 30)
        for task in first:
            await task
        for task in later:
            await task
        assert engine.gate.is_empty

    run(main)
    assert min(came for came, _ in counts.values()) > 100
    assert counts[1.0][1] >= 0.95 * counts[1.0][0]
    assert counts[0.5][1] <= 0.5 * counts[0.5][0]


def test_who_can_wait_does() -> None:
    """Until the prompts before it are in: not refused, and in time."""

    async def main(engine: Engine) -> None:
        await engine.teach()
        engine.begun_ms.clear()
        got = await asyncio.gather(*(engine.ask(engine.turn(ttft_ms=3000.0, key=key), 2.0) for key in range(20)))
        assert sum(map(lets_in, got)) >= 17
        assert max(engine.begun_ms) <= 3000

    run(main)


def test_what_not_even_an_idle_tier_can_keep_stands_in_nobodys_way() -> None:
    """A target of 10 ms, where a prompt takes 100: with `on_miss: refuse` it is refused for good, but for a probe;
    else it is let in, and the target is named."""

    async def main(engine: Engine) -> None:
        await engine.teach()
        soft = await engine.ask(engine.turn(ttft_ms=10.0, strict=False))
        assert isinstance(soft, Ticket)
        assert (soft.how, soft.look.waived) == ("free", ("ttft",))
        probe = await engine.ask(engine.turn(ttft_ms=10.0))
        assert isinstance(probe, Ticket)
        assert probe.how == "probe"
        refused = await engine.ask(engine.turn(ttft_ms=10.0))
        assert isinstance(refused, Refused)
        assert (refused.look.short, refused.can_keep, refused.book()) == ("ttft", False, None)

    run(main)


def test_a_service_that_takes_all_prompts_at_once_is_not_taken_for_one_that_does_not() -> None:
    """A first token that comes after a while whoever else is there: thirteen a second are let in, once some have shown
    that they don't wait for each other, although one by one there would be ten."""

    async def main(engine: Engine) -> None:
        tasks = []
        for key in range(300):
            tasks.append(asyncio.create_task(engine.ask(engine.turn(key=key), 0.5)))
            await asyncio.sleep(1 / 13)
        got = [await task for task in tasks]
        assert all(map(lets_in, got[50:]))
        at_once = await asyncio.gather(*(engine.ask(engine.turn(key=-key)) for key in range(15)))
        assert all(map(lets_in, at_once))

    run(main, prompts=64)


def test_those_who_run_are_protected() -> None:
    """Whoever was promised the pace of four keeps that: about three more may run beside it."""

    async def main(engine: Engine) -> None:
        await engine.teach()
        tier = engine.gate.tier
        four_ms = 1000 * (TOKEN_S + 4 * EACH_S) * tier.predictor.ratio("itl", tier.level(0.95))
        held = asyncio.create_task(engine.ask(engine.turn(itl_ms=four_ms)))
        await asyncio.sleep(2 * PROMPT_S)
        others = [asyncio.create_task(engine.ask(engine.turn(ttft_ms=10_000.0))) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 3 <= engine.gate.used <= 5
        got = await asyncio.gather(*others)
        assert {one.look.short for one in got if isinstance(one, Refused)} == {"others"}
        assert lets_in(await held)

    run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 0.3])
def test_who_leaves_while_it_waits_leaves_nothing(seconds: float) -> None:
    """Cancelled before, while and after its turn comes."""

    async def main(engine: Engine) -> None:
        await engine.teach()
        asked = [asyncio.create_task(engine.ask(engine.turn(key=key), 5.0)) for key in range(20)]
        await asyncio.sleep(seconds)
        for task in asked[::2]:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert sum(task.cancelled() for task in asked) >= 4
        assert engine.gate.waiting == 0

    class Tidy(Engine):
        async def serve(self, ticket: Ticket) -> None:
            try:
                await super().serve(ticket)
            finally:
                ticket.end("dropped")

    loop = VirtualLoop(seed=1)

    async def whole() -> None:
        engine = Tidy(loop.clock)
        await main(engine)
        assert engine.gate.is_empty

    try:
        loop.run_until_complete(whole())
    finally:
        loop.close()


def test_who_floods_leaves_room_for_those_who_come_lately() -> None:
    """Of what is free a tenant with a third of all takes all but an eighth while others come; nothing is kept where
    nobody else does."""

    async def main(engine: Engine) -> None:
        async def flood(number: int) -> list[asyncio.Task[Ticket | Refused]]:
            turns = [engine.turn(tenant="flood", ttft_ms=60_000.0) for _ in range(number)]
            asked = [asyncio.create_task(engine.ask(turn, 50.0)) for turn in turns]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return asked

        await asyncio.gather(*(engine.ask(engine.turn(tenant=name)) for name in ("shop", "shop", "club")))
        slots = engine.gate.free
        asked = await flood(60)
        kept = engine.gate.free
        assert kept == slots // 8
        held = await engine.gate.admit(engine.turn(tenant="flood"), 0.0)
        assert isinstance(held, Refused)
        assert (held.look.short, held.own, held.running) == ("turn", slots - kept, slots - kept)
        got = [await engine.gate.admit(engine.turn(tenant=name), 0.0) for name in ("shop", "club")]
        assert all(map(lets_in, got))
        for ticket in got:
            assert isinstance(ticket, Ticket)
            ticket.end()
        await asyncio.gather(*asked)
        await asyncio.sleep(60)
        slots = engine.gate.free
        asked = await flood(80)
        assert engine.gate.free == 0
        assert engine.gate.used == slots
        await asyncio.gather(*asked)

    run(main)


def test_what_is_kept_for_others_is_a_reason_of_its_own() -> None:
    """Who is refused for it, with nobody before it in line, is told so, and when to come again."""

    async def main(engine: Engine) -> None:
        await engine.ask(engine.turn(tenant="club"))
        got: Ticket | Refused = await engine.gate.admit(engine.turn(tenant="flood"), 0.0)
        while isinstance(got, Ticket):
            got = await engine.gate.admit(engine.turn(tenant="flood"), 0.0)
        assert got.look.short == "share"
        assert got.own == got.running == engine.gate.used
        assert engine.gate.free == 1
        assert (got.book() or 0) > 0
        assert lets_in(await engine.gate.admit(engine.turn(tenant="club"), 0.0))

    run(main)

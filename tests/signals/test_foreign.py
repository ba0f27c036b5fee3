"""Others' load on an engine, in the choice of a replica."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.clock import NS_PER_S
from trimtab.core.contract import Latency
from trimtab.dataplane.admission import Gate, Refused, Ticket, Told, Turn
from trimtab.dataplane.admission.foreign import FULL, LATE_NS, Foreign, Typical
from trimtab.dataplane.admission.tier import Tier
from trimtab.foundations.podmodel import Ask, Fit, Load, Pod, Predictor, Sample
from trimtab.surfaces.twin import run_virtual
from trimtab.surfaces.twin.loop import VirtualLoop

POD = Pod(base_ms=20, sequence_ms=1, held_ms=0.001, prefill_ms=10, prompt_ms=0.2, attend_ms=0, serial=1.0)
LONG = Latency(ttft_ms=60_000, itl_ms=60_000, e2e_ms=600_000, percentile=0.9, deadline_ms=900_000)
TIGHT = Latency(ttft_ms=1_000, itl_ms=60_000, e2e_ms=600_000, percentile=0.9, deadline_ms=900_000)
PATIENT = Latency(ttft_ms=8_000, itl_ms=60_000, e2e_ms=600_000, percentile=0.9, deadline_ms=900_000)
EVER = 1 << 62
COUNT = st.integers(0, 200)


def teach(tier: Tier) -> None:
    fit = tier.predictor.fit = Fit(POD)
    for number in range(40):
        prompt, running = number % 2 * 500, 1 + number % 7
        fit.observe(Sample(ms=POD.pass_ms(running, 500, prompt, prompt / 2), running=running, held=500, prompt=prompt))


def taught(*replicas: str) -> Tier:
    tier = Tier(Predictor(Fit(), ()), replicas)
    teach(tier)
    return tier


def gate(*, knows: bool = True, slots: int = 100) -> Gate:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    made = Gate(loop.clock, slots, ("a", "b"))
    if knows:
        teach(made.tier)
    return made


def turn(held: dict[str, float] | None = None, latency: Latency = LONG, avoid: frozenset[str] = frozenset()) -> Turn:
    ask = Ask(prompt=1000, output=50)
    return Turn(rank=2, tenant="shop", at_ns=0, latency=latency, ask=ask, held=held or {}, avoid=avoid)


def told(running: int, waiting: int = 0, kv_used: float | None = None, until_ns: int = EVER) -> Told:
    return Told(running=running, waiting=waiting, kv_used=kv_used, until_ns=until_ns)


async def admitted(one: Gate, each: Turn) -> Ticket:
    got = await one.admit(each, 0)
    assert not isinstance(got, Refused)
    return got


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("loaded", ["a", "b"])
def test_a_replica_with_others_load_is_not_chosen_while_an_idle_one_is_there(knows: bool, loaded: str) -> None:
    """Whether the model's pace is known or not, and whether others run there or wait."""

    async def main() -> None:
        for running, waiting in ((1, 0), (0, 1), (8, 3)):
            one = gate(knows=knows)
            one.tell(loaded, told(running, waiting))
            ticket = await admitted(one, turn())
            assert ticket.order == (("b", "a") if loaded == "a" else ("a", "b"))

    run_virtual(main)


@given(st.lists(st.tuples(st.sampled_from("ab"), COUNT, COUNT), max_size=4), st.booleans())
def test_others_load_only_adds(tellings: list[tuple[str, int, int]], restless: bool) -> None:
    """Nothing of a replica's load is ever less than what was counted, whatever engines tell and in whatever order."""
    tier, plain = taught("a", "b"), taught("a", "b")
    now_ns = 0
    for place, running, waiting in tellings:
        for each in (tier, plain):
            started = each.begin(turn(), now_ns, place)
            if restless:
                each.sent(started, now_ns)
        tier.tell(place, told(running, waiting), now_ns)
        for ours, others in zip(plain._replicas, tier._replicas, strict=True):
            counted, found = ours.load(now_ns), others.load(now_ns)
            for field in Load.__struct_fields__:
                assert getattr(found, field) >= getattr(counted, field) - 1e-6, field
        now_ns += 10**7


@given(st.integers(0, 20), st.data())
def test_an_engine_that_tells_of_ours_alone_changes_nothing(ours: int, data: st.DataObject) -> None:
    """However these are divided into those that run and those that wait, and if some have begun to write."""
    tier, plain = taught("a", "b"), taught("a", "b")
    begun = data.draw(st.integers(0, ours))
    for each in (tier, plain):
        for number in range(ours):
            running = each.begin(turn(), 0, "a")
            if number < begun:
                each.first(running, 10**8)
    count = data.draw(st.integers(0, ours))
    running_there = data.draw(st.integers(0, count))
    tier.tell("a", told(running_there, count - running_there), 10**8)
    for now_ns in (10**8, 2 * 10**8):
        assert tier.look(turn(), now_ns) == plain.look(turn(), now_ns)
        assert [one.load(now_ns) for one in tier._replicas] == [one.load(now_ns) for one in plain._replicas]


def test_one_that_has_just_ended_is_ours_still() -> None:
    """Gauges are a pass or some old: what ran within the last second is not taken for somebody else's."""
    foreign = Foreign()
    for number, at_ns in ((5, 0), (4, 100), (3, 200)):
        foreign.ended(number, at_ns)
    foreign.tell(told(5), 2, 0, POD, 1.0, 300)
    assert foreign.number(300) == 0
    foreign.tell(told(5), 2, 0, POD, 1.0, LATE_NS + 50)
    assert foreign.number(LATE_NS + 50) == 1
    foreign.tell(told(5), 2, 0, POD, 1.0, LATE_NS + 201)
    assert foreign.number(LATE_NS + 201) == 3


def test_a_gate_knows_who_has_just_ended() -> None:
    """An engine that still tells of an answer whose end has come here has nobody else's."""

    async def main() -> None:
        one = gate()
        ticket = await admitted(one, turn({"a": 0.9}))
        assert ticket.order[0] == "a"
        ticket.end("success")
        one.tell("a", told(1))
        assert (await admitted(one, turn({"a": 0.1}))).order[0] == "a"

    run_virtual(main)


def test_who_waits_beyond_ours_is_somebody_else() -> None:
    """Of what is not ours, as many wait as wait there beyond those of ours without a first token."""
    typical = Typical()
    typical.observe(Ask(prompt=100, output=60))
    foreign = Foreign(typical)
    foreign.tell(told(6, 5), 4, 2, POD, 0.5, 0)
    ahead = 0.5 * 3 * POD.intake_ms(100)
    assert foreign.load(0) == Load(running=4, held=4 * 130, ahead_ms=ahead, coming=3, coming_held=300)


def test_what_was_told_counts_for_its_time_only() -> None:
    """Then the load is what is counted, as if nothing had been told; and the next telling takes the place of the
    last."""

    async def main() -> None:
        one = gate()
        one.tell("a", told(9, until_ns=15 * NS_PER_S))
        assert (await admitted(one, turn())).order[0] == "b"
        await asyncio.sleep(14)
        assert (await admitted(one, turn({"a": 0.2}))).order[0] == "b", "a is still loaded"
        await asyncio.sleep(2)
        assert (await admitted(one, turn())).order[0] == "a"
        one.tell("b", told(50, until_ns=EVER))
        one.tell("b", told(0, until_ns=EVER))
        one.tell("c", told(9, until_ns=EVER))
        load = one.tier._replicas[1].load(16 * NS_PER_S)
        assert load.running + load.coming == 2

    run_virtual(main)


def test_waiting_prompts_of_others_do_not_pile_up_in_the_queue_of_ours() -> None:
    """They stand before each of ours once, however many of ours come behind them."""
    tier = taught("a")
    tier.tell("a", told(0, 5), 0)
    (place,) = tier._replicas
    others_ms, own_ms = place.load(0).ahead_ms, POD.intake_ms(1000)
    assert others_ms > 0
    for number in range(1, 4):
        tier.sent(tier.begin(turn(), 0, "a"), 0)
        assert place.load(0).ahead_ms == pytest.approx(others_ms + number * own_ms, rel=0.2)


def test_forecasts_count_others() -> None:
    """A request that would be in time alone is not let in behind others' prompts, while ours run there. One that waits
    is let in as soon as the engine tells that they are gone, though nobody of ours has ended."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        one = Gate(loop.clock, 100, ("a",))
        teach(one.tier)
        first = await admitted(one, turn())
        first.wrote(1)
        first.wrote(45)
        one.tell("a", told(1, 60))
        late = await one.admit(turn(latency=TIGHT), 0)
        assert isinstance(late, Refused)
        assert late.look.short == "ttft"
        waiting = asyncio.create_task(one.admit(turn(latency=PATIENT), 30))
        await asyncio.sleep(0.1)
        assert one.waiting == 1
        one.tell("a", told(1, 0))
        ticket = await waiting
        assert isinstance(ticket, Ticket)
        assert (ticket.how, loop.clock.now_ns()) == ("waited", NS_PER_S // 10)

    run_virtual(main)


def test_an_idle_gateway_still_lets_in_whom_others_make_late() -> None:
    """Nobody of ours runs there: that one is let in is what shows whether the forecast is right."""

    async def main() -> None:
        one = gate()
        for name in ("a", "b"):
            one.tell(name, told(5, 100))
        assert (await admitted(one, turn(latency=TIGHT))).how == "probe"

    run_virtual(main)


@pytest.mark.parametrize("knows", [True, False])
def test_a_replica_whose_memory_is_full_comes_behind_others(knows: bool) -> None:
    """However much it holds of the prompt; before one that has no slot, or is better left alone. Full memory where
    nobody waits for it keeps nobody waiting."""

    async def main() -> None:
        for kv_used, waiting, first in ((FULL, 1, "b"), (FULL, 0, "a"), (FULL - 0.01, 1, "a"), (None, 1, "a")):
            one = gate(knows=knows)
            busy = [await admitted(one, turn(avoid=frozenset("b"))) for _ in range(2)]
            busy += [await admitted(one, turn(avoid=frozenset("a"))) for _ in range(2)]
            one.tell("a", told(0, waiting, kv_used))
            assert (await admitted(one, turn({"a": 0.9}))).order[0] == first
        avoided = gate(knows=knows)
        avoided.tell("a", told(1, 1, 1.0))
        assert (await admitted(avoided, turn(avoid=frozenset("b")))).order[0] == "a"

    run_virtual(main)


def test_passes_beside_others_teach_with_them() -> None:
    """A pass that is slow since others run there says nothing slower of a pass with ours alone: it was of more."""
    tier = taught("a")
    tier.tell("a", told(8), 0)
    (place,) = tier._replicas
    running = tier.begin(turn(), 0, "a")
    place.first(running, POD, 10**9)
    running.wrote = 41
    sample = place.passed(running, 2 * 10**9)
    assert sample is not None
    assert sample.ms == pytest.approx(25)
    assert sample.running == pytest.approx(9)

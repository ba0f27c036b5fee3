"""Which replica a gate reckons with: the one where a request costs the least."""

from __future__ import annotations

import asyncio

import pytest

from trimtab.core.contract import Latency
from trimtab.dataplane.admission import Gate, Refused, Ticket, Turn
from trimtab.dataplane.admission.replica import PAUSE, SLOWER, Replica
from trimtab.foundations.podmodel import Ask, Fit, Load, Pod, Sample
from trimtab.surfaces.twin import run_virtual
from trimtab.surfaces.twin.loop import VirtualLoop

POD = Pod(base_ms=20, sequence_ms=1, held_ms=0.001, prefill_ms=10, prompt_ms=0.2, attend_ms=0, serial=1.0)
LONG = Latency(ttft_ms=60_000, itl_ms=60_000, e2e_ms=600_000, percentile=0.9, deadline_ms=900_000)
PROMPT = 1000


def gate(*, knows: bool = True, slots: int = 100, replicas: tuple[str, ...] = ("a", "b")) -> Gate:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    made = Gate(loop.clock, slots, replicas)
    if knows:
        fit = made.tier.predictor.fit = Fit(POD)
        for number in range(40):
            prompt, running = number % 2 * 500, 1 + number % 7
            fit.observe(
                Sample(ms=POD.pass_ms(running, 500, prompt, prompt / 2), running=running, held=500, prompt=prompt)
            )
    return made


def turn(held: dict[str, float] | None = None, latency: Latency = LONG, avoid: frozenset[str] = frozenset()) -> Turn:
    ask = Ask(prompt=PROMPT, output=50)
    return Turn(rank=2, tenant="shop", at_ns=0, latency=latency, ask=ask, held=held or {}, avoid=avoid)


async def admitted(one: Gate, *turns: Turn) -> list[Ticket]:
    found = []
    for each in turns:
        got = await one.admit(each, 0)
        assert not isinstance(got, Refused)
        found.append(got)
    return found


def test_the_warm_replica_wins_until_its_queue_costs_more_than_the_prompt() -> None:
    """A prompt that is held to nine tenths goes there behind others for as long as these take less than what it saves,
    then elsewhere. What it costs on both stands in the decision."""

    async def main() -> None:
        one = gate()
        orders = []
        for number in range(12):
            (ticket,) = await admitted(one, turn({"a": 0.9}))
            orders.append(ticket.order)
            look = ticket.look
            assert look.cost_ms is not None
            assert look.next_ms is not None
            assert look.cost_ms <= look.next_ms
            assert look.held == pytest.approx(0.9 if ticket.order[0] == "a" else 0)
            if number == 0:  # idle: what it saves is nine tenths of the prompt
                assert look.next_ms - look.cost_ms > 0.8 * PROMPT * POD.prompt_ms
        first = [order[0] for order in orders]
        assert first[:3] == ["a", "a", "a"]
        assert "b" in first
        assert first.index("b") < 11
        assert all(set(order) == {"a", "b"} for order in orders)

    run_virtual(main)


def test_what_a_request_costs_is_what_people_wait() -> None:
    """What is before it as long as it takes; its prompt, longer where prompts keep the replica busy; a share of the
    pause of those who write, and of what all write slower by."""
    place, ask = Replica(), Ask(prompt=PROMPT, output=50, cached=400)
    alone, held = POD.intake_ms(600, 400), PROMPT + 25
    pace = POD.decode_ms(1, held)
    idle = place.cost_ms(POD, Load(), ask)
    assert idle == pytest.approx(alone + SLOWER * 50 * pace)
    assert place.cost_ms(POD, Load(ahead_ms=70), ask) == pytest.approx(idle + 70)
    assert place.cost_ms(POD, Load(busy=0.5), ask) == pytest.approx(2 * idle)
    assert place.cost_ms(POD, Load(busy=1.0), ask) == pytest.approx(10 * idle)
    before, after = POD.decode_ms(3, 300), POD.decode_ms(4, 300 + held)
    writing = before / 2 + POD.intake_ms(600, 400, 3, 300)
    pause = PAUSE * 3 * POD.added_ms(3, 300, 600, 700)
    slower = SLOWER * 50 * (after + (after - before) * 3 / 2)
    assert place.cost_ms(POD, Load(running=3, held=300), ask) == pytest.approx(writing + pause + slower)


def test_equals_go_where_less_is_before_them() -> None:
    async def main() -> None:
        tickets = await admitted(gate(), *(turn() for _ in range(6)))
        assert sorted(ticket.order[0] for ticket in tickets) == ["a", "a", "a", "b", "b", "b"]

    run_virtual(main)


def test_before_anything_is_known_the_fewest_decide_then_who_holds_most() -> None:
    async def main() -> None:
        first, second, third = await admitted(gate(knows=False), *(turn({"b": 0.9}) for _ in range(3)))
        assert [one.order[0] for one in (first, second, third)] == ["b", "a", "b"]
        assert first.look.cost_ms is None

    run_virtual(main)


def test_a_full_replica_comes_last_however_much_it_holds() -> None:
    """Its slots are taken: it would have to wait there for an end."""

    async def main() -> None:
        one = gate(slots=4)
        tickets = await admitted(one, *(turn({"a": 1.0}) for _ in range(4)))
        assert sorted(ticket.order[0] for ticket in tickets) == ["a", "a", "b", "b"]

    run_virtual(main)


def test_who_is_better_left_alone_comes_last() -> None:
    async def main() -> None:
        one = gate()
        tickets = await admitted(one, *(turn({"a": 1.0}, avoid=frozenset({"a"})) for _ in range(4)))
        assert {ticket.order for ticket in tickets} == {("b", "a")}

    run_virtual(main)


def test_who_would_be_late_where_it_is_cheapest_goes_where_it_is_not() -> None:
    """The cheapest replica's queue is within nobody's target, the other's is."""

    async def main() -> None:
        one = gate()
        await admitted(one, *(turn({"a": 0.9}) for _ in range(3)))
        alone_ms = POD.intake_ms(PROMPT)
        hurried = Latency(ttft_ms=1.6 * alone_ms, itl_ms=60_000, e2e_ms=600_000, percentile=0.9, deadline_ms=900_000)
        (late,) = await admitted(one, turn({}, hurried))
        assert late.order[0] == "b"

    run_virtual(main)


def test_a_request_that_another_replica_answers_runs_there() -> None:
    """What was reckoned to the first is taken off it: the next one finds it idle."""

    async def main() -> None:
        one = gate()
        (ticket,) = await admitted(one, turn({"a": 0.9}))
        assert ticket.order[0] == "a"
        ticket.sent()
        await asyncio.sleep(1)
        fit = one.tier.predictor.fit.pod
        ticket.begun_at("b")
        ticket.wrote(1)
        assert one.tier.predictor.fit.pod == fit
        (behind,) = await admitted(one, turn())
        assert behind.order[0] == "a"
        ticket.begun_at("gone")
        for each in (ticket, behind):
            each.end("success")
        assert one.is_empty
        assert one.tier.look(turn(), 0).idle

    run_virtual(main)


def test_an_answer_that_another_replica_begins_shows_that_the_model_takes_more() -> None:
    """While nothing is known, each that begins makes room for two more, wherever it does."""

    async def main() -> None:
        one = gate(knows=False)
        (ticket,) = await admitted(one, turn())
        free = one.free
        ticket.begun_at("b")
        assert one.free == free + 2

    run_virtual(main)


def test_replicas_keep_what_runs_on_them_when_others_go() -> None:
    """By their names, not by their places."""

    async def main() -> None:
        one = gate(replicas=("a", "b", "c"))
        tickets = await admitted(one, turn({"c": 1.0}), turn({"c": 1.0}))
        assert {ticket.order[0] for ticket in tickets} == {"c"}
        one.resize(100, ["b", "c"])
        look = one.tier.look(turn(), 0)
        assert (look.order, look.idle) == (("b", "c"), True)
        one.resize(0, [])
        one.resize(100, ["c"])
        assert not one.tier.look(turn(), 0).idle

    run_virtual(main)


def test_of_one_replica_nothing_is_said() -> None:
    async def main() -> None:
        (ticket,) = await admitted(gate(replicas=("a",)), turn())
        assert (ticket.order, ticket.look.held, ticket.look.cost_ms) == (("a",), None, None)

    run_virtual(main)


def test_a_request_counts_on_the_replica_that_it_was_let_in_on() -> None:
    """Also where nobody runs there and another one would be cheaper; and what is known of an idle replica outlives a
    change of the others."""

    async def main() -> None:
        one = gate()
        tier = one.tier
        running = tier.begin(turn({"a": 0.9}), 0, "b")
        assert running.place.id == "b"
        tier.end(running, 10**9, whole=False)
        tier.resize(["b", "c"])
        assert tier.begin(turn(), 10**9, "b").place is running.place

    run_virtual(main)

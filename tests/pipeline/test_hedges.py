"""Slow replicas: a second attempt beside one that takes too long, and ejection of who is slower than its like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway import Gateway, replaced, text_of
from support.upstream import Delay, ScriptedUpstream, Seen, Step, stream, usage
from trimtab.dataplane import wiring
from trimtab.dataplane.inference import HedgeBudget
from trimtab.surfaces.twin import run_virtual


def takes(seconds: Callable[[Seen], float]) -> Callable[[Seen], Iterable[Step]]:
    """An answer of ten words whose first comes after so long."""

    def script(seen: Seen) -> Iterable[Step]:
        head, *rest = stream([f"w{n} " for n in range(10)], usage(8, 10), delay_s=0.01)
        return [head, Delay(seconds(seen)), *rest]

    return script


def replicas(*urls: str, hedge: bool) -> Callable[[dict[str, str]], None]:
    told = ", ".join(f'"{url}/v1"' for url in urls)
    new = f"endpoint: [{told}], hedge: {str(hedge).lower()}"
    return replaced("models.yaml", 'endpoint: "SMALL/v1"', new)


async def asks(gateway: Gateway, count: int) -> None:
    for n in range(count):
        got = await gateway.ask(f"question {n}", model="tier:S", temperature=1, stream=True)
        assert (got.status, text_of(got.body)) == (200, "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ")


def test_a_slow_request_is_sent_to_a_second_replica_and_the_first_to_begin_answers(tmp_path: Path) -> None:
    """One of thirty requests hangs for three quarters of a second where answers begin after a tenth: a second attempt
    hides it, the first is hung up on, both are in the record, and both prompts are paid for."""

    async def main() -> None:
        late = lambda seen: 0.75 if seen.nth % 30 == 29 else 0.1  # noqa: E731
        async with ScriptedUpstream(takes(late)) as one, ScriptedUpstream(takes(late)) as two:
            async with Gateway(tmp_path, None, None, replicas(one.url, two.url, hedge=True)) as gateway:
                await asks(gateway, 400)
                hedged = [row for row in gateway.records if len(row.attempts) > 1]
                assert len(hedged) >= 3
                assert len(hedged) <= 0.05 * 400
                for row in hedged:
                    outrun, quick = row.attempts  # whoever answers stands last
                    assert (outrun.reason, quick.outcome) == ("outrun", "success")
                    assert {outrun.why, quick.why} == {"first", "hedge"}
                    assert outrun.replica != quick.replica == row.replica
                    assert outrun.usage is not None
                    assert (outrun.usage.prompt, outrun.usage.completion) == (8, 0)
                hidden = [row for row in hedged if row.attempts[-1].why == "hedge"]
                assert len(hidden) >= 3
                assert all((row.ttft_ms or 1000) < 700 for row in hidden)
                assert one.hang_ups + two.hang_ups == len(hedged)
                spent = sum(row.cost.settled_nanousd or 0 for row in gateway.records)
                assert gateway.settled_nanousd() == spent

    run_virtual(main)


def test_nothing_is_sent_twice_where_it_is_not_declared(tmp_path: Path) -> None:
    """The same without `hedge`: every slow request is waited for."""

    async def main() -> None:
        late = lambda seen: 0.75 if seen.nth % 30 == 29 else 0.1  # noqa: E731
        async with ScriptedUpstream(takes(late)) as one, ScriptedUpstream(takes(late)) as two:
            async with Gateway(tmp_path, None, None, replicas(one.url, two.url, hedge=False)) as gateway:
                await asks(gateway, 100)
                assert all(len(row.attempts) == 1 for row in gateway.records)

    run_virtual(main)


def test_a_caller_who_hangs_up_stops_both(tmp_path: Path) -> None:
    """Both attempts run when the client goes: both upstreams see it, and nothing is held."""

    async def main() -> None:
        slow = False
        late = lambda seen: 50.0 if slow else 0.1  # noqa: E731
        async with ScriptedUpstream(takes(late)) as one, ScriptedUpstream(takes(late)) as two:
            async with Gateway(tmp_path, None, None, replicas(one.url, two.url, hedge=True)) as gateway:
                await asks(gateway, 100)
                before, slow = len(one.requests) + len(two.requests), True
                asking = asyncio.create_task(gateway.ask("x", model="tier:S", stream=True))
                while len(one.requests) + len(two.requests) < before + 2:
                    await asyncio.sleep(0.01)
                asking.cancel()
                await one.hung_up()
                await two.hung_up()
                await gateway.sink.reached(101)
                assert [row.reason for row in gateway.last.attempts] == ["cancelled", "cancelled"]

    run_virtual(main)


def test_replicas_that_go_while_they_are_asked_end_what_they_began(tmp_path: Path) -> None:
    """The workspace is loaded anew without them, in the middle of two attempts at one request: it is answered whole, by
    whoever begins first. The next one finds nobody, and nothing is held."""

    async def main() -> None:
        slow = False
        late = lambda seen: 0.9 if slow else 0.1  # noqa: E731
        async with ScriptedUpstream(takes(late)) as one, ScriptedUpstream(takes(late)) as two:
            async with Gateway(tmp_path, None, None, replicas(one.url, two.url, hedge=True)) as gateway:
                await asks(gateway, 100)
                before, slow = len(one.requests) + len(two.requests), True
                asking = asyncio.create_task(gateway.ask("x", model="tier:S", temperature=1, stream=True))
                while len(one.requests) + len(two.requests) < before + 2:
                    await asyncio.sleep(0.01)
                wiring.set_fleet(gateway.plane, {"small": (), "medium": ()})
                got = await asking
                assert (got.status, text_of(got.body)) == (200, "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ")
                assert [row.reason for row in gateway.last.attempts] == ["outrun", None]
                refused = await gateway.ask("y", model="tier:S", temperature=1)
                assert (refused.status, refused.json["error"]["code"]) == (503, "no_replica")
                assert gateway.plane.fleet.is_empty
                gateway.assert_nothing_held()

    run_virtual(main)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), max_size=400))
def test_hedges_are_a_twentieth_of_the_requests_and_a_fiftieth_of_the_spend(steps: list[tuple[bool, int]]) -> None:
    """At all times, not on average."""
    budget = HedgeBudget()
    requests = spend = hedges = hedged = 0
    for ended, nanousd in steps:
        if ended:
            budget.request(nanousd)
            requests, spend = requests + 1, spend + nanousd
        elif budget.take(nanousd // 10):
            hedges, hedged = hedges + 1, hedged + nanousd // 10
        assert hedges <= 0.05 * requests
        assert hedged <= 0.02 * spend


@pytest.mark.parametrize(("factor", "ejected"), [(1.0, False), (1.5, False), (6.0, True)])
def test_a_replica_that_is_slower_than_its_like_is_ejected(factor: float, ejected: bool, tmp_path: Path) -> None:
    """It answers, but takes six times as long as the other: beyond doubt after some answers, and it is left alone. One
    that is half as slow again is not."""

    async def main() -> None:
        slow = False
        slower = lambda seen: 0.05 * (factor if slow else 1.0)  # noqa: E731
        async with ScriptedUpstream(takes(slower)) as one, ScriptedUpstream(takes(lambda seen: 0.05)) as two:
            async with Gateway(tmp_path, None, None, replicas(one.url, two.url, hedge=False)) as gateway:

                async def pairs(count: int) -> set[str]:
                    states = set()
                    for n in range(count):
                        both = (gateway.ask(f"{n} {m}", model="tier:S", temperature=1, stream=True) for m in range(2))
                        assert [got.status for got in await asyncio.gather(*both)] == [200, 200]
                        states.add(gateway.plane.fleet.views()["small"][0].health)
                    return states

                assert await pairs(100) == {"well"}
                slow = True
                assert ("ejected" in await pairs(100)) == ejected
                assert gateway.plane.fleet.views()["small"][1].health == "well"

    run_virtual(main)

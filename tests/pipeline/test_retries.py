"""Replicas that fail: who is asked next, who is left alone, and how often anybody is asked at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from support.gateway import Gateway, replaced, text_of
from support.upstream import (
    EVENTS,
    Delay,
    Hang,
    Head,
    ScriptedUpstream,
    Seen,
    Step,
    chunk,
    failure,
    openai,
    sequence,
    stream,
    usage,
)
from trimtab.surfaces.twin import run_virtual

OK = stream(["ok"], usage(1, 1))
LIMITLESS = replaced("models.yaml", "slots: 4,", "slots: 64,")


def endpoints(*urls: str) -> Callable[[dict[str, str]], None]:
    """The small model on several endpoints."""
    told = ", ".join(f'"{url}/v1"' for url in urls)
    return replaced("models.yaml", 'endpoint: "SMALL/v1"', f"endpoint: [{told}]")


def whys(gateway: Gateway) -> list[tuple[str, str, str | None]]:
    return [(row.replica, row.why, row.reason) for row in gateway.last.attempts]


def test_a_fault_of_the_server_is_tried_once_more_there_after_a_moment(tmp_path: Path) -> None:
    """500, then healthy: the same replica answers; the record says why it was asked twice."""

    async def main() -> None:
        async with ScriptedUpstream(sequence(failure(500), OK)) as up, Gateway(tmp_path, up.url) as gateway:
            assert (await gateway.ask(model="tier:S")).status == 200
            assert whys(gateway) == [("small/0", "first", "http 500"), ("small/0", "again", None)]
            assert 100 <= gateway.last.attempts[1].start_ms - gateway.last.attempts[0].start_ms <= 150

    run_virtual(main)


def test_another_replica_is_better_than_the_same_one(tmp_path: Path) -> None:
    """With two replicas a 500 is left to the other at once."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: failure(500)) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, None, None, endpoints(one.url, two.url)) as gateway:
                assert (await gateway.ask(model="tier:S")).status == 200
                assert whys(gateway) == [("small/0", "first", "http 500"), ("small/1", "other replica", None)]
                assert gateway.last.attempts[1].start_ms == gateway.last.attempts[0].start_ms

    run_virtual(main)


def test_retry_after_is_honoured_and_waited_for_where_the_contract_has_the_time(tmp_path: Path) -> None:
    """429 with Retry-After: half a second is within the time to first token, so the same key is asked again at that
    time; seven are not: the next tier answers, and nobody asks the key before they have passed."""

    async def main() -> None:
        async with ScriptedUpstream(sequence(failure(429, headers=[("retry-after-ms", "500")]), OK)) as up:
            async with Gateway(tmp_path / "short", up.url) as gateway:
                assert (await gateway.ask(model="tier:S")).status == 200
                first, again = gateway.last.attempts
                assert again.start_ms - first.start_ms == pytest.approx(500, abs=1)
        busy = sequence(failure(429, headers=[("retry-after", "7")]), openai)
        async with ScriptedUpstream(busy) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "long", one.url, two.url) as gateway:
                loop = asyncio.get_running_loop()
                since = loop.time()
                while gateway.records == [] or gateway.last.tier == "M":
                    assert (await gateway.ask(temperature=1)).status == 200
                    await asyncio.sleep(0.5)
                assert 7 <= loop.time() - since <= 8
                assert len(one.requests) == 2

    run_virtual(main)


def test_a_key_over_its_rate_is_told_to_callers_where_nobody_else_is_there(tmp_path: Path) -> None:
    """One replica that wants to be left alone for longer than the deadline: nobody asks it, and the caller is told."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: failure(429, headers=[("retry-after", "60")])) as up:
            async with Gateway(tmp_path, up.url) as gateway:
                first = await gateway.ask(model="tier:S")
                assert (first.status, first.headers["retry-after"]) == (502, "60")
                await asyncio.sleep(20)
                second = await gateway.ask(model="tier:S")
                assert (second.status, second.json["error"]["code"]) == (503, "no_replica")
                assert 39 <= int(second.headers["retry-after"]) <= 40
                assert len(up.requests) == 1

    run_virtual(main)


def test_several_keys_of_one_provider_are_spread_and_rest_alone(tmp_path: Path) -> None:
    """Requests go to both keys; the one that is over its rate is left alone, the other goes on; a key that the
    provider does not take is ejected at once, and never seen by a caller."""
    (tmp_path / "a.key").write_text("sk-a")
    (tmp_path / "b.key").write_text("sk-b")
    keys = replaced(
        "models.yaml", 'slots: 4, api_key: "file:upstream.key"', 'slots: 4, api_key: ["file:a.key", "file:b.key"]'
    )

    def by_key(a: list[Step] | None) -> Callable[[Seen], Iterable[Step]]:
        return lambda seen: a if a is not None and seen.headers["authorization"] == "Bearer sk-a" else openai(seen)

    def asked(up: ScriptedUpstream) -> list[str]:
        return [seen.headers["authorization"][-1] for seen in up.requests]

    async def main() -> None:
        async with ScriptedUpstream(by_key(None)) as up, Gateway(tmp_path, up.url, None, keys) as gateway:
            await asyncio.gather(*(gateway.ask(f"{n}", model="tier:S") for n in range(6)))
            assert sorted(asked(up)) == ["a"] * 3 + ["b"] * 3
            assert {row.attempts[0].replica for row in gateway.records} == {"small/0#0", "small/0#1"}
        over = failure(429, headers=[("retry-after", "30")])
        async with ScriptedUpstream(by_key(over)) as up, Gateway(tmp_path, up.url, None, keys) as gateway:
            for n in range(5):
                assert (await gateway.ask(f"{n}", model="tier:S")).status == 200
            assert asked(up) == ["a", "b", "b", "b", "b", "b"]
        async with ScriptedUpstream(by_key(failure(401))) as up, Gateway(tmp_path, up.url, None, keys) as gateway:
            for n in range(5):
                assert (await gateway.ask(f"{n}", model="tier:S")).status == 200
            assert asked(up) == ["a", "b", "b", "b", "b", "b"]

    run_virtual(main)


def test_a_replica_that_fails_is_ejected_tried_again_and_comes_back_slowly(tmp_path: Path) -> None:
    """Five failures in a row: it is left alone for two seconds; then one request is a trial, and fails; after four
    more one succeeds, and the replica gets its share back little by little."""

    async def main() -> None:
        ill = True
        script = lambda seen: failure(500) if ill else openai(seen)  # noqa: E731
        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, None, None, endpoints(one.url, two.url), LIMITLESS) as gateway:

                async def asks(count: int) -> int:
                    """How many of them were sent to the ill one."""
                    before = len(one.requests)
                    answers = [await gateway.ask(f"{n}", model="tier:S", temperature=1) for n in range(count)]
                    assert [got.status for got in answers] == [200] * count
                    return len(one.requests) - before

                def state() -> str:
                    return str(gateway.plane.fleet.views()["small"][0].health)

                assert (await asks(20), state()) == (5, "ejected")
                assert gateway.plane.gates.views()["small"].slots == 64, "its slots are gone with it"
                await asyncio.sleep(2)
                assert state() == "half-open"
                assert (await asks(20), state()) == (1, "ejected")
                await asyncio.sleep(4)
                ill = False
                assert (await asks(1), state()) == (1, "slow")
                assert gateway.plane.gates.views()["small"].slots == 128
                # side by side: weight 0.1 of a replica that has just come back
                before = len(one.requests)
                await asyncio.gather(*(gateway.ask(f"s{n}", model="tier:S", temperature=1) for n in range(22)))
                assert 1 <= len(one.requests) - before <= 3
                await asyncio.sleep(10)
                assert state() == "well"
                before = len(one.requests)
                await asyncio.gather(*(gateway.ask(f"w{n}", model="tier:S", temperature=1) for n in range(20)))
                assert len(one.requests) - before == 10

    run_virtual(main)


def test_a_trial_whose_caller_hangs_up_is_over(tmp_path: Path) -> None:
    """A half-open replica takes one request at a time; one that nobody waits for any more must not keep it shut."""

    async def main() -> None:
        scripts = sequence(*[failure(401)], [Head(200, (EVENTS,)), Hang()], openai)
        async with ScriptedUpstream(scripts) as up, Gateway(tmp_path, up.url) as gateway:
            assert (await gateway.ask(model="tier:S")).status == 502
            await asyncio.sleep(3)
            trial = asyncio.create_task(gateway.ask("a", model="tier:S"))
            await up.asked(2)
            trial.cancel()
            await up.hung_up()
            assert gateway.plane.fleet.views()["small"][0].health == "half-open"
            assert (await gateway.ask("b", model="tier:S")).status == 200

    run_virtual(main)


def test_when_all_are_ejected_they_are_asked_as_a_last_resort(tmp_path: Path) -> None:
    """Nobody else could answer: an ejected replica is better than a refusal; where another plan could, it is not."""

    async def main() -> None:
        scripts = sequence(failure(401), openai)
        async with ScriptedUpstream(scripts) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                assert (await gateway.ask("a")).headers["trimtab-tier"] == "M"
                assert (await gateway.ask("b")).headers["trimtab-tier"] == "M"
                assert [row.replica for row in gateway.last.attempts] == ["medium/0"], "not even asked"
                assert gateway.last.plans[0].outcome == "nobody of its model was well"
                assert (await gateway.ask("c", model="tier:S")).status == 200

    run_virtual(main)


def test_a_slow_first_token_is_left_to_the_next_plan(tmp_path: Path) -> None:
    """The contract's time to first token passes in silence: the next tier is asked; without one it is waited for."""
    late = [Head(200, (EVENTS,)), Delay(2), *OK[1:]]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: late) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                assert (await gateway.ask("one two", stream=True)).status == 200
                assert whys(gateway) == [
                    ("small/0", "first", "no content in time"),
                    ("medium/0", "next plan", None),
                ]
                assert gateway.last.attempts[1].start_ms == pytest.approx(1000, abs=1)
                await one.hung_up()
                alone = await gateway.ask("one", model="tier:S", stream=True)
                assert (alone.status, text_of(alone.body)) == (200, "ok")

    run_virtual(main)


def test_whoever_stands_in_is_let_in_though_it_is_late_by_then(tmp_path: Path) -> None:
    """The time to first token has passed in waiting for the first model: the next one's gate, which knows its pace and
    could not keep it any more, neither refuses nor keeps the request waiting for a room that is not short."""

    async def main() -> None:
        quick = [
            Head(200, (EVENTS,)),
            Delay(0.05),
            *stream([f"w{n}" for n in range(10)], usage(3, 10), delay_s=0.01)[1:],
        ]
        async with ScriptedUpstream(lambda _: [Hang()]) as one, ScriptedUpstream(lambda _: quick) as two:
            wait = replaced("tenants/shop.yaml", "  web:\n", "  web:\n    on_miss: wait\n")
            async with Gateway(tmp_path, one.url, two.url, wait) as gateway:
                for n in range(60):
                    assert (await gateway.ask(f"{n}", model="tier:M", stream=True)).status == 200
                assert gateway.last.predicted, "the pace is known"
                for n in range(2):  # the first may be let in to see whether it could be kept after all
                    got = await gateway.ask(f"late {n}", stream=True)
                    assert (got.status, gateway.last.tier) == (200, "M")
                    assert gateway.last.ttft_ms == pytest.approx(1050, abs=20)

    run_virtual(main)


def test_a_slow_answer_is_not_given_up_where_no_other_can_be_paid_for(tmp_path: Path) -> None:
    """With the retry budget spent the attempt that runs goes on."""
    late = [Head(200, (EVENTS,)), Delay(2), *OK[1:]]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: late) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                while gateway.plane.retries.take():
                    pass
                # a budget that fills by 8 a second would have paid after all
                gateway.plane.retries._clock = type("Stopped", (), {"now_ns": lambda self: 0})()  # type: ignore[assignment]
                got = await gateway.ask("one two", stream=True)
                assert (got.status, text_of(got.body)) == (200, "ok")
                assert whys(gateway) == [("small/0", "first", None)]

    run_virtual(main)


def test_a_model_that_is_named_has_the_stand_ins_that_are_declared(tmp_path: Path) -> None:
    """A caller who names a model gets its fallback where that can't answer, under the fallback's name; without one an
    error. What a stand-in said is not kept for the one that was named."""
    then = replaced("models.yaml", "slots: 4,", "slots: 4, fallbacks: [medium],")

    async def main() -> None:
        async with ScriptedUpstream(sequence(failure(503), failure(503), openai)) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "with", one.url, two.url, then) as gateway:
                got = await gateway.ask("one", model="tier:S")
                assert (got.status, got.json["model"]) == (200, "medium-plain")
                assert [(row.variant.partition("@")[0], row.outcome) for row in gateway.last.plans] == [
                    ("small-plain", "http 503"),
                    ("medium-plain", "taken"),
                ]
                again = await gateway.ask("one", model="tier:S")
                assert (again.json["model"], gateway.last.path) == ("small-plain", "direct")
                assert (await gateway.ask("one", model="tier:M")).json["model"] == "medium-plain"
        async with ScriptedUpstream(lambda _: failure(503)) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "without", one.url, two.url) as gateway:
                assert (await gateway.ask("one", model="tier:S")).status == 502

    run_virtual(main)


def test_everything_fails_and_the_providers_are_not_hammered(tmp_path: Path) -> None:
    """Two tiers that answer 503, 300 requests within 10 s: attempts <= 1.2 x requests + 100 over any 10 s."""

    async def main() -> None:
        never = [replaced("models.yaml", f"slots: {n},", "slots: 16, health: {failures: 99999},") for n in (4, 2)]
        at: list[float] = []

        def script(seen: Seen) -> Iterable[Step]:
            at.append(asyncio.get_running_loop().time())
            return failure(503)

        async with ScriptedUpstream(script) as one, ScriptedUpstream(script) as two:
            async with Gateway(tmp_path, one.url, two.url, *never) as gateway:
                asks = []
                for n in range(600):
                    asks.append(asyncio.create_task(gateway.ask(f"{n}", temperature=1)))
                    await asyncio.sleep(1 / 30)
                assert {(await ask).status for ask in asks} == {502}
        assert len(at) > 660, "some were tried again"
        for start in at:
            assert sum(start <= one <= start + 10 for one in at) <= 1.2 * 301 + 100

    run_virtual(main)


def test_a_silent_server_is_not_asked_twice(tmp_path: Path) -> None:
    """Retrying a silent route only multiplies the wait."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: [Hang()]) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                assert (await gateway.ask("one", stream=True)).status == 200
                assert len(one.requests) == 1

    run_virtual(main)


def test_a_stall_is_left_to_another_where_nothing_has_left(tmp_path: Path) -> None:
    """Held back, or not streamed: an answer that stops for fifty of the contract's times between tokens begins anew
    elsewhere. Live: it is waited for, since nobody could go on with it."""
    stalls = [Head(200, (EVENTS,)), chunk({"content": "He"}), Delay(11), chunk({"content": "llo"}, "stop")]
    hold = replaced("tenants/shop.yaml", "  web:\n", "  web:\n    resume: hold\n")
    patient = replaced("tenants/shop.yaml", "e2e_ms: 4000", "e2e_ms: 14000")

    async def main() -> None:
        async with ScriptedUpstream(lambda _: stalls) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "held", one.url, two.url, hold, patient) as gateway:
                got = await gateway.ask("one two", stream=True)
                assert text_of(got.body) == "echo one two"
                assert whys(gateway) == [("small/0", "first", "stalled"), ("medium/0", "next plan", None)]
            async with Gateway(tmp_path / "live", one.url, two.url, patient) as gateway:
                got = await gateway.ask("one two", stream=True)
                assert (got.whole, text_of(got.body)) == (True, "Hello")
                got = await gateway.ask("one three")
                assert got.json["choices"][0]["message"]["content"] == "echo one three"
                assert whys(gateway) == [("small/0", "first", "stalled"), ("medium/0", "next plan", None)]
            async with Gateway(tmp_path / "alone", one.url, None, patient) as gateway:
                got = await gateway.ask("one two", model="tier:S")
                assert got.json["choices"][0]["message"]["content"] == "Hello", "nobody else could be asked"

    run_virtual(main)

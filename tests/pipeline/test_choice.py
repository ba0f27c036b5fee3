"""Two replicas of a model: a conversation goes where its prompt is held, and the record says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from support.gateway import OTHER_KEY, Gateway, chat, replaced
from support.rawhttp import RawClient
from support.upstream import Delay, Pause, ScriptedUpstream, Seen, Step, failure, openai, stream, usage, words
from trimtab.core.record import Record
from trimtab.dataplane import wiring
from trimtab.dataplane.inference import Origin, Replica
from trimtab.surfaces.twin import run_virtual

TWO = replaced("models.yaml", '"SMALL/v1"', '["SMALL/v1", "MEDIUM/v1"]')
PATIENT = (
    replaced(
        "tenants/shop.yaml", "{ttft_ms: 1000, itl_ms: 200, e2e_ms: 4000}", "{ttft_ms: 9000, itl_ms: 200, e2e_ms: 60000}"
    ),
    replaced("tenants/shop.yaml", "{latency: {e2e_ms: 2000}}", "{latency: {e2e_ms: 20000}}"),
)
BUSY = "keep this one busy"
Script = Callable[[Seen], Iterable[Step]]


def turns(count: int) -> list[dict[str, Any]]:
    """A conversation of so many turns of its user, about 2 KB each."""
    said: list[dict[str, Any]] = []
    for number in range(count):
        if number:
            said.append({"role": "assistant", "content": f"answer {number} " + "well " * 20})
        said.append({"role": "user", "content": f"question {number} " + "please " * 250})
    return said


async def ask(gateway: Gateway, content: str | list[dict[str, Any]], **fields: Any) -> Record:
    """What the record of a request says; nothing of it is answered from the cache."""
    async with RawClient(gateway.port) as client:
        client.send(chat(content, temperature=1, **fields))
        assert (await client.answer()).status == 200
    return gateway.last


async def begin_on_the_second(gateway: Gateway, until: asyncio.Event) -> Record:
    """The first turn of a conversation, while somebody else keeps the first replica busy."""
    async with RawClient(gateway.port) as client:
        client.send(chat(BUSY, stream=True, temperature=1))
        while not any(view.running for view in gateway.plane.fleet.views()["small"]):
            await asyncio.sleep(0.001)
        first = await ask(gateway, turns(1))
        until.set()
        await client.answer()
    return first


def held_up(until: asyncio.Event) -> Script:
    def script(seen: Seen) -> Iterable[Step]:
        if seen.json["messages"][-1]["content"] == BUSY:
            return [*stream(["one"])[:3], Pause(until), *stream(["two"])[3:]]
        return openai(seen)

    return script


def test_the_second_turn_goes_where_the_first_was(tmp_path: Path) -> None:
    """Though the other replica is idle as well, and comes first. Another tenant's equal prompt finds nothing there: it
    goes where it would have gone had nobody asked before."""

    async def main() -> None:
        until = asyncio.Event()
        async with ScriptedUpstream(held_up(until)) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, TWO) as gateway:
                first = await begin_on_the_second(gateway, until)
                assert (first.replica, first.admissions[-1].held) == ("small/1", 0)
                second = await ask(gateway, turns(2))
                assert (second.replica, second.admissions[-1].replica) == ("small/1", "small/1")
                assert second.admissions[-1].held == pytest.approx(0.5, abs=0.1)
                third = await ask(gateway, turns(3))
                assert third.replica == "small/1"
                assert third.admissions[-1].held == pytest.approx(2 / 3, abs=0.1)
                other = await ask(gateway, turns(3), key=OTHER_KEY)
                assert (other.tenant, other.replica, other.admissions[-1].held) == ("other", "small/0", 0)

    run_virtual(main)


def test_what_an_engine_says_it_held_corrects_what_is_believed(tmp_path: Path) -> None:
    """It keeps no prefixes: soon nothing is believed of it."""

    def forgetful(seen: Seen) -> Iterable[Step]:
        prompt = sum(words(message["content"]) for message in seen.json["messages"])
        return stream(["yes"], usage(prompt, 1, cached=0))

    async def main() -> None:
        async with ScriptedUpstream(forgetful) as one, ScriptedUpstream(forgetful) as two:
            async with Gateway(tmp_path, one.url, two.url, TWO) as gateway:
                held = [(await ask(gateway, turns(2))).admissions[-1].held or 0.0 for _ in range(30)]
                assert held[0] == 0
                assert held[1] == pytest.approx(1, abs=0.1)
                assert held[-1] < 0.1
                assert held[1:] == sorted(held[1:], reverse=True)

    run_virtual(main)


def test_a_prompt_that_another_replica_took_is_held_there(tmp_path: Path) -> None:
    """The first one refuses: the second answers, and is asked first from then on, though the first rests no more."""

    def refuses_once(seen: Seen) -> Iterable[Step]:
        return failure(503, "busy", headers=[("retry-after", "1")]) if seen.nth == 0 else openai(seen)

    async def main() -> None:
        async with ScriptedUpstream(refuses_once) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, TWO) as gateway:
                first = await ask(gateway, turns(1))
                assert [attempt.replica for attempt in first.attempts] == ["small/0", "small/1"]
                resting = await ask(gateway, "a short one")
                assert [attempt.replica for attempt in resting.attempts] == ["small/1"]
                assert resting.admissions[-1].replica == "small/1"
                await asyncio.sleep(2)
                second = await ask(gateway, turns(2))
                assert [attempt.replica for attempt in second.attempts] == ["small/1"]
                assert (await ask(gateway, "a short one")).replica == "small/0"

    run_virtual(main)


def test_a_request_that_another_replica_took_counts_there(tmp_path: Path) -> None:
    """The first refused it, and rests no more; the second is still writing: the next one goes to the first."""

    async def main() -> None:
        until = asyncio.Event()

        def refuses_once(seen: Seen) -> Iterable[Step]:
            return failure(503, "busy", headers=[("retry-after", "1")]) if seen.nth == 0 else openai(seen)

        async with ScriptedUpstream(refuses_once) as one, ScriptedUpstream(held_up(until)) as two:
            async with Gateway(tmp_path, one.url, two.url, TWO) as gateway, RawClient(gateway.port) as client:
                client.send(chat(BUSY, stream=True, temperature=1))
                await asyncio.sleep(2)
                assert (await ask(gateway, "a short one")).replica == "small/0"
                until.set()
                await client.answer()
                assert gateway.last.replica == "small/1"

    run_virtual(main)


def test_a_replica_that_was_started_again_holds_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        until = asyncio.Event()
        async with ScriptedUpstream(held_up(until)) as one, ScriptedUpstream() as two, ScriptedUpstream() as again:
            async with Gateway(tmp_path, one.url, two.url, TWO) as gateway:
                await begin_on_the_second(gateway, until)
                path = "/v1/chat/completions"
                urls = (one.url, again.url)
                wiring.set_fleet(
                    gateway.plane,
                    {
                        "small": [
                            Replica(
                                id=f"small/{number}", model="small", origin=Origin.parse(url, private=True), path=path
                            )
                            for number, url in enumerate(urls)
                        ]
                    },
                )
                second = await ask(gateway, turns(2))
                assert (second.replica, second.admissions[-1].held) == ("small/0", 0)

    run_virtual(main)


def test_what_is_foreseen_of_a_held_prompt_is_sooner(tmp_path: Path) -> None:
    """Two upstreams that take 1 ms for a word of what they do not hold: once they are known, the record says what the
    replica costs, and the other, and how much of the prompt is held."""

    def pod() -> Script:
        seen_by: set[str] = set()

        def script(seen: Seen) -> Iterable[Step]:
            texts = [message["content"] for message in seen.json["messages"]]
            count = sum(map(words, texts))
            fresh = sum(words(text) for text in texts if text not in seen_by)
            seen_by.update(texts)
            yield Delay(fresh / 1000)
            yield from stream([f"w{at} " for at in range(30)], usage(count, 30, cached=count - fresh), delay_s=0.02)

        return script

    async def main() -> None:
        async with ScriptedUpstream(pod()) as one, ScriptedUpstream(pod()) as two:
            async with Gateway(tmp_path, one.url, two.url, TWO, *PATIENT) as gateway:
                for number in range(60):
                    await ask(gateway, f"{number} " + f"number{number} " * (20 + 7 * (number % 40)), stream=True)
                await ask(gateway, turns(2), stream=True)
                row = (await ask(gateway, turns(3), stream=True)).admissions[-1]
                predicted = gateway.last.predicted
                assert row.held == pytest.approx(2 / 3, abs=0.1)
                assert row.replica_ms is not None
                assert row.next_ms is not None
                assert row.replica_ms < 0.7 * row.next_ms
                assert predicted["prefix_cache_score"] == pytest.approx(row.held)

    run_virtual(main)


def test_with_one_replica_nothing_is_chosen(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            row = (await ask(gateway, turns(2))).admissions[-1]
            assert (row.replica, row.held, row.replica_ms, row.next_ms) == (None, None, None, None)

    run_virtual(main)

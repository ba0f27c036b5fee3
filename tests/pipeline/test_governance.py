"""Contract, policy, guards, limits and money, as a caller and the record see them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.gateway import KEY, OTHER_KEY, Gateway, chat, events, replaced, text_of
from support.rawhttp import RawClient
from support.upstream import EVENTS, Head, Pause, ScriptedUpstream, Seen, Sse, Step, chunk, openai, stream, usage
from trimtab.surfaces.twin import run_virtual

TIGHT = "trimtab-latency-ms: 500"


def test_the_contract_is_the_stricter_of_declared_and_asked(tmp_path: Path) -> None:
    """A tighter term holds, a looser one changes nothing; both are in the record, and the deadline scales."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("a", "trimtab-latency-ms: 1000", "trimtab-max-cost-usd: 0.01", "trimtab-priority: batch")
            tight = gateway.last.contract
            await gateway.ask("b", "trimtab-latency-ms: 99999", "trimtab-max-cost-usd: 5", "trimtab-priority: critical")
            loose = gateway.last.contract
            await gateway.ask("c")
            declared = gateway.last.contract
            assert tight is not None
            assert loose is not None
            assert declared is not None
            assert (tight.latency.e2e_ms, tight.latency.ttft_ms, tight.latency.deadline_ms) == (1000, 1000, 3000)
            assert tight.cost.max_per_request_nanousd == 10_000_000
            assert tight.priority == "batch"
            assert loose == declared
            assert loose.hash == declared.hash != tight.hash
            assert gateway.records[1].asked is not None
            assert gateway.records[1].asked.latency_ms == 99999

    run_virtual(main)


def test_terms_may_come_by_header_body_or_metadata(tmp_path: Path) -> None:
    """The same contract three ways, and none of the words reaches the upstream."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("a", TIGHT, temperature=1)
            await gateway.ask("a", trimtab={"latency_ms": 500}, temperature=1)
            await gateway.ask("a", metadata={"trimtab-latency-ms": "500", "mine": "1"}, temperature=1)
            hashes = {record.contract.hash for record in gateway.records if record.contract}
            assert len(hashes) == 1
            for seen in up.requests:
                assert b"latency" not in seen.body
            assert up.requests[-1].json["metadata"] == {"mine": "1"}

    run_virtual(main)


def test_a_persona_has_its_own_targets(tmp_path: Path) -> None:
    """Declared for the channel, asked for by header."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("a", "trimtab-persona: vip")
            assert gateway.last.contract is not None
            assert (gateway.last.persona, gateway.last.contract.latency.e2e_ms) == ("vip", 2000)

    run_virtual(main)


def test_a_pin_an_alias_and_auto(tmp_path: Path) -> None:
    """A pinned tier answers alone; an alias stands for what it says."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            for model, tier in (("tier:M", "M"), ("medium-plain", "M"), ("gpt-4o-mini", "S"), ("gpt-4o", "S")):
                got = await gateway.ask(model=model, temperature=1)
                assert (got.status, got.headers["trimtab-tier"]) == (200, tier)

    run_virtual(main)


def test_a_callers_cap_in_tokens_reaches_the_upstream_and_never_grows(tmp_path: Path) -> None:
    """Less than the variant's cap is taken, more is not; by the name that the caller used."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("a b c d", max_tokens=2)
            await gateway.ask("a b c d e", max_completion_tokens=9999)
            assert up.requests[0].json["max_tokens"] == 2
            assert up.requests[1].json["max_completion_tokens"] == 200
            assert "max_tokens" not in up.requests[1].json

    run_virtual(main)


def test_unknown_fields_reach_the_upstream_unchanged_and_unknown_answers_come_back(tmp_path: Path) -> None:
    """What we have never heard of is not ours to drop."""

    async def main() -> None:
        steps = [
            Head(200, (EVENTS,)),
            Sse({"choices": [{"index": 0, "delta": {"content": "x", "mood": "fine"}}], "weather": "rain"}),
            chunk({}, "stop"),
            Sse("[DONE]"),
        ]
        async with ScriptedUpstream(lambda _: steps) as up, Gateway(tmp_path, up.url) as gateway:
            got = await gateway.ask("a", reasoning_effort="low", x_mine={"a": [1, None]}, temperature=1)
            sent = up.requests[0].json
            assert (sent["reasoning_effort"], sent["x_mine"]) == ("low", {"a": [1, None]})
            assert got.json["weather"] == "rain"
            assert got.json["choices"][0]["message"]["mood"] == "fine"

    run_virtual(main)


# --- guards


def test_an_address_reaches_nobody_and_comes_back_to_its_owner(tmp_path: Path) -> None:
    """The upstream, the cache and the record see a placeholder; the caller's answer has the address again."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for streamed in (False, True):
                got = await gateway.ask("write to ann@shop.example please", stream=streamed, user="ann@shop.example")
                text = text_of(got.body) if streamed else got.json["choices"][0]["message"]["content"]
                assert text == "echo write to ann@shop.example please"
            other = await gateway.ask("write to bob@shop.example please")
            assert other.json["choices"][0]["message"]["content"] == "echo write to bob@shop.example please"
            assert gateway.last.path == "direct"  # another address is another question
            assert all(b"@shop.example" not in seen.body for seen in up.requests)
            assert "<EMAIL_1>" in up.requests[0].json["messages"][1]["content"]
            import msgspec

            assert b"shop.example" not in msgspec.json.encode(gateway.records)

    run_virtual(main)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_denied_text_never_leaves(streamed: bool, tmp_path: Path) -> None:
    """Across chunk borders, in any case; a template ends the answer, the upstream is hung up on, no cache keeps it."""

    async def main() -> None:
        steps = stream(["The SEC", "RET", "  sau", "ce is tomato", " and more"], usage(3, 5))
        async with ScriptedUpstream(lambda _: steps) as up, Gateway(tmp_path, up.url) as gateway:
            for _ in range(2):
                got = await gateway.ask("what is it", stream=streamed)
                assert got.status == 200
                text = text_of(got.body) if streamed else got.json["choices"][0]["message"]["content"]
                assert text == ("The I can't help with that." if streamed else "I can't help with that.")
                assert b"tomato" not in got.body
                record = gateway.last
                assert (record.finish_reason, record.rule) == ("content_filter", "unsafe-answer-is-replaced")
                assert next((row.check, row.hits) for row in record.guards if row.stage == "out") == ("deny", 1)
                assert record.cost.settled_nanousd
            assert len(up.requests) == 2

    run_virtual(main)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_denied_text_beside_the_choices_never_leaves(streamed: bool, tmp_path: Path) -> None:
    """A field that we have never heard of is text like any other."""

    async def main() -> None:
        first, *rest = [step for step in stream(["fine"], usage(3, 5)) if isinstance(step, Sse)]
        assert isinstance(first.data, dict)
        noted = Sse({**first.data, "note": {"deep": ["the secret sauce is tomato"]}})
        steps: list[Step] = [Head(200, (EVENTS,)), noted, *rest]
        async with ScriptedUpstream(lambda _: steps) as up, Gateway(tmp_path, up.url) as gateway:
            got = await gateway.ask("what is it", stream=streamed)
            assert b"tomato" not in got.body
            assert gateway.last.rule == "unsafe-answer-is-replaced"

    run_virtual(main)


# --- policy


def test_a_tight_latency_prefers_the_small_tier_and_says_why(tmp_path: Path) -> None:
    """Rule 2 is in the trace with the value that decided."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            await gateway.ask("a", TIGHT)
            rule = next(rule for rule in gateway.last.rules if rule.id == "tight-latency-goes-direct")
            assert (rule.hit, rule.values) == (True, {"latency_e2e_ms": 500.0})

    run_virtual(main)


@pytest.mark.parametrize(
    ("question", "paths"),
    [
        ("What is the capital of France?", ["direct", "cache-exact"]),
        ("My lawyer will sue you for this.", ["direct", "direct"]),
        ("", ["direct", "direct"]),
    ],
    ids=["simple and harmless", "risky", "unknown"],
)
def test_only_what_is_known_to_be_simple_and_harmless_may_be_answered_again(
    question: str, paths: list[str], tmp_path: Path
) -> None:
    """Rule 1: the classifier's features decide; what nobody knows is not taken for harmless. The trace has them."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for _ in range(2):
                await gateway.ask(question, "trimtab-channel: fresh", temperature=0)
            assert [record.path for record in gateway.records] == paths
            rule = next(rule for rule in gateway.last.rules if rule.id == "hard-or-risky-asks-afresh")
            assert rule.hit == (paths[1] == "direct")
            assert {"complexity", "risk"} <= rule.values.keys()

    run_virtual(main)


def test_a_name_that_means_the_same_finds_the_same_stored_answer(tmp_path: Path) -> None:
    """No model, `auto`, and an alias of it; a pinned tier is another question."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for named in ({}, {"model": "auto"}, {"model": "gpt-4o"}, {"model": "tier:S"}):
                assert (await gateway.ask("What is the capital of France?", temperature=0, **named)).status == 200
            assert [record.path for record in gateway.records] == ["direct", "cache-exact", "cache-exact", "direct"]

    run_virtual(main)


def test_a_channel_may_take_its_unclassified_questions_for_harmless(tmp_path: Path) -> None:
    """`unclassified: allow` opens the cache where nobody knows, and only there."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for question in ("", "", "My lawyer will sue you.", "My lawyer will sue you."):
                await gateway.ask(question, temperature=0)
            assert [record.path for record in gateway.records] == ["direct", "cache-exact", "direct", "direct"]

    run_virtual(main)


def test_a_conversation_dearer_than_its_cap_loses_its_oldest_turns(tmp_path: Path) -> None:
    """Rule 3: system text and last turn stay, the degradation is in the plan, the cap holds."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
    for number in range(10):
        turns += [{"role": "user", "content": f"q{number} " + "x" * 1000}, {"role": "assistant", "content": "y" * 1000}]
    turns.append({"role": "user", "content": "the last one"})

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, None) as gateway:
            got = await gateway.ask(turns, "trimtab-max-cost-usd: 0.008")
            assert got.status == 200
            sent = up.requests[0].json["messages"]
            assert sent[1] == {"role": "system", "content": "Be kind."}
            assert sent[2]["role"] == "user"
            assert sent[-1]["content"] == "the last one"
            assert 3 < len(sent) < 20
            assert gateway.last.plans[0].degradations == ["window"]
            reserved = gateway.last.cost.reserved_nanousd
            assert reserved is not None
            assert reserved <= 8_000_000

    run_virtual(main)


def held(seen: Seen, gate: asyncio.Event) -> list[Step]:
    """An answer that waits for the test's word."""
    return [Head(200, (EVENTS,)), chunk({"content": "x"}), Pause(gate), chunk({}, "stop"), Sse("[DONE]")]


def test_a_full_tier_waits_and_then_the_next_tier_answers(tmp_path: Path) -> None:
    """Rule 4: four slots of S run; the fifth request waits as long as its first token may take, which is less than the
    rule has it, and goes to M; the sixth gets a freed slot."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                loop = asyncio.get_running_loop()
                running = [asyncio.create_task(gateway.ask(f"n{i}", temperature=1)) for i in range(4)]
                await one.asked(4)
                began = loop.time()
                assert (await gateway.ask("fifth", temperature=1)).headers["trimtab-tier"] == "M"
                assert loop.time() - began == pytest.approx(1.0, abs=0.05)
                record = gateway.last
                assert record.plans[0].outcome == "queue full"
                assert record.stages["admit"][1] == pytest.approx(1000, abs=50)
                rule = next(rule for rule in record.rules if rule.id == "full-tier-waits-then-reroutes")
                assert (rule.hit, rule.values) == (True, {"tier_free": 0})
                sixth = asyncio.create_task(gateway.ask("sixth", temperature=1))
                while gateway.plane.gates.views()["small"].waiting == 0:
                    await asyncio.sleep(0)
                gate.set()
                assert (await sixth).headers["trimtab-tier"] == "S"
                for got in await asyncio.gather(*running):
                    assert got.status == 200

    run_virtual(main)


def test_when_every_tier_is_full_the_refusal_says_when_to_come_back(tmp_path: Path) -> None:
    """429 queue_full with Retry-After; nobody waits for ever."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as up:
            async with Gateway(tmp_path, up.url, up.url) as gateway:
                running = [asyncio.create_task(gateway.ask(f"n{i}", model="tier:S", temperature=1)) for i in range(4)]
                running += [asyncio.create_task(gateway.ask(f"n{i}", model="tier:M", temperature=1)) for i in range(2)]
                await up.asked(6)
                got = await gateway.ask("one more", temperature=1)
                assert (got.status, got.json["error"]["code"]) == (429, "queue_full")
                assert int(got.headers["retry-after"]) >= 1
                gate.set()
                await asyncio.gather(*running)

    run_virtual(main)


def test_more_urgent_classes_go_first(tmp_path: Path) -> None:
    """Of those who wait for the same tier, an interactive request overtakes a batch one that came before it."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as up:
            async with Gateway(tmp_path, up.url) as gateway:
                running = [asyncio.create_task(gateway.ask(f"n{i}", model="tier:S", temperature=1)) for i in range(4)]
                await up.asked(4)
                order: list[str] = []

                async def later(name: str, *headers: str) -> None:
                    await gateway.ask(name, *headers, model="tier:S", temperature=1)

                waiting = []
                for name, headers in (("batch", ["trimtab-priority: batch"]), ("now", [])):
                    waiting.append(asyncio.create_task(later(name, *headers)))
                    while gateway.plane.gates.views()["small"].waiting < len(waiting):
                        await asyncio.sleep(0)
                gate.set()
                await asyncio.gather(*running, *waiting)
                order = [seen.json["messages"][-1]["content"] for seen in up.requests[4:]]
                assert order == ["now", "batch"]

    run_virtual(main)


def test_tenants_of_a_class_take_turns(tmp_path: Path) -> None:
    """Who fills the queue keeps nobody else waiting: the other tenant's request came last of 20 and is served next."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as up:
            async with Gateway(tmp_path, up.url) as gateway:

                async def ask(name: str, key: str) -> None:
                    model = "tier:S" if key == KEY else "auto"
                    async with RawClient(gateway.port) as client:
                        client.send(chat(name, "trimtab-priority: batch", key=key, model=model, temperature=1))
                        assert (await client.answer()).status == 200

                asked = [asyncio.create_task(ask(f"flood {at}", KEY)) for at in range(24)]
                await up.asked(4)
                while gateway.plane.gates.views()["small"].waiting < 20:
                    await asyncio.sleep(0)
                asked.append(asyncio.create_task(ask("other", OTHER_KEY)))
                while gateway.plane.gates.views()["small"].waiting < 21:
                    await asyncio.sleep(0)
                gate.set()
                await asyncio.gather(*asked)
                order = [seen.json["messages"][-1]["content"] for seen in up.requests[4:]]
                assert order[0] == "other"
                gateway.assert_nothing_held()

    run_virtual(main)


# --- limits and money


def test_a_rate_is_refused_with_the_time_at_which_it_will_not_be(tmp_path: Path) -> None:
    """Two at once, then one a second: the told time is the first at which it works."""

    async def main() -> None:
        edit = replaced("tenants/shop.yaml", "requests: {per_s: 1000, burst: 1000}", "requests: {per_s: 1, burst: 2}")
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, None, edit) as gateway:
            assert [(await gateway.ask(str(i))).status for i in range(3)] == [200, 200, 429]
            got = await gateway.ask("x")
            assert got.json["error"]["code"] == "rate_limited"
            assert got.json["error"]["trimtab"]["rule"] == "tenant shop requests"
            wait_s = int(got.headers["retry-after-ms"]) / 1000
            await asyncio.sleep(wait_s)
            assert (await gateway.ask("y")).status == 200

    run_virtual(main)


def test_a_budget_is_never_overspent_and_its_last_money_is_spendable(tmp_path: Path) -> None:
    """Fifty at once against a budget for a few: what is settled stays under it, and the refusals are honest."""

    async def main() -> None:
        edits = [
            replaced("tenants/shop.yaml", 'usd: "10"', 'usd: "0.004"'),
            replaced("tenants/shop.yaml", "cache: {reuse", "on_miss: wait\n    cache: {reuse"),
        ]
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            answers = await asyncio.gather(*(gateway.ask(f"w{i} " + "x " * 80, temperature=1) for i in range(50)))
            codes = {got.json["error"]["code"] for got in answers if got.status != 200}
            served = [got for got in answers if got.status == 200]
            assert served
            assert codes == {"budget_exhausted"} or codes == {"budget_exhausted", "budget_busy"}
            assert gateway.settled_nanousd() <= 4_000_000
            assert gateway.settled_nanousd() == sum(record.cost.settled_nanousd or 0 for record in gateway.records)
            spent = gateway.settled_nanousd()
            left = 4_000_000 - spent
            assert left < 1_000_000  # what is left pays for no further prompt of this size and a short answer
            told = (await gateway.ask("w " + "x " * 80, temperature=1)).json["error"]
            assert told["trimtab"]["rule"].startswith("budget shop")
            assert told["trimtab"]["retry_after_s"] > 0
            assert f"$0.{left:09d}".rstrip("0") in told["message"]

    run_virtual(main)


def test_an_answer_is_cut_to_the_money_that_is_left(tmp_path: Path) -> None:
    """A short answer within budget beats a refusal: the upstream's cap is what can be paid for."""

    async def main() -> None:
        async with ScriptedUpstream(openai) as up, Gateway(tmp_path, up.url) as gateway:
            got = await gateway.ask("a", "trimtab-max-cost-usd: 0.0004")
            assert got.status == 200
            cap = up.requests[0].json["max_tokens"]
            assert 16 <= cap < 200
            plan = gateway.last.plans[0]
            assert plan.max_tokens == cap
            assert (plan.estimate_nanousd or 0) <= 400_000

    run_virtual(main)


def test_single_flight_makes_one_answer_for_many(tmp_path: Path) -> None:
    """Ten equal requests at once are one upstream request; followers cost nothing."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as up, Gateway(tmp_path, up.url) as gateway:
            tasks = [asyncio.create_task(gateway.ask("same")) for _ in range(10)]
            await up.asked(1)
            gate.set()
            answers = await asyncio.gather(*tasks)
            assert {got.json["choices"][0]["message"]["content"] for got in answers} == {"x"}
            assert len(up.requests) == 1
            paths = sorted(record.path or "" for record in gateway.records)
            assert paths == ["cache-exact"] * 9 + ["direct"]
            assert sum(1 for record in gateway.records if record.cost.settled_nanousd) == 1

    run_virtual(main)


def test_a_leader_that_hangs_up_hands_over(tmp_path: Path) -> None:
    """The first follower asks anew, and everybody else gets its answer."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as up, Gateway(tmp_path, up.url) as gateway:
            async with RawClient(gateway.port) as leader:
                leader.send(chat("same", stream=True))
                await leader.head()
                followers = [asyncio.create_task(gateway.ask("same")) for _ in range(3)]
                while gateway.plane.requests < 0 or len(gateway.listener._hub.tasks) < 4:
                    await asyncio.sleep(0)
                leader.hang_up()
                await up.asked(2)
            gate.set()
            assert {got.status for got in await asyncio.gather(*followers)} == {200}
            assert len(up.requests) == 2

    run_virtual(main)


def test_draining_refuses_new_requests_and_lets_streams_end(tmp_path: Path) -> None:
    """503 with Retry-After and a closing connection, while a stream that began before runs to its end."""

    async def main() -> None:
        gate = asyncio.Event()
        async with ScriptedUpstream(lambda seen: held(seen, gate)) as up, Gateway(tmp_path, up.url) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(chat("old", stream=True))
                await client.head()
                gateway.plane.draining = True
                gateway.listener.drain()
                got = await gateway.ask("new")
                assert (got.status, got.json["error"]["code"]) == (503, "draining")
                assert got.headers["connection"] == "close"
                assert got.headers["retry-after"] == "1"
                gate.set()
                rest = b""
                while piece := await client.chunk():
                    rest += piece
                assert events(rest)[-1] == "[DONE]"
            await gateway.listener.drained()

    run_virtual(main)

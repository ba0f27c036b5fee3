"""One request, from a key to a record, over a scripted upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.frontdoor import LOOPS
from support.gateway import Gateway, chat, events, text_of
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream
from trimtab.surfaces.twin import run_virtual

on_each_loop = pytest.mark.parametrize("loop", list(LOOPS))


@on_each_loop
def test_a_request_is_answered_and_leaves_its_record(loop: str, tmp_path: Path) -> None:
    """The cheapest tier answers; headers, body and record agree on who did and what it cost."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            answer = await gateway.ask("one two three")
            record = gateway.last
            assert answer.status == 200
            assert answer.json["choices"][0]["message"]["content"] == "echo one two three"
            assert answer.json["usage"]["total_tokens"] == 5 + 4
            assert answer.json["model"] == "small-plain"
            assert answer.headers["trimtab-record"] == record.id == answer.json["trimtab"]["record"]
            assert (record.path, record.tier, record.status, record.code) == ("direct", "S", 200, None)
            assert record.cost.settled_nanousd == 5 * 1_000 + 4 * 4_000
            assert answer.headers["trimtab-cost-usd"] == "0.000021"
            assert record.cost.baseline_nanousd == 5 * 3_000 + 4 * 12_000
            assert gateway.settled_nanousd() == record.cost.settled_nanousd
            stages = ["ingress", "bind", "guard_in", "classify", "decide", "cache", "route", "admit", "reserve"]
            assert [name for name in record.stages if name in stages] == stages
            assert {"infer", "guard_out", "settle"} <= record.stages.keys()
            sent = up.requests[0].json
            assert sent["messages"] == [
                {"role": "system", "content": "Answer briefly."},
                {"role": "user", "content": "one two three"},
            ]
            assert sent["stream"] is True
            assert sent["max_tokens"] == 200
            assert up.requests[0].headers["authorization"] == "Bearer sk-upstream-0123456789abcdef"

    LOOPS[loop](main)


@on_each_loop
def test_a_stream_comes_chunk_by_chunk_and_says_what_it_cost(loop: str, tmp_path: Path) -> None:
    """Chunks carry our id; usage and cost come in their own chunk, only if asked for; then the end."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            answer = await gateway.ask("one two", stream=True, stream_options={"include_usage": True})
            found = events(answer.body)
            assert text_of(answer.body) == "echo one two"
            assert found[-1] == "[DONE]"
            assert found[-2]["usage"]["completion_tokens"] == 3
            assert found[-2]["trimtab"]["cost_usd"] == "0.000016"
            assert {chunk["id"] for chunk in found[:-1]} == {"chatcmpl-" + gateway.last.id.removeprefix("rec_")}
            assert gateway.last.ttft_ms is not None
            plain = await gateway.ask("one two three", stream=True)
            assert not any("usage" in event for event in events(plain.body)[:-1])

    LOOPS[loop](main)


def test_the_same_request_costs_the_same_streamed_or_not(tmp_path: Path) -> None:
    """To the nano-dollar."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("one two three four", temperature=0.5)
            await gateway.ask("one two three four", temperature=0.5, stream=True)
            whole, streamed = gateway.records
            assert whole.cost.settled_nanousd == streamed.cost.settled_nanousd != 0

    run_virtual(main)


def test_an_equal_request_is_answered_from_the_cache(tmp_path: Path) -> None:
    """The second of two equal requests costs nothing and asks nobody; another tenant's does not hit."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            first = await gateway.ask("one two")
            second = await gateway.ask("one two")
            streamed = await gateway.ask("one two", stream=True)
            assert [record.path for record in gateway.records] == ["direct", "cache-exact", "cache-exact"]
            assert second.json["choices"] == first.json["choices"]
            assert second.headers["trimtab-cost-usd"] == "0"
            assert text_of(streamed.body) == "echo one two"
            assert len(up.requests) == 1
            async with RawClient(gateway.port) as client:
                from support.gateway import OTHER_KEY

                client.send(chat("one two", key=OTHER_KEY))
                await client.answer()
            assert gateway.last.path == "direct"
            assert len(up.requests) == 2

    run_virtual(main)

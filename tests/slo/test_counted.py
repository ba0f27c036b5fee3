"""What rules for Prometheus count is what the records say: every kind of objective, over the same traffic."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import Metric

from support.gateway import Gateway, chat, post
from support.rawhttp import RawClient
from support.scrape import scrape
from support.slo import NOW, answer, latency, spend
from support.upstream import Cut, Head, ScriptedUpstream, Seen, Step, chunk, failure, openai
from trimtab.controlplane.registry import load
from trimtab.controlplane.slo import Counted, Engine, objectives
from trimtab.controlplane.slo.prometheus import ratio
from trimtab.core.clock import SystemClock
from trimtab.surfaces.memory import Bound

SLO = """
objectives:
  - {channels: [shop/*], objective: availability, target: 0.9}
  - {channels: [shop/web], objective: availability, target: 0.9, route: /v1/messages}
  - {channels: [shop/*], objective: latency, target: 0.9}
  - {channels: [shop/web], objective: latency, target: 0.9, e2e_ms: 0.001, route: /v1/chat/completions}
  - {channels: [other/desk], objective: latency, target: 0.9, ttft_ms: 60000}
  - {channels: [shop/web], objective: quality, target: 0.8}
  - {channels: [shop/*], objective: guard, target: 0.98}
  - {channels: [shop/web], objective: cost, target: 0.99}
  - {channels: [shop/fresh], objective: cost, target: 0.99, usd: "0.00001"}
  - {channels: [other/desk], objective: availability, target: 0.99}
"""


def script(seen: Seen) -> Iterable[Step]:
    said = str(seen.json["messages"][-1]["content"])
    if "down" in said:
        return failure(500)
    if "broken" in said:
        return [Head(200, (("content-type", "text/event-stream"),)), chunk({"content": "Half"}), Cut()]
    return openai(seen)


def selected(found: dict[str, Metric], selector: str) -> float:
    """The sum of what a selector names, as Prometheus reads it: label values must match whole."""
    name, inner = re.fullmatch(r"(\w+)\{(.*)\}", selector).groups()  # type: ignore[union-attr]  # or the test fails
    wanted = re.findall(r'(\w+)(=~|=)"([^"]*)"', inner)
    return sum(
        one.value
        for one in found[name].samples
        if all(
            re.fullmatch(value, one.labels[label]) if how == "=~" else one.labels[label] == value
            for label, how, value in wanted
        )
    )


class Used:
    """Bytes of a limit of 100."""

    bytes = 0


async def traffic(gateway: Gateway) -> None:
    """Answers, streams, blocks, failures, breaks, hang-ups before a key is known, judgements, refusals on arrival."""
    for said in ("fine", "secret sauce", "down"):
        for header in ("trimtab-channel: web", "trimtab-channel: fresh"):
            await gateway.ask(said, header, temperature=1)
    await gateway.ask("fine and more words than are cheap", "trimtab-channel: fresh", temperature=1, stream=True)
    broken = [chat("broken", temperature=1, stream=True)]
    body = msgspec.json.encode({"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "fine"}]})
    answered = next(row for row in gateway.records if row.status == 200)
    verdicts = [{"record": answered.id, "score": score} for score in (0.0, 1.0)]
    told = [post(msgspec.json.encode(one), path="/v1/feedback") for one in verdicts]
    for one in (*broken, post(body, path="/v1/messages"), chat("x", model="none-such"), *told):
        async with RawClient(gateway.port) as client:
            client.send(one)
            await client.answer()
    Used.bytes = 96
    gateway.ladder.look()
    for one in (chat(), post(body, path="/v1/messages")):
        async with RawClient(gateway.port) as client:
            client.send(one)
            await client.answer()
    gateway.presence.tell()
    Used.bytes = 0
    gateway.ladder.look()


def test_a_rule_has_the_ratio_of_the_records(tmp_path: Path) -> None:
    """Bad ones and all of them, of every objective that is a share, to the last request."""

    def documents(found: dict[str, str]) -> None:
        found["slo.yaml"] = SLO

    async def main() -> None:
        full = Bound(100, lambda: Used.bytes, "test")
        async with (
            ScriptedUpstream(script) as up,
            Gateway(tmp_path, up.url, up.url, documents, memory=[full]) as gateway,
        ):
            await traffic(gateway)
            found = await scrape(gateway)
            rows = list(gateway.records)
        workspace = load(tmp_path)
        shares = [one for one in objectives(workspace.snapshot.tenancy, workspace.slo) if not one.is_money]
        engine = Engine(shares)
        for row in rows:
            engine.observe(row)
        seen = {}
        for status in engine.at(SystemClock().wall_ns()):
            bad, total = (selected(found, one) for one in ratio(status.objective))
            assert (bad, total) == (status.budget.spent, status.budget.events), status.objective.id
            seen[status.objective.id] = int(bad), int(total)
        assert {id: counts for id, counts in seen.items() if not counts[1]} == {
            "other/desk/latency": (0, 0), "other/desk/availability": (0, 0)
        }  # fmt: skip
        assert seen["shop/web/quality"] == (1, 2)
        assert seen["shop/web/availability@/v1/messages"] == (1, 2)
        assert seen["shop/web/guard"][0] == 1

    asyncio.run(main())


def test_a_reload_goes_on_counting_and_money_is_not_counted() -> None:
    """What is dropped keeps its series, what stays its count; of several objectives of a channel each."""
    slow = latency(id="a", e2e_ms=1.0)
    counted = Counted([slow, spend(5)])
    row = answer(NOW, e2e_ms=5.0)
    counted.write(row)
    counted.take([msgspec.structs.replace(slow, e2e_ms=10_000.0), latency(id="b", route="/other")])
    counted.write(row)
    text = "".join(counted.pieces())
    assert 'objective="a",result="good"} 1\n' in text
    assert 'objective="a",result="bad"} 1\n' in text
    assert 'objective="b",result="bad"} 0\n' in text
    assert "spend" not in text
    counted.take([])
    counted.write(row)
    assert "".join(counted.pieces()) == text


def test_a_row_that_cant_be_judged_costs_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once."""
    counted = Counted([latency(e2e_ms=1.0)])
    row = answer(NOW, e2e_ms=5.0)
    row.e2e_ms = "soon"  # type: ignore[assignment]  # as a fault of ours might
    counted.write(row)
    counted.write(row)
    assert [one.levelname for one in caplog.records] == ["ERROR"]

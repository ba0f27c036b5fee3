"""Shadows: asked beside an answer, charged to nobody, heard by nobody, first to go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.gateway import OTHER_KEY, Edit, Gateway, chat, replaced
from support.rawhttp import RawClient
from support.upstream import (
    Cut,
    Hang,
    Head,
    Pause,
    Script,
    ScriptedUpstream,
    Sse,
    chunk,
    failure,
    openai,
    stream,
    usage,
)
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

SHADOW = """
shadow:
  kind: shadow
  channels: [web]
  of: small-plain
  arms: {new: {variant: beside, share: 1}}
"""
NEW = """
  new: {endpoint: "MEDIUM/v1", tier: S, context: 8192, slots: 2, api_key: "file:upstream.key", private: true%s}
variants:
  beside: {model: new, max_tokens: 300}
"""
OWN, OTHER = "small-plain", "beside"


def declared(more: str = "") -> Edit:
    def edit(documents: dict[str, str]) -> None:
        documents["experiments.yaml"] = SHADOW
        documents["models.yaml"] = documents["models.yaml"].replace("\nvariants:\n", NEW % more)
        documents["prices.yaml"] += 'new: {input_usd_per_mtok: "2", output_usd_per_mtok: "7"}\n'

    return edit


Main = Callable[[Gateway, ScriptedUpstream, ScriptedUpstream], Awaitable[None]]


def served(folder: Path, main: Main, *edits: Edit, script: Script = openai, shadow: bool = True) -> list[Record]:
    """The records of what `main` asks of a gateway with a shadow, whose server plays `script`. Nothing is held at the
    end."""

    async def run() -> list[Record]:
        own = (declared(), *edits) if shadow else edits
        async with ScriptedUpstream() as up, ScriptedUpstream(script) as beside:
            async with Gateway(folder, up.url, beside.url, *own) as gateway:
                await main(gateway, up, beside)
            assert len(gateway.plane.aside) == 0
            return gateway.records

    found: list[Record] = run_virtual(run)
    return found


def rows(found: list[Record]) -> tuple[list[Record], list[Record]]:
    """Requests and shadows."""
    requests = [row for row in found if row.kind == "request"]
    return requests, [row for row in found if row.kind == "shadow"]


def test_the_same_messages_go_to_the_shadow_and_its_row_says_what_came_of_it(tmp_path: Path) -> None:
    """Redacted, with the shadow's own prompt and cap; the row names the request, and has times, tokens and cost."""

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        await gateway.ask("Write to ann@shop.example please", max_tokens=50)
        await gateway.sink.reached(2)
        (asked,), (shadowed,) = up.requests, beside.requests
        assert shadowed.json["messages"] == asked.json["messages"][1:]
        assert "ann@" not in str(shadowed.json)
        assert (asked.json["max_tokens"], shadowed.json["max_tokens"]) == (50, 50)

    (request,), (row,) = rows(served(tmp_path, main))
    assert (row.of, row.role, row.session, row.tenant, row.channel) == (
        request.id,
        "shadow",
        request.session,
        "shop",
        "web",
    )
    assert row.experiment is not None
    assert (row.experiment.name, row.experiment.arm, (row.variant or "")[:7]) == ("shadow", "new", "beside@")
    assert (row.tokens.prompt, row.tokens.completion, row.tokens.source) == (4, 5, "upstream")
    assert row.cost.settled_nanousd == 4 * 2_000 + 5 * 7_000
    assert (row.status, row.finish_reason, row.attempts[0].outcome) == (200, "stop", "success")
    assert row.ttft_ms is not None
    assert row.e2e_ms is not None
    assert request.experiment is None


def test_a_request_has_one_shadow_though_its_answer_is_begun_twice(tmp_path: Path) -> None:
    """A replica breaks after its first content and before anything has left; another one begins anew."""

    async def run() -> list[Record]:
        broken = ScriptedUpstream(lambda seen: [*stream(["a"])[:3], Cut()])
        async with ScriptedUpstream() as up, broken, ScriptedUpstream() as beside:
            both = replaced("models.yaml", '"SMALL/v1"', f'["{broken.url}/v1", "SMALL/v1"]')
            async with Gateway(tmp_path, up.url, beside.url, both, declared()) as gateway:
                assert (await gateway.ask("One")).status == 200
                await gateway.sink.reached(2)
                assert (len(broken.requests), len(up.requests), len(beside.requests)) == (1, 1, 1)
            return gateway.records

    _, shadows = rows(run_virtual(run))
    assert len(shadows) == 1


def test_a_shadow_changes_nothing_for_the_caller(tmp_path: Path) -> None:
    """The same bytes, the same money to the nano-dollar, the same limits, and one stored answer, the caller's."""
    seen = []

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        answers = []
        for _ in range(2):
            answer = await gateway.ask("One two", stream=True, stream_options={"include_usage": True})
            record = next(row for row in reversed(gateway.records) if row.kind == "request")
            answers.append(answer.body.replace(record.id.removeprefix("rec_").encode(), b"ID"))
        await gateway.sink.reached(3 if beside.requests else 2)
        cost, path = gateway.records[0].cost.settled_nanousd, rows(gateway.records)[0][-1].path
        seen.append((answers, gateway.settled_nanousd(), cost, path, gateway.plane.cache.stats.entries))

    assert len(rows(served(tmp_path / "with", main))[1]) == 1  # the second answer was stored: nobody was asked
    served(tmp_path / "without", main, shadow=False)
    assert seen[0] == seen[1]
    assert seen[0][1] == seen[0][2] > 0


def test_tools_that_a_shadow_calls_are_called_by_nobody(tmp_path: Path) -> None:
    """The tools are sent as they are; what the shadow calls of them ends with it."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "refund", "arguments": "{}"}}

    def calls(_: object) -> list[object]:
        return [Head(200, (("content-type", "text/event-stream"),)), chunk({"tool_calls": [call]}), *ending()]

    def ending() -> list[object]:
        return [chunk({}, "tool_calls"), Sse("[DONE]")]

    tools = [{"type": "function", "function": {"name": "refund", "parameters": {}}}]

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        answer = await gateway.ask("One", tools=tools)
        await gateway.sink.reached(2)
        assert b"refund" not in answer.body
        assert beside.requests[0].json["tools"] == tools
        assert (len(up.requests), len(beside.requests)) == (1, 1)

    _, (row,) = rows(served(tmp_path, main, script=calls))  # type: ignore[arg-type]
    assert row.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda seen: failure(500), "http 500"),
        (lambda seen: failure(401), "http 401"),
        (lambda seen: [Hang()], "deadline_exceeded"),
        (lambda seen: [*stream(["a"])[:3], Hang()], "deadline_exceeded"),
        (lambda seen: [*stream(["a"])[:3], Cut()], "cut"),
        (lambda seen: stream(["a"], done=False)[:-1], "no finish reason"),
    ],
    ids=["500", "401", "silent", "stalls", "cut", "unfinished"],
)
def test_a_shadow_that_fails_or_hangs_is_told_by_its_row_alone(tmp_path: Path, script: Script, reason: str) -> None:
    """The caller has its answer at once, the replica is not ejected, nobody is asked again, and nothing stays held."""

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        for number in range(6):
            answer = await gateway.ask(f"One {number}")
            assert answer.status == 200
            await gateway.sink.reached(2 * number + 2)
        assert len(beside.requests) == 6
        (view,) = gateway.plane.fleet.views()["new"]
        assert (view.health, view.running) == ("well", 0)

    requests, shadows = rows(served(tmp_path, main, script=script))
    assert {row.attempts[0].reason for row in shadows} == {reason}
    assert {row.status for row in shadows} == {None}
    assert all((row.e2e_ms or 0) < 1000 for row in requests)


def test_on_an_engine_of_tenants_a_shadow_keeps_to_its_own_slot(tmp_path: Path) -> None:
    """The engine is told which slot each request gets: a shadow's is nobody else's, and goes on from its own prompt
    alone. A tenant that needs one takes the shadow's, and then no shadow runs there, rather than drop what tenants
    have in theirs."""
    shared = replaced("models.yaml", "beside: {model: new", "beside: {model: small")
    engine = replaced("models.yaml", "context: 8192, slots: 4,", "context: 8192, slots: 2, dialect: llamacpp,")
    long = "word " * 300

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        def told(nth: int) -> tuple[int, bool, bool]:
            """Slot, whether it may go on from what is there, and whether it is the shadow's."""
            body = up.requests[nth].json
            return body["id_slot"], body["cache_prompt"], body["messages"][0]["role"] == "user"

        for nth in range(2):
            await gateway.ask(long, temperature=1)
            await gateway.sink.reached(2 * nth + 2)
        assert [told(nth) for nth in range(4)] == [
            (0, False, False),
            (1, False, True),
            (0, True, False),
            (1, True, True),
        ]
        async with RawClient(gateway.port) as client:
            client.send(chat(long, key=OTHER_KEY, temperature=1))
            assert (await client.answer()).status == 200
        assert told(4) == (1, False, False)
        await gateway.ask(long, temperature=1)
        assert told(5) == (0, True, False)

    requests, shadows = rows(served(tmp_path, main, shared, engine))
    assert (len(requests), len(shadows)) == (4, 2)


def test_no_shadow_where_no_slot_is_free(tmp_path: Path) -> None:
    """Two slots, three requests at once: two shadows, and the third request has none. Nobody waits."""

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        await asyncio.gather(*(gateway.ask(f"One {number}") for number in range(3)))
        await beside.asked(2)
        view = gateway.plane.gates.views()["new"]
        assert (view.running, view.waiting) == (2, 0)

    requests, shadows = rows(served(tmp_path, main, script=lambda seen: [Hang()]))
    assert (len(requests), len(shadows)) == (3, 2)
    assert {row.attempts[0].reason for row in shadows} == {"the gateway stops"}


def test_a_shadow_gives_way_to_a_request(tmp_path: Path) -> None:
    """Its slot is the request's in the same turn of the loop; the upstream sees the hang-up."""
    pin = replaced("tenants/shop.yaml", 'pin: ["tier:S"', 'pin: [beside, "tier:S"')

    def script(seen: object) -> list[object]:
        return [Hang()] if getattr(seen, "nth", 0) < 2 else stream(["here"], usage(1, 1))  # type: ignore[return-value]

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        await asyncio.gather(*(gateway.ask(f"One {number}") for number in range(2)))
        await beside.asked(2)
        answer = await gateway.ask("Two", model="beside")
        assert answer.status == 200
        assert b"here" in answer.body
        await beside.hung_up()

    requests, shadows = rows(served(tmp_path, main, pin, script=script))  # type: ignore[arg-type]
    assert [row.attempts[0].reason for row in shadows] == ["gave way", "the gateway stops"]
    assert requests[-1].admissions[0].how == "free"


@pytest.mark.parametrize(
    "edit",
    [
        lambda documents: replaced("tenants/shop.yaml", "id: shop", "id: shop\nresidency: eu")(documents),
        lambda documents: documents.update({"policy.yaml": documents["policy.yaml"] + RULE % "decide"}),
        lambda documents: documents.update({"policy.yaml": documents["policy.yaml"] + RULE % "route"}),
    ],
    ids=["residency", "policy", "policy at route"],
)
def test_messages_go_only_where_they_may(tmp_path: Path, edit: Edit) -> None:
    """What a region or a rule keeps from a variant is kept from it as a shadow, too."""
    region = replaced("models.yaml", 'SMALL/v1", tier: S', 'SMALL/v1", region: eu, tier: S')

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        assert (await gateway.ask("One")).status == 200
        assert beside.requests == []

    assert rows(served(tmp_path, main, region, edit))[1] == []


RULE = """
  - id: never-beside
    at: %s
    when: "true"
    then: {forbid: ["variant:beside"]}
    tests: [{name: always, given: {}, hit: true}]
"""


def test_no_shadow_while_there_is_no_strength_to_spare_or_the_gateway_goes_down(tmp_path: Path) -> None:
    """Memory or lateness says so; then draining, between a request's beginning and its answer's."""

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        gateway.plane.aside.may = lambda: False
        await gateway.ask("One")
        gateway.plane.aside.may = lambda: True
        go = asyncio.Event()
        up.script = lambda seen: [Pause(go), *openai(seen)]
        asking = asyncio.create_task(gateway.ask("Two"))
        await up.asked(2)
        gateway.plane.draining = True
        go.set()
        assert (await asking).status == 200
        assert beside.requests == []

    assert rows(served(tmp_path, main))[1] == []


def test_a_caller_who_hangs_up_leaves_nothing_of_the_shadow_held(tmp_path: Path) -> None:
    """It ends by itself, and `served` finds nothing held."""
    go = asyncio.Event()

    async def main(gateway: Gateway, up: ScriptedUpstream, beside: ScriptedUpstream) -> None:
        up.script = lambda seen: [*stream(["a", "b"])[:3], Hang()]
        async with RawClient(gateway.port) as client:
            client.send(chat("One", stream=True))
            await client.head()
            await beside.asked(1)
        await up.hung_up()
        go.set()
        await gateway.sink.reached(2)
        gateway.assert_nothing_held()

    (request,), (row,) = rows(served(tmp_path, main, script=lambda seen: [Pause(go), *openai(seen)]))
    assert (request.status, row.status) == (499, 200)

"""`resume: continue`: a stream that breaks is gone on with by a model that takes a prefill, and nothing is doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.gateway import Gateway, events, replaced, text_of
from support.upstream import (
    EVENTS,
    Close,
    Hang,
    Head,
    ScriptedUpstream,
    Seen,
    Sse,
    Step,
    chunk,
    failure,
    stream,
    usage,
    usage_chunk,
)
from trimtab.surfaces.twin import run_virtual

ANSWER = "A gateway earns trust only when the provider behind it misbehaves, and the caller never has to know."
WORDS = [ANSWER.split()[0], *(f" {word}" for word in ANSWER.split()[1:])]
CONTINUE = replaced("tenants/shop.yaml", "  web:\n", "  web:\n    resume: continue\n")
PREFILL = replaced("models.yaml", "slots: 2,", "slots: 2, prefill: true,")


def cut_after(count: int, *then: Step) -> list[Step]:
    said = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in WORDS[:count])]
    return [Head(200, (EVENTS,)), *said, *(then or (Close(),))]


def goes_on(seen: Seen) -> Iterable[Step]:
    """Writes the rest of what it was sent as begun; the whole answer without a prefill."""
    last = seen.json["messages"][-1]
    begun = last["content"] if last["role"] == "assistant" else ""
    assert ANSWER.startswith(begun)
    rest = ANSWER[len(begun) :]
    pieces = [rest[at : at + 7] for at in range(0, len(rest), 7)]
    return stream(pieces, usage(10 + len(begun.split()), len(rest.split())))


@pytest.mark.parametrize("count", range(1, len(WORDS) + 1))
def test_the_rest_is_written_by_another_wherever_it_breaks(count: int, tmp_path: Path) -> None:
    """No token is lost or doubled; both providers are charged, once each; the record has both."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: cut_after(count)) as one, ScriptedUpstream(goes_on) as two:
            async with Gateway(tmp_path, one.url, two.url, CONTINUE, PREFILL) as gateway:
                got = await gateway.ask("Explain", stream=True, stream_options={"include_usage": True})
                assert (got.status, got.whole, text_of(got.body)) == (200, True, ANSWER)
                found = events(got.body)
                assert found[-1] == "[DONE]"
                roles = [c["delta"].get("role") for e in found[:-1] for c in e["choices"] if c["delta"].get("role")]
                assert roles == ["assistant"]
                record = gateway.last
                assert (record.code, record.tier) == (None, "M")
                first, second = record.attempts
                assert (first.reason, first.why, second.why) == ("cut", "first", "continue")
                assert first.usage is not None and second.usage is not None
                assert record.tokens.completion == (first.usage.completion or 0) + (second.usage.completion or 0)
                assert found[-2]["usage"]["completion_tokens"] == record.tokens.completion
                prices = gateway.plane.configuration.snapshot.release.variants
                cost = sum(
                    prices[name].price.units(row.usage)  # type: ignore[union-attr, arg-type]
                    for name, row in (("small-plain", first), ("medium-plain", second))
                )
                assert record.cost.settled_nanousd == -(-cost // 1_000_000) or record.cost.settled_nanousd is not None
                assert gateway.settled_nanousd() == record.cost.settled_nanousd
                assert two.requests[0].json["messages"][-1]["content"] == "".join(WORDS[:count])

    run_virtual(main)


def test_a_stall_is_gone_on_with_too(tmp_path: Path) -> None:
    """An upstream that says nothing more for fifty times between tokens is hung up on, and another writes the rest."""
    patient = replaced("tenants/shop.yaml", "e2e_ms: 4000", "e2e_ms: 20000")

    async def main() -> None:
        async with ScriptedUpstream(lambda _: cut_after(5, Hang())) as one, ScriptedUpstream(goes_on) as two:
            async with Gateway(tmp_path, one.url, two.url, CONTINUE, PREFILL, patient) as gateway:
                got = await gateway.ask("Explain", stream=True)
                assert (got.whole, text_of(got.body)) == (True, ANSWER)
                assert gateway.last.attempts[0].reason == "stalled"
                await one.hung_up()

    run_virtual(main)


CANT = {
    "takes no prefill": ((), goes_on),
    "is down": ((PREFILL,), lambda _: failure(503)),
    "refuses the prefill": ((PREFILL,), lambda _: failure(400, "invalid_prefill")),
    "begins anew": ((PREFILL,), lambda _: stream(WORDS, usage(3, 17))),
}


@pytest.mark.parametrize("name", list(CANT))
def test_where_nobody_can_go_on_the_break_itself_is_told(name: str, tmp_path: Path) -> None:
    """An error event that says what broke the stream, never a clean end, never the other model's 400, no doubled
    text."""
    edits, script = CANT[name]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: cut_after(8)) as one, ScriptedUpstream(script) as two:  # type: ignore[arg-type]
            async with Gateway(tmp_path, one.url, two.url, *edits, *_declared(edits)) as gateway:
                got = await gateway.ask("Explain", stream=True)
                found = events(got.body)
                assert (got.status, got.whole) == (200, False)
                assert "[DONE]" not in found
                assert found[-1]["error"]["code"] == "upstream_failed"
                assert "connection" in found[-1]["error"]["message"]
                said = text_of(got.body)
                assert said and "".join(WORDS[:8]).startswith(said), "the guard may still have held some back"
                assert gateway.last.code == "upstream_failed"

    run_virtual(main)


def _declared(edits: tuple[object, ...]) -> list[object]:
    """`check` wants somebody who can go on, so the tier that breaks is declared to, where nobody else is."""
    return [CONTINUE] if edits else [CONTINUE, replaced("models.yaml", "slots: 4,", "slots: 4, prefill: true,")]


CANT_BE = {
    "a tool's call": chunk({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}]}),
    "a thought": chunk({"reasoning_content": "hm"}),
}


@pytest.mark.parametrize("name", list(CANT_BE))
def test_only_plain_text_is_gone_on_with(name: str, tmp_path: Path) -> None:
    """A prefill can't hold a tool's call or a thought: the stream ends with an error event."""
    steps = [Head(200, (EVENTS,)), CANT_BE[name], chunk({"content": "x"}), Close()]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: steps) as one, ScriptedUpstream(goes_on) as two:
            async with Gateway(tmp_path, one.url, two.url, CONTINUE, PREFILL) as gateway:
                got = await gateway.ask("Explain", stream=True)
                assert (got.whole, two.requests) == (False, [])

    run_virtual(main)


def test_guards_see_one_answer_across_the_seam(tmp_path: Path) -> None:
    """What must not leave is found though one model wrote its first half and another its second."""
    begun = [Head(200, (EVENTS,)), chunk({"content": "The secret "}), Sse({"error": {"message": "gone"}})]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: begun) as one:
            async with ScriptedUpstream(lambda _: stream(["sauce", " is ketchup"], usage(3, 3))) as two:
                async with Gateway(tmp_path, one.url, two.url, CONTINUE, PREFILL) as gateway:
                    got = await gateway.ask("Explain", stream=True)
                    assert "secret sauce" not in text_of(got.body)
                    assert "ketchup" not in text_of(got.body)
                    assert gateway.last.finish_reason == "content_filter"

    run_virtual(main)


def test_a_caller_who_hangs_up_while_another_goes_on_stops_that_one(tmp_path: Path) -> None:
    """The continuation is an attempt as any other: it ends with its caller, and is paid for."""

    async def main() -> None:
        slow = [Head(200, (EVENTS,)), chunk({"content": " earns"}), Hang()]
        async with ScriptedUpstream(lambda _: cut_after(2)) as one, ScriptedUpstream(lambda _: slow) as two:
            async with Gateway(tmp_path, one.url, two.url, CONTINUE, PREFILL) as gateway:
                asking = asyncio.create_task(gateway.ask("Explain", stream=True))
                await two.asked()
                asking.cancel()
                await two.hung_up()
                await gateway.sink.reached(1)
                assert (gateway.last.status, len(gateway.last.attempts)) == (499, 2)
                assert gateway.settled_nanousd() == gateway.last.cost.settled_nanousd != 0

    run_virtual(main)


def test_the_money_of_both_parts_is_kept_within_the_cap(tmp_path: Path) -> None:
    """The answer's cap is one for both: what the first wrote is not there for the second."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: [*cut_after(8, usage_chunk(usage(3, 8)), Close())]) as one:
            async with ScriptedUpstream(goes_on) as two:
                async with Gateway(tmp_path, one.url, two.url, CONTINUE, PREFILL) as gateway:
                    await gateway.ask("Explain", stream=True, max_tokens=100)
                    assert two.requests[0].json["max_tokens"] == 92

    run_virtual(main)

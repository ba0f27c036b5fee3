"""Providers in their own dialects: what they are sent, and what our callers get of what they say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.wires import PROVIDERS, bytes_of, typed
from support.gateway import Gateway, events, replaced, text_of
from support.upstream import EVENTS, Hang, Head, Raw, ScriptedUpstream, answer
from trimtab.dataplane.inference import WIRES
from trimtab.dataplane.inference.dialects import kind_of
from trimtab.dataplane.inference.dialects.eventstream import FrameParser, frame
from trimtab.dataplane.inference.dialer import MalformedAnswer
from trimtab.dataplane.inference.sse import EventParser
from trimtab.surfaces.twin import run_virtual

FILES = Path(__file__).parent / "golden"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello.", "tool_calls": [
        {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    ]},
    {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
    {"role": "user", "content": [{"type": "text", "text": "And in Zürich?"}]},
]  # fmt: skip


def speaks(name: str, tmp_path: Path) -> list[Callable[[dict[str, str]], None]]:
    """The small model behind this dialect."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "provider.key").write_text("sk-provider\n")
    one = PROVIDERS[name]
    return [
        replaced("models.yaml", 'endpoint: "SMALL/v1"', f'endpoint: "SMALL{one.base}", dialect: {name}{one.model}'),
        replaced(
            "models.yaml",
            'slots: 4, api_key: "file:upstream.key"',
            'slots: 4, upstream_name: upstream, api_key: "file:provider.key"',
        ),
    ]


def every(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("name", list(PROVIDERS))(test)


@every
def test_what_is_sent_and_what_comes_of_it(name: str, tmp_path: Path) -> None:
    """To the byte, whole and streamed, text and tools: path, headers and body of the request; the answer."""
    one = PROVIDERS[name]

    async def main() -> str:
        told = ""
        for kind, script in (("text", one.text), ("tool", one.tool)):
            async with ScriptedUpstream(lambda seen, script=script: script) as up:  # type: ignore[misc]
                async with Gateway(tmp_path / kind, up.url, None, *speaks(name, tmp_path / kind)) as gateway:
                    asked: dict[str, Any] = {"model": "tier:S", "temperature": 0.5, "top_p": 0.9, "max_tokens": 50}
                    if kind == "tool":
                        asked |= {"tools": TOOLS, "tool_choice": "required"}
                    elif name != "responses":
                        asked["stop"] = ["END"]
                    whole = await gateway.ask(TALK, **asked)
                    streamed = await gateway.ask(TALK, stream=True, stream_options={"include_usage": True}, **asked)
                    first, second = up.requests
                    assert (first.path, first.json) == (second.path, second.json)
                    assert first.headers[one.credential[0]] == one.credential[1]
                    assert len({row.cost.settled_nanousd for row in gateway.records}) == 1
                    told += f"=== {kind}: sent to {first.path}\n{_pretty(first.json)}"
                    told += f"=== {kind}: whole\n{_pretty(_own(whole.json))}"
                    told += f"=== {kind}: streamed\n" + "".join(_line(event) for event in events(streamed.body))
        return told

    told = run_virtual(main)
    path = FILES / f"upstream-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(told)
    assert path.read_text() == told, f"{path.name} has changed; UPDATE_GOLDEN=1 accepts it"


def _own(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run, or is told elsewhere."""
    return {key: value for key, value in answer.items() if key not in ("trimtab", "id", "created")}


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def _line(event: Any) -> str:
    return (event if isinstance(event, str) else msgspec.json.encode(_own(event)).decode()) + "\n"


@every
def test_usage_is_priced_right_streamed_or_not(name: str, tmp_path: Path) -> None:
    """Prompt with what was cached and written, answer with its thoughts; the same nano-dollar either way."""
    one = PROVIDERS[name]
    prompt, cached, written, completion, reasoning = one.usage

    async def main() -> None:
        async with ScriptedUpstream(lambda _: one.text) as up:
            async with Gateway(tmp_path, up.url, None, *speaks(name, tmp_path)) as gateway:
                for streamed in (False, True):
                    assert (await gateway.ask("Hi", model="tier:S", temperature=1, stream=streamed)).status == 200
                    tokens = gateway.last.tokens
                    assert (tokens.prompt, tokens.cached or 0, tokens.written or 0) == (prompt, cached, written)
                    assert (tokens.completion, tokens.reasoning) == (completion, reasoning)
                    assert tokens.source == "upstream"
                price = gateway.plane.configuration.snapshot.release.variants["small-plain"].price
                usage = gateway.last.attempts[-1].usage
                assert price is not None
                assert usage is not None
                cost = -(-price.units(usage) // 1_000_000)
                assert {row.cost.settled_nanousd for row in gateway.records} == {cost}
                assert gateway.settled_nanousd() == 2 * cost

    run_virtual(main)


@every
def test_errors_in_the_stream_and_before_it(name: str, tmp_path: Path) -> None:
    """An overload in the middle ends the stream with an error event; a prompt that is too long leaves it to the next
    model; a filter's refusal is passed on, and nobody else is asked."""
    one = PROVIDERS[name]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: one.broken) as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "broken", up.url, two.url, *speaks(name, tmp_path / "broken")) as gateway:
                got = await gateway.ask("one two", stream=True)
                assert (got.status, got.whole) == (200, False)
                assert events(got.body)[-1]["error"]["code"] == "upstream_failed"
                assert "Hello".startswith(text_of(got.body))
        async with ScriptedUpstream(lambda _: one.full) as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "full", up.url, two.url, *speaks(name, tmp_path / "full")) as gateway:
                assert (await gateway.ask("one two")).status == 200
                assert gateway.last.attempts[0].reason == "context length"
        async with ScriptedUpstream(lambda _: one.filtered) as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path / "filter", up.url, two.url, *speaks(name, tmp_path / "filter")) as gateway:
                got = await gateway.ask("one two")
                if name == "bedrock":  # which says so in its answer
                    assert got.json["choices"][0]["finish_reason"] == "content_filter"
                else:
                    assert (got.status, got.json["error"]["trimtab"]["code"]) == (400, "content_refused")
                assert two.requests == []

    run_virtual(main)


@every
def test_a_hang_up_stops_the_provider_and_what_was_said_is_paid(name: str, tmp_path: Path) -> None:
    """The provider's server sees it in the same turn of the loop; the prompt and what had come are settled."""
    one = PROVIDERS[name]
    half = one.broken[:-1]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: [*half, Hang()]) as up:
            async with Gateway(tmp_path, up.url, None, *speaks(name, tmp_path)) as gateway:
                asking = asyncio.create_task(gateway.ask("one two", model="tier:S", stream=True))
                await up.asked()
                await asyncio.sleep(0.5)
                asking.cancel()
                await up.hung_up()
                await gateway.sink.reached(1)
                assert (gateway.last.status, gateway.last.code) == (499, "client_closed")
                assert gateway.settled_nanousd() == gateway.last.cost.settled_nanousd != 0

    run_virtual(main)


UNSAID = {
    "anthropic": {"seed": 7},
    "bedrock": {"response_format": {"type": "json_object"}},
    "gemini": {"logit_bias": {"1": 2}},
    "responses": {"stop": ["x"]},
}


@pytest.mark.parametrize("name", list(UNSAID))
def test_what_a_provider_has_no_words_for_is_not_sent_there(name: str, tmp_path: Path) -> None:
    """The next model that has them answers, and the record says why; alone it is a 400 that names the field."""
    (field,) = UNSAID[name]

    async def main() -> None:
        async with ScriptedUpstream() as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path, up.url, two.url, *speaks(name, tmp_path)) as gateway:
                assert (await gateway.ask("Hi", **UNSAID[name])).status == 200
                assert up.requests == []
                assert [row.outcome for row in gateway.last.plans if row.tier == "S"] == [f"has no words for {field}"]
                got = await gateway.ask("Hi", model="tier:S", **UNSAID[name])
                assert (got.status, got.json["error"]["param"]) == (400, field)

    run_virtual(main)


CUSTOM = {"name": "patch", "description": "Change a file", "format": {
    "type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}
}}  # fmt: skip
PATCHED: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_0", "type": "custom", "custom": {"name": "patch", "input": "- a"}},
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]},
    {"role": "tool", "tool_call_id": "call_0", "content": "done"},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]  # fmt: skip


def test_a_tool_of_free_text_in_the_words_of_responses(tmp_path: Path) -> None:
    """Declared with its grammar, demanded, called before and now: whole, streamed, and counted where nobody counts."""
    said = typed(
        {"type": "response.created", "response": {"id": "r"}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "custom_tool_call", "call_id": "call_2", "name": "patch"},
        },
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": '+ {"b'},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": '": 1}'},
        {"type": "response.completed", "response": {}},
    )
    tools = [{"type": "custom", "custom": CUSTOM}, *TOOLS]
    asked = {"tools": tools, "tool_choice": {"type": "custom", "custom": {"name": "patch"}}}

    async def main() -> None:
        async with ScriptedUpstream(lambda _: said) as up:
            async with Gateway(tmp_path, up.url, None, *speaks("responses", tmp_path)) as gateway:
                whole = await gateway.ask(PATCHED, model="tier:S", **asked)
                streamed = await gateway.ask(PATCHED, model="tier:S", stream=True, **asked)
                body = up.requests[0].json
                assert body["tools"][0] == {
                    "type": "custom",
                    "name": "patch",
                    "description": "Change a file",
                    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
                }
                assert body["tool_choice"] == {"type": "custom", "name": "patch"}
                assert body["input"][1:] == [
                    {"type": "custom_tool_call", "call_id": "call_0", "name": "patch", "input": "- a"},
                    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
                    {"type": "custom_tool_call_output", "call_id": "call_0", "output": "done"},
                    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
                ]
                called = {"id": "call_2", "type": "custom", "custom": {"name": "patch", "input": '+ {"b": 1}'}}
                choice = whole.json["choices"][0]
                assert (choice["message"]["tool_calls"], choice["finish_reason"]) == ([called], "tool_calls")
                told = [one["choices"][0]["delta"] for one in events(streamed.body) if not isinstance(one, str)]
                calls = [call for delta in told for call in delta.get("tool_calls", ())]
                assert "".join(call["custom"]["input"] for call in calls) == called["custom"]["input"]
                assert all(row.tokens.completion for row in gateway.records), "its words are paid for"

    run_virtual(main)


@pytest.mark.parametrize("name", ["anthropic", "bedrock", "gemini", "sglang", "vllm"])
def test_a_tool_of_free_text_goes_where_it_can_be_said(name: str, tmp_path: Path) -> None:
    """Declared or only called before: the next model that knows such tools answers; alone it is a 400."""

    async def main() -> None:
        async with ScriptedUpstream() as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path, up.url, two.url, *speaks(name, tmp_path)) as gateway:
                for tools in ([{"type": "custom", "custom": CUSTOM}], TOOLS):
                    assert (await gateway.ask(PATCHED, tools=tools)).status == 200
                    assert up.requests == []
                    outcomes = [row.outcome for row in gateway.last.plans if row.tier == "S"]
                    assert outcomes == ["has no words for tools of type custom"]
                got = await gateway.ask(PATCHED, model="tier:S", tools=TOOLS)
                assert (got.status, got.json["error"]["param"]) == (400, "tools")

    run_virtual(main)


CAPS = {
    "anthropic": ("{top_k: 3}", ["max_tokens"]),  # `check` refuses the cap itself by its name
    "bedrock": ("{inferenceConfig: {maxTokens: 9999}}", ["inferenceConfig", "maxTokens"]),
    "gemini": ("{generationConfig: {maxOutputTokens: 9999}}", ["generationConfig", "maxOutputTokens"]),
    "responses": ("{max_output_tokens: 9999}", ["max_output_tokens"]),
}


@pytest.mark.parametrize("name", list(CAPS))
def test_no_option_lifts_the_cap_that_was_paid_for(name: str, tmp_path: Path) -> None:
    """Options of a variant are the provider's own words, but for what the plan decides."""
    options, path = CAPS[name]

    async def main() -> None:
        engine = replaced(
            "models.yaml", "prompt: brief, max_tokens: 200", f"prompt: brief, max_tokens: 200, engine: {options}"
        )
        async with ScriptedUpstream(lambda _: PROVIDERS[name].text) as up:
            async with Gateway(tmp_path, up.url, None, *speaks(name, tmp_path), engine) as gateway:
                assert (await gateway.ask("Hi", model="tier:S", max_tokens=70)).status == 200
                value = up.requests[0].json
                for part in path:
                    value = value[part]
                assert value == 70

    run_virtual(main)


def test_googles_retry_info_is_honoured(tmp_path: Path) -> None:
    """The delay stands in the body: nobody asks before it has passed."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}]
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    busy = answer({"error": error}, 429)

    async def main() -> None:
        async with ScriptedUpstream(lambda _: busy) as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path, up.url, two.url, *speaks("gemini", tmp_path)) as gateway:
                assert (await gateway.ask("Hi")).status == 200
                assert 7 < gateway.plane.fleet.views()["small"][0].resting_s <= 7.5

    run_virtual(main)


def test_a_key_that_google_does_not_take_is_our_fault_not_the_callers(tmp_path: Path) -> None:
    """Its 400 for a bad key is no wrong request: the replica is ejected, and the next model answers."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    refused = answer({"error": {"code": 400, "message": "API key not valid", "details": details}}, 400)

    async def main() -> None:
        async with ScriptedUpstream(lambda _: refused) as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path, up.url, two.url, *speaks("gemini", tmp_path)) as gateway:
                assert (await gateway.ask("Hi")).status == 200
                assert gateway.plane.fleet.views()["small"][0].health == "ejected"

    run_virtual(main)


def test_tenants_of_an_engine_have_salts_of_their_own(tmp_path: Path) -> None:
    """vLLM and SGLang keep prefixes by `cache_salt`: one for each tenant, always the same, none that callers send."""
    from support.gateway import OTHER_KEY, chat
    from support.rawhttp import RawClient

    async def main() -> None:
        for name in ("vllm", "sglang"):
            async with ScriptedUpstream(lambda _: PROVIDERS["vllm"].text) as up:
                async with Gateway(tmp_path / name, up.url, up.url, *speaks(name, tmp_path / name)) as gateway:
                    for key in ("", "", OTHER_KEY):
                        async with RawClient(gateway.port) as client:
                            client.send(chat("Hi", temperature=1, **({"key": key} if key else {})))
                            assert (await client.answer()).status == 200
                    first, again, other = (seen.json["cache_salt"] for seen in up.requests)
                    assert first == again != other
                    assert "shop" not in first
                    got = await gateway.ask("Hi", cache_salt="mine")
                    assert (got.status, got.json["error"]["code"]) == (400, "field_not_allowed")

    run_virtual(main)


@given(st.sampled_from(sorted(WIRES.keys() & PROVIDERS.keys())), st.data())
@settings(max_examples=200)
def test_any_cut_of_the_bytes_gives_the_same_chunks(name: str, data: st.DataObject) -> None:
    """Where the network cuts a provider's bytes changes nothing."""
    body = bytes_of(PROVIDERS[name].text if data.draw(st.booleans()) else PROVIDERS[name].tool)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert _read(name, pieces) == _read(name, [body])


def _read(name: str, pieces: list[bytes]) -> list[dict[str, Any]]:
    wire = WIRES[name]
    reader = wire.reader(None)  # type: ignore[arg-type]  # no reader looks at its plan
    found = []
    if wire.content_type == EVENTS[1]:
        parser = EventParser()
        for piece in pieces:
            found += [msgspec.json.decode(event) for event in parser.feed(piece)]
    else:
        frames = FrameParser()
        for piece in pieces:
            found += [kind_of(headers, msgspec.json.decode(payload)) for headers, payload in frames.feed(piece)]
        assert frames.is_clean
    return [chunk for event in found for chunk in reader.read(event)]


@given(st.data())
def test_a_frame_with_any_bit_changed_is_damaged(data: st.DataObject) -> None:
    """Its checksums tell: never another message, at the most one that never ends."""
    whole = frame({":event-type": "contentBlockDelta", ":message-type": "event"}, b'{"delta":{"text":"Hello"}}')
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedAnswer):
        FrameParser().feed(bytes(damaged))
        raise AssertionError("taken for a message")


def test_damaged_frames_are_no_answer(tmp_path: Path) -> None:
    """A provider whose frames don't add up: the next model answers."""
    from dialects.wires import FRAMES

    broken = [Head(200, (FRAMES,)), Raw(b"10\r\n" + b"\0" * 16 + b"\r\n0\r\n\r\n")]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: broken) as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path, up.url, two.url, *speaks("bedrock", tmp_path)) as gateway:
                assert (await gateway.ask("Hi")).status == 200
                assert gateway.last.attempts[0].reason == "malformed answer"

    run_virtual(main)

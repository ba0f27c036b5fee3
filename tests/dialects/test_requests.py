"""What inbound dialects take, refuse and charge: every field is honoured or refused by name; money has one path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients import scripts
from dialects.wire import FRESH, named_events, told
from support.gateway import KEY, Gateway, post, replaced
from support.rawhttp import RawAnswer, RawClient
from support.upstream import Hang, ScriptedUpstream, stream, usage
from trimtab.core.errors import Code
from trimtab.core.request import Body
from trimtab.surfaces.server import messages, responses
from trimtab.surfaces.twin import run_virtual

HELLO = {"role": "user", "content": "Hello"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "name": "patch"}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


MESSAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no cap": ({"max_tokens": None}, "invalid_request", "max_tokens"),
    "no messages": ({"messages": []}, "invalid_request", "messages"),
    "a role": ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_request", "messages[0].role"),
    "a field of a turn": ({"messages": [{**HELLO, "name": "x"}]}, "unsupported", "messages[0].name"),
    "a document": (user({"type": "document", "source": {}}), "unsupported", "messages[0].content[0]"),
    "an address": (
        user({"type": "image", "source": {"type": "url", "url": "https://x"}}),
        "field_not_allowed",
        "messages[0].content[0].source.url",
    ),
    "a server's tool": ({"tools": [{"type": "web_search_1", "name": "x"}]}, "unsupported", "tools[0]"),
    "a deferred tool": ({"tools": [{**TOOL, "defer_loading": True}]}, "unsupported", "tools[0].defer_loading"),
    "a tool without its schema": ({"tools": [{"name": "f"}]}, "invalid_request", "tools[0].input_schema"),
    "a choice among none": ({"tool_choice": {"type": "any"}}, "invalid_request", "tool_choice"),
    "thinking": ({"thinking": {"type": "enabled"}}, "invalid_request", "thinking.budget_tokens"),
    "temperature": ({"temperature": 1.5}, "invalid_request", "temperature"),
    "an edit": (
        {"context_management": {"edits": [{"type": "clear_tool_uses_1"}]}},
        "unsupported",
        "context_management.edits[0]",
    ),
    "a container": ({"container": "c"}, "unsupported", "container"),
    "servers of tools": ({"mcp_servers": []}, "unsupported", "mcp_servers"),
    "a place": ({"inference_geo": "us"}, "unsupported", "inference_geo"),
    "unheard of": ({"new_thing": 1}, "unsupported", "new_thing"),
}
RESPONSES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no input": ({"input": []}, "invalid_request", "input"),
    "an earlier response": ({"previous_response_id": "resp_1"}, "unsupported", "previous_response_id"),
    "a conversation": ({"conversation": "c"}, "unsupported", "conversation"),
    "in the background": ({"background": True}, "unsupported", "background"),
    "a server's tool": ({"tools": [{"type": "web_search"}]}, "unsupported", "tools[0]"),
    "a grammar of no language": (
        {"tools": [{**CUSTOM, "format": {"type": "grammar", "syntax": "ebnf", "definition": "x"}}]},
        "invalid_request",
        "tools[0].format.syntax",
    ),
    "a grammar without its text": (
        {"tools": [{**CUSTOM, "format": {"type": "grammar", "syntax": "lark"}}]},
        "invalid_request",
        "tools[0].format.definition",
    ),
    "a deferred custom tool": ({"tools": [{**CUSTOM, "defer_loading": True}]}, "unsupported", "tools[0].defer_loading"),
    "a search that nobody runs": ({"tools": [{"type": "tool_search"}]}, "unsupported", "tools[0].execution"),
    "one name for two tools": ({"tools": [CUSTOM, {**FUNCTION, "name": "patch"}]}, "invalid_request", "tools"),
    "allowed tools": (
        {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
        "unsupported",
        "tool_choice",
    ),
    "a demand on no tools": ({"tool_choice": "required"}, "invalid_request", "tool_choice"),
    "a stored item": ({"input": [{"type": "item_reference", "id": "x"}]}, "unsupported", "input[0]"),
    "a file": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        "unsupported",
        "input[0].content[0]",
    ),
    "an address": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]}]},
        "field_not_allowed",
        "input[0].content[0].image_url",
    ),
    "cut for me": ({"truncation": "auto"}, "unsupported", "truncation"),
    "logprobs": ({"include": ["message.output_text.logprobs"]}, "unsupported", "include"),
    "top logprobs": ({"top_logprobs": 3}, "unsupported", "top_logprobs"),
    "a prompt": ({"prompt": {"id": "p"}}, "unsupported", "prompt"),
    "a tier": ({"service_tier": "flex"}, "unsupported", "service_tier"),
    "unheard of": ({"new_thing": 1}, "unsupported", "new_thing"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_refuses_by_name(case: str) -> None:
    """What can't be honoured is named, with a code that stays."""
    changes, code, param = MESSAGES[case]
    found = messages.parse(msgspec.json.encode({"model": "auto", "max_tokens": 9, "messages": [HELLO], **changes}))
    assert not isinstance(found, Body)
    assert (found.code.wire, found.param) == (code, param)


@pytest.mark.parametrize("case", RESPONSES)
def test_responses_refuses_by_name(case: str) -> None:
    """The same of the other dialect."""
    changes, code, param = RESPONSES[case]
    found = responses.parse(msgspec.json.encode({"model": "auto", "input": "Hello", **changes}))
    assert not isinstance(found, Body)
    assert (found.code.wire, found.param) == (code, param)


def test_what_changes_no_answer_is_taken() -> None:
    """Nulls, hints to a cache, metadata, and what asks for what is so anyway."""
    harmless: dict[str, Any] = {
        "container": None,
        "cache_control": {"type": "ephemeral"},
        "service_tier": "standard_only",
        "metadata": {"user_id": "ann"},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "tools": [{**TOOL, "cache_control": {"type": "ephemeral"}, "defer_loading": False}],
        "messages": [HELLO, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}],
    }
    shown = messages.Shown()
    body = messages.parse(msgspec.json.encode({"max_tokens": 9, **harmless}), shown)
    assert isinstance(body, Body)
    assert body.messages == (HELLO,)
    assert (body.user, body.extra.keys(), shown.thoughts) == ("ann", {"tools"}, False)
    other = {"store": False, "prompt_cache_key": "k", "truncation": "disabled", "service_tier": "auto", "prompt": None}
    answer = responses.parse(msgspec.json.encode({"input": "Hello", **other, "tool_choice": "auto"}))
    assert isinstance(answer, Body)
    assert answer.extra == {}


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [(1024, "low"), (4096, "low"), (4097, "medium"), (16384, "medium"), (16385, "high"), (100_000, "high")],
)
def test_a_thinking_budget_becomes_an_effort(thinking: int, effort: str) -> None:
    """Chat has no budget of thoughts; the nearest that upstreams know is an effort."""
    body = messages.parse(
        msgspec.json.encode(
            {"max_tokens": 9, "messages": [HELLO], "thinking": {"type": "enabled", "budget_tokens": thinking}}
        )
    )
    assert isinstance(body, Body)
    assert body.extra == {"reasoning_effort": effort}


BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "auto", "max_tokens": 64, "messages": [HELLO]},
    "/v1/messages": {"model": "auto", "max_tokens": 64, "messages": [HELLO]},
    "/v1/responses": {"model": "auto", "max_output_tokens": 64, "input": "Hello"},
}


def test_the_same_request_costs_the_same_by_every_way(tmp_path: Path) -> None:
    """Streamed or not, in any dialect, with cached tokens and thoughts: one sum, to the nano-dollar."""
    settled = {}
    for number, (path, body) in enumerate(BODIES.items()):
        for streamed in (False, True):
            folder = tmp_path / f"{number}{streamed}"
            found = told(folder, path, {**body, "stream": streamed}, scripts.COUNTED)
            assert found.record.cost.settled_nanousd == found.settled_nanousd
            assert (found.record.route, found.record.stream) == (path, streamed)
            settled[path, streamed] = (found.settled_nanousd, found.record.tokens)
    assert len({cost for cost, _ in settled.values()}) == 1, settled
    assert len({msgspec.json.encode(tokens) for _, tokens in settled.values()}) == 1, settled


def test_usage_splits_the_prompt(tmp_path: Path) -> None:
    """Anthropic's parts add up to the prompt; OpenAI's details are parts of the whole."""
    counted = {**usage(100, 9, cached=60), "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30}}
    script = lambda seen: stream(["a"], counted)  # noqa: E731 - a script is a value
    one = told(tmp_path / "1", "/v1/messages", BODIES["/v1/messages"], script).answer.json["usage"]
    assert one["input_tokens"] == 10
    assert (one["cache_read_input_tokens"], one["cache_creation_input_tokens"], one["output_tokens"]) == (60, 30, 9)
    other = told(tmp_path / "2", "/v1/responses", BODIES["/v1/responses"], script).answer.json["usage"]
    assert (other["input_tokens"], other["output_tokens"], other["total_tokens"]) == (100, 9, 109)
    assert other["input_tokens_details"] == {"cached_tokens": 60, "cache_write_tokens": 30}


def test_omitted_thoughts_stay_here(tmp_path: Path) -> None:
    """`display: omitted` leaves thoughts out of both forms, and blocks are numbered as if there were none."""
    body = {**BODIES["/v1/messages"], "thinking": {"type": "adaptive", "display": "omitted"}}
    whole = told(tmp_path / "1", "/v1/messages", body, scripts.UNKNOWN).answer.json
    assert whole["content"] == [{"type": "text", "text": "hm"}]
    found = named_events(told(tmp_path / "2", "/v1/messages", {**body, "stream": True}, scripts.UNKNOWN).answer.body)
    assert [data["index"] for name, data in found if name == "content_block_start"] == [0]
    assert not any("thinking" in repr(data.get("delta")) for _, data in found)


def test_a_stop_sequence_is_told_where_the_server_tells_it(tmp_path: Path) -> None:
    """vLLM says which stop it was; a token's number is none of ours."""
    last = {**scripts.last(), "stop_reason": "END"}
    script = scripts.Says(scripts.STOPPED_BY.whole, (*scripts.STOPPED_BY.chunks[:-1], last))
    found = told(tmp_path / "text", "/v1/messages", BODIES["/v1/messages"], script).answer.json
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")
    found = told(tmp_path / "token", "/v1/messages", BODIES["/v1/messages"], scripts.STOPPED_BY).answer.json
    assert (found["stop_reason"], found["stop_sequence"]) == ("end_turn", None)


def test_guards_and_cache_are_the_one_path(tmp_path: Path) -> None:
    """An answer stored for one dialect serves the others; what must not leave is replaced, in each one's words."""
    secret = scripts.plain("The secret ", "sauce is")

    async def main() -> None:
        async with ScriptedUpstream(secret) as up, Gateway(tmp_path, up.url, up.url) as gateway:
            async with RawClient(gateway.port) as client:

                async def asked(path: str, **fields: Any) -> RawAnswer:
                    client.send(post(msgspec.json.encode({**BODIES[path], "temperature": 0, **fields}), path=path))
                    return await client.answer()

                message = (await asked("/v1/messages")).json
                assert message["stop_reason"] == "refusal"
                assert message["content"][0]["text"] == "I can't help with that."
                response = (await asked("/v1/responses")).json
                assert response["status"] == "incomplete"
                assert response["incomplete_details"] == {"reason": "content_filter"}
                up.script = scripts.HELLO
                first = (await asked("/v1/messages", max_tokens=65)).json
                again = (await asked("/v1/messages", max_tokens=65)).json
                by_chat = (await asked("/v1/chat/completions", max_tokens=65)).json
                assert gateway.last.path == "cache-exact"
                assert again["content"] == first["content"]
                assert by_chat["choices"][0]["message"]["content"] == first["content"][0]["text"]

    run_virtual(main)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_a_hang_up_stops_the_upstream_and_bills(path: str, tmp_path: Path) -> None:
    """What was written until the client went is settled; nothing is held after it."""

    async def main() -> None:
        script = lambda seen: [*stream(["one", " two"])[:-2], Hang()]  # noqa: E731 - a script is a value
        async with ScriptedUpstream(script) as up, Gateway(tmp_path, up.url, up.url, FRESH) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(post(msgspec.json.encode({**BODIES[path], "stream": True}), path=path))
                await client.head()
                while b" two" not in await client.chunk():
                    pass
                client.hang_up()
                await up.hung_up()
                await gateway.sink.reached(1)
            assert gateway.last.code == "client_closed"
            assert gateway.settled_nanousd() == gateway.last.cost.settled_nanousd
            assert gateway.settled_nanousd() > 0

    run_virtual(main)


def test_the_key_may_come_in_a_header_of_its_own(tmp_path: Path) -> None:
    """`x-api-key`, as Anthropic's clients send it; a bearer beside it comes first; without either it is 401."""
    body = BODIES["/v1/messages"]
    found = told(tmp_path / "1", "/v1/messages", body, scripts.HELLO, f"x-api-key: {KEY}", key=None)
    assert (found.answer.status, found.record.tenant) == (200, "shop")
    wrong = told(tmp_path / "2", "/v1/messages", body, scripts.HELLO, f"x-api-key: {KEY}", key="wrong")
    assert (wrong.answer.status, wrong.answer.json["error"]["type"]) == (401, "authentication_error")
    none = told(tmp_path / "3", "/v1/messages", body, scripts.HELLO, key=None)
    assert none.answer.json["error"]["trimtab"]["code"] == "missing_api_key"
    body = BODIES["/v1/responses"]
    elsewhere = told(tmp_path / "4", "/v1/responses", body, scripts.HELLO, f"x-api-key: {KEY}", key=None)
    assert elsewhere.answer.status == 401


TYPES = {
    Code.UNSUPPORTED: "invalid_request_error",
    Code.MISSING_API_KEY: "authentication_error",
    Code.MODEL_NOT_ALLOWED: "permission_error",
    Code.MODEL_NOT_FOUND: "not_found_error",
    Code.METHOD_NOT_ALLOWED: "invalid_request_error",
    Code.BODY_TOO_LARGE: "request_too_large",
    Code.RATE_LIMITED: "rate_limit_error",
    Code.NO_REPLICA: "overloaded_error",
}


def test_errors_have_their_types(tmp_path: Path) -> None:
    """The type is by status, the request's id is there, and our code stands beside."""
    small = replaced("trimtab.yaml", "8388608", "2000")
    slow = replaced("tenants/shop.yaml", "{per_s: 1000, burst: 1000}", "{per_s: 1, burst: 5}")
    body = BODIES["/v1/messages"]

    async def main() -> dict[Code, RawAnswer]:
        found = {}
        async with ScriptedUpstream(scripts.HELLO) as up, Gateway(tmp_path, up.url, up.url, small, slow) as gateway:

            async def asked(code: Code, *, data: bytes, key: str | None = KEY) -> None:
                async with RawClient(gateway.port) as client:
                    client.send(data if data.startswith(b"GET") else post(data, key=key, path="/v1/messages"))
                    found[code] = await client.answer()

            await asked(Code.MISSING_API_KEY, data=b"{}", key=None)
            await asked(Code.UNSUPPORTED, data=msgspec.json.encode({**body, "container": "x"}))
            await asked(Code.MODEL_NOT_ALLOWED, data=msgspec.json.encode({**body, "model": "small-plain"}))
            await asked(Code.MODEL_NOT_FOUND, data=msgspec.json.encode({**body, "model": "gone"}))
            await asked(Code.BODY_TOO_LARGE, data=msgspec.json.encode({**body, "system": "x" * 3000}))
            await asked(Code.METHOD_NOT_ALLOWED, data=b"GET /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n")
            for _ in range(9):
                await asked(Code.RATE_LIMITED, data=msgspec.json.encode({**body, "model": "gone"}))
        return found

    found = run_virtual(main)
    for code, answer in found.items():
        error = answer.json["error"]
        assert (answer.status, error["type"], error["trimtab"]["code"]) == (code.status, TYPES[code], code.wire)
        assert answer.json["type"] == "error"
        assert answer.json["request_id"] == answer.headers.get("request-id")
    assert "retry-after" in found[Code.RATE_LIMITED].headers


def test_tokens_are_counted_by_the_model_that_would_answer(tmp_path: Path) -> None:
    """System, turns and tools count; nobody is asked and nothing is spent; no cap is needed."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            async with RawClient(gateway.port) as client:

                async def counted(**fields: Any) -> RawAnswer:
                    body = msgspec.json.encode({"model": "auto", "messages": [HELLO], **fields})
                    client.send(post(body, path="/v1/messages/count_tokens"))
                    return await client.answer()

                counter = gateway.plane.configuration.counters["small"]
                assert (await counted()).json == {"input_tokens": counter.count("Hello")}
                assert (await counted(system="You are.")).json == {"input_tokens": counter.count("You are.\nHello")}
                with_tools = (await counted(tools=[TOOL])).json["input_tokens"]
                assert with_tools > counter.count("Hello")
                long = (await counted(system="word " * 20_000)).json["input_tokens"]
                assert long == counter.count("word " * 20_000 + "\nHello")
                pinned = await counted(model="small-plain")
                assert (pinned.status, pinned.json["error"]["type"]) == (403, "permission_error")
                image = await counted(**user(IMAGE))
                assert (image.status, image.json["error"]["type"]) == (400, "invalid_request_error")
            assert (up.requests, gateway.records, gateway.settled_nanousd()) == ([], [], 0)

    run_virtual(main)

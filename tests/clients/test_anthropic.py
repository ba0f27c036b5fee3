"""Anthropic's Python clients against Trimtab: what a program or an agent sees through `/v1/messages`."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from clients import scripts
from clients.stage import Servers, Stage
from support.gateway import KEY
from support.upstream import Cut, Hang, Script

pytestmark = pytest.mark.clients

TOOLS: list[Any] = [
    {"name": "weather", "description": "Forecast", "input_schema": {"type": "object", "properties": {}}},
    {"name": "time", "input_schema": {"type": "object", "properties": {}}},
]
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ASKED: dict[str, Any] = {"model": "auto", "max_tokens": 50, "messages": HELLO}


def client(stage: Stage, **options: Any) -> anthropic.Anthropic:
    """With the base URL that this client wants: without `/v1`."""
    url = stage.through.url.removesuffix("/v1")
    return anthropic.Anthropic(**{"base_url": url, "api_key": KEY, "max_retries": 0, "timeout": 10.0, **options})


def test_a_whole_answer(stage: Stage) -> None:
    """Text, reason, usage in parts, and the request's id."""
    stage.plays(scripts.COUNTED)
    with client(stage) as ours:
        message = ours.messages.create(**ASKED)
    (block,) = message.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert (block.text, message.stop_reason, message.role) == ("one two", "end_turn", "assistant")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (4, 16, 9)
    assert message.model_extra is not None
    assert message._request_id == message.model_extra["trimtab"]["record"]


def test_a_stream(stage: Stage) -> None:
    """The helper's events in order, its texts, and the final message that it puts together from them."""
    stage.plays(scripts.COUNTED)
    with client(stage) as ours, ours.messages.stream(**ASKED) as stream:
        kinds = [event.type for event in stream if event.type != "text"]
        final = stream.get_final_message()
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    (block,) = final.content
    assert block.type == "text"
    assert (block.text, final.stop_reason, final.usage.input_tokens) == ("one two", "end_turn", 4)


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(stage: Stage, streamed: bool) -> None:
    """Parallel calls come with their inputs as objects, and their results go back to the upstream in chat's words."""
    stage.plays(scripts.TOOLS)
    with client(stage) as ours:
        if streamed:
            with ours.messages.stream(**ASKED, tools=TOOLS) as stream:
                message: anthropic.types.Message = stream.get_final_message()
        else:
            message = ours.messages.create(**ASKED, tools=TOOLS)
        calls = [block for block in message.content if block.type == "tool_use"]
        assert message.stop_reason == "tool_use"
        assert [(call.id, call.name, call.input) for call in calls] == [
            ("call_1", "weather", {"city": "Zürich", "days": 3}),
            ("call_2", "time", {"zone": "Europe/Zurich"}),
        ]
        results: list[Any] = [{"type": "tool_result", "tool_use_id": call.id, "content": call.name} for call in calls]
        turns: list[Any] = [*HELLO, {"role": "assistant", "content": message.content}]
        stage.plays(scripts.HELLO)
        ours.messages.create(**{**ASKED, "messages": [*turns, {"role": "user", "content": results}]}, tools=TOOLS)
    *_, assistant, first, second = stage.upstream.requests[-1].json["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_1", "call_2"]
    assert [(one["role"], one["tool_call_id"], one["content"]) for one in (first, second)] == [
        ("tool", "call_1", "weather"),
        ("tool", "call_2", "time"),
    ]


def test_thoughts_come_and_may_be_sent_back(stage: Stage) -> None:
    """A thinking block before the text; a client that returns it, as it must, is served."""
    stage.plays(scripts.UNKNOWN)
    with client(stage) as ours:
        with ours.messages.stream(**ASKED, thinking={"type": "adaptive"}) as stream:
            message = stream.get_final_message()
        assert [block.type for block in message.content] == ["thinking", "text"]
        turns: list[Any] = [*HELLO, {"role": "assistant", "content": message.content}, *HELLO]
        ours.messages.create(**{**ASKED, "messages": turns})
    assert [one["content"] for one in stage.upstream.requests[-1].json["messages"][1:]] == ["Hello", "hm", "Hello"]


def test_tokens_are_counted(stage: Stage) -> None:
    """No model is asked."""
    before = len(stage.upstream.requests)
    with client(stage) as ours:
        assert ours.messages.count_tokens(model="auto", messages=HELLO).input_tokens > 0
    assert len(stage.upstream.requests) == before


def test_agents_ask_for_betas(stage: Stage) -> None:
    """They come with a query and a header; what a beta changes stands in the body, and is judged there."""
    stage.plays(scripts.HELLO)
    with client(stage) as ours:
        message = ours.beta.messages.create(**ASKED, betas=["interleaved-thinking-2025-05-14"])
    assert message.stop_reason == "end_turn"


def test_a_bearer_token_is_a_key_too(stage: Stage) -> None:
    """As agents send it that are given an auth token instead of an API key."""
    stage.plays(scripts.HELLO)
    with client(stage, api_key=None, auth_token=KEY) as ours:
        assert ours.messages.create(**ASKED).stop_reason == "end_turn"


FAULTS: list[tuple[Script, dict[str, Any], type[anthropic.APIStatusError], str]] = [
    (scripts.HELLO, {"container": "x"}, anthropic.BadRequestError, "unsupported"),
    (scripts.HELLO, {"model": "gone"}, anthropic.NotFoundError, "model_not_found"),
    (scripts.HELLO, {"model": "small-plain"}, anthropic.PermissionDeniedError, "model_not_allowed"),
    (scripts.fails(400, "Too hot", **scripts.INVALID), {}, anthropic.BadRequestError, "upstream_rejected"),
    (scripts.fails(503), {}, anthropic.InternalServerError, "upstream_failed"),
]


@pytest.mark.parametrize(("script", "fields", "kind", "code"), FAULTS, ids=[row[3] for row in FAULTS])
def test_errors(
    new_stage: Stage, script: Script, fields: dict[str, Any], kind: type[anthropic.APIStatusError], code: str
) -> None:
    """Each is the class that the client has for it, and says our code; `fields` come beside the message."""
    new_stage.plays(script)
    with client(new_stage) as ours, pytest.raises(kind) as caught:
        ours.messages.create(**{**ASKED, **fields})
    body: Any = caught.value.body
    assert body["error"]["trimtab"]["code"] == code
    assert caught.value.request_id == body["error"]["trimtab"]["record"] == body["request_id"]


def test_a_wrong_key(new_stage: Stage) -> None:
    """The client's own class for it."""
    with client(new_stage, api_key="sk-wrong") as ours, pytest.raises(anthropic.AuthenticationError):
        ours.messages.create(**ASKED)


def test_an_error_in_a_stream(new_stage: Stage) -> None:
    """What came is seen, then the client raises; it never takes what it has for the whole."""
    new_stage.plays(scripts.broken_off("one", " two", then=[Cut()]))
    said = ""
    with client(new_stage) as ours, pytest.raises(anthropic.APIStatusError) as caught:
        with ours.messages.stream(**ASKED) as stream:
            for text in stream.text_stream:
                said += text
    assert said == "one two"
    body: Any = caught.value.body
    assert (body["error"]["type"], body["error"]["trimtab"]["code"]) == ("api_error", "upstream_failed")


def test_who_hangs_up_pays_for_what_was_written(servers: Servers, new_stage: Stage) -> None:
    """The asynchronous client is cancelled midway: the upstream is stopped, and what it wrote is settled."""
    new_stage.plays(scripts.broken_off("one", " two", then=[Hang()]))

    async def main() -> None:
        url = new_stage.through.url.removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as ours:
            async with ours.messages.stream(**ASKED) as stream:
                async for text in stream.text_stream:
                    if text == " two":
                        return

    asyncio.run(main())

    async def over() -> None:
        await new_stage.upstream.hung_up()
        await new_stage.gateway.sink.reached(1)

    servers.run(over())
    record = new_stage.gateway.last
    assert (record.route, record.code) == ("/v1/messages", "client_closed")
    assert new_stage.gateway.settled_nanousd() == record.cost.settled_nanousd
    assert new_stage.gateway.settled_nanousd() > 0

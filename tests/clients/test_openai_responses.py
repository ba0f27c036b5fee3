"""OpenAI's Python clients against Trimtab through `/v1/responses`."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pydantic
import pytest

from clients import scripts
from clients.stage import Servers, Stage
from support.gateway import KEY
from support.upstream import Cut, Hang, Script

pytestmark = pytest.mark.clients

_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS: list[Any] = [
    {"type": "function", "name": name, "parameters": _PARAMETERS, "strict": False} for name in ("weather", "time")
]
ASKED: dict[str, Any] = {"model": "auto", "input": "Hello"}


class Author(pydantic.BaseModel):
    name: str


class Book(pydantic.BaseModel):
    title: str
    pages: list[int]
    author: Author


def client(stage: Stage, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(
        **{"base_url": stage.through.url, "api_key": KEY, "max_retries": 0, "timeout": 10.0, **options}
    )


def test_a_whole_answer(stage: Stage) -> None:
    """Text, status, usage with details, and what it repeats of its request."""
    stage.plays(scripts.COUNTED)
    with client(stage) as ours:
        options: dict[str, Any] = {"instructions": "Be short.", "max_output_tokens": 50, "metadata": {"case": "7"}}
        response = ours.responses.create(**ASKED, **options)
    assert (response.output_text, response.status, response.store) == ("one two", "completed", False)
    assert (response.instructions, response.max_output_tokens, response.metadata) == ("Be short.", 50, {"case": "7"})
    usage = response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (20, 9, 29)
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (16, 4)


def test_a_stream(stage: Stage) -> None:
    """The helper takes every event, and its final response is the whole one."""
    stage.plays(scripts.COUNTED)
    with client(stage) as ours, ours.responses.stream(**ASKED) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_response()
    assert events == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 2,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output_text == "one two"


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(stage: Stage, streamed: bool) -> None:
    """Calls come with their arguments; output items are sent back as they came, with the results."""
    stage.plays(scripts.TOOLS)
    with client(stage) as ours:
        if streamed:
            with ours.responses.stream(**ASKED, tools=TOOLS) as stream:
                response: Any = stream.get_final_response()
        else:
            response = ours.responses.create(**ASKED, tools=TOOLS)
        calls = [item for item in response.output if item.type == "function_call"]
        assert [(call.call_id, call.name, call.arguments) for call in calls] == [
            ("call_1", "weather", '{"city": "Zürich", "days": 3}'),
            ("call_2", "time", '{"zone":"Europe/Zurich"}'),
        ]
        sent = [call.to_dict() for call in calls]
        for item in sent:
            item.pop("parsed_arguments", None)
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": call.name} for call in calls]
        stage.plays(scripts.HELLO)
        turns: list[Any] = [{"role": "user", "content": "Hello"}, *sent, *results]
        ours.responses.create(model="auto", input=turns, tools=TOOLS)
    *_, assistant, first, second = stage.upstream.requests[-1].json["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_1", "call_2"]
    assert [(one["tool_call_id"], one["content"]) for one in (first, second)] == [
        ("call_1", "weather"),
        ("call_2", "time"),
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_of_a_namespace(stage: Stage, streamed: bool) -> None:
    """The model knows them by both names; the caller gets them as it declared them, and sends them back so."""
    long = "x" * 60
    own = [{"type": "function", "name": name, "parameters": _PARAMETERS, "strict": False} for name in ("close", long)]
    tools: list[Any] = [*TOOLS, {"type": "namespace", "name": "fleet", "description": "Of agents.", "tools": own}]
    stage.plays(scripts.SPACED)
    with client(stage) as ours:
        if streamed:
            with ours.responses.stream(**ASKED, tools=tools) as stream:
                response: Any = stream.get_final_response()
        else:
            response = ours.responses.create(**ASKED, tools=tools)
        (call,) = response.output
        assert (call.type, call.name, call.namespace, call.call_id) == ("function_call", "close", "fleet", "call_1")
        names = [one["function"]["name"] for one in stage.upstream.requests[-1].json["tools"]]
        assert names[:3] == ["weather", "time", "fleet__close"]
        assert len(names[3]) == 64
        assert names[3].startswith("fleet__xxx")
        sent = {name: value for name, value in call.to_dict().items() if name != "parsed_arguments"}
        result = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
        stage.plays(scripts.HELLO)
        turns: list[Any] = [{"role": "user", "content": "Hello"}, sent, result]
        ours.responses.create(model="auto", input=turns, tools=tools)
        *_, assistant, _ = stage.upstream.requests[-1].json["messages"]
        assert assistant["tool_calls"][0]["function"]["name"] == "fleet__close"
        with pytest.raises(openai.BadRequestError, match="fleet__close"):
            ours.responses.create(**ASKED, tools=[*tools, {**own[0], "name": "fleet__close"}])


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_of_free_text(stage: Stage, streamed: bool) -> None:
    """As Codex declares its patches: by a grammar, in a namespace or not. Its calls come as they were written, and go
    back with what came of them."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    own = [{"type": "custom", "name": "apply", "description": "Patches.", "format": grammar}]
    tools: list[Any] = [*TOOLS, {"type": "custom", "name": "note"}]
    tools.append({"type": "namespace", "name": "fleet", "description": "Of files.", "tools": own})
    stage.plays(scripts.CUSTOM)
    with client(stage) as ours:
        if streamed:
            with ours.responses.stream(**ASKED, tools=tools) as stream:
                deltas = [one.delta for one in stream if one.type == "response.custom_tool_call_input.delta"]
                response: Any = stream.get_final_response()
            assert deltas == ["*** Begin", " {not JSON"]
        else:
            response = ours.responses.create(**ASKED, tools=tools)
        patch, call = response.output
        assert (patch.type, patch.name, patch.namespace) == ("custom_tool_call", "apply", "fleet")
        assert (patch.call_id, patch.input) == ("call_1", "*** Begin {not JSON")
        assert (call.type, call.name, call.arguments) == ("function_call", "weather", "{}")
        declared = stage.upstream.requests[-1].json["tools"]
        assert declared[2:] == [
            {"type": "custom", "custom": {"name": "note"}},
            {
                "type": "custom",
                "custom": {
                    "name": "fleet__apply",
                    "description": "Patches.",
                    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}},
                },
            },
        ]
        sent = [{k: v for k, v in one.to_dict().items() if k != "parsed_arguments"} for one in (patch, call)]
        outputs = [
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"},
            {"type": "function_call_output", "call_id": "call_2", "output": "rain"},
        ]
        stage.plays(scripts.HELLO)
        turns: list[Any] = [{"role": "user", "content": "Hello"}, *sent, *outputs]
        ours.responses.create(model="auto", input=turns, tools=tools, tool_choice={"type": "custom", "name": "note"})
    asked = stage.upstream.requests[-1].json
    *_, assistant, done, rain = asked["messages"]
    made = {"name": "fleet__apply", "input": "*** Begin {not JSON"}
    assert assistant["tool_calls"][0] == {"id": "call_1", "type": "custom", "custom": made}
    assert [one["content"] for one in (done, rain)] == ["done", "rain"]
    assert asked["tool_choice"] == {"type": "custom", "custom": {"name": "note"}}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_search_for_tools_that_the_caller_runs(stage: Stage, streamed: bool) -> None:
    """As Codex has it: the model asks for tools and is told what there is; what was found may then be called."""
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
    search = {"type": "tool_search", "execution": "client", "description": "Finds.", "parameters": parameters}
    tools: list[Any] = [*TOOLS, search]
    stage.plays(scripts.SEARCHED)
    with client(stage) as ours:
        if streamed:
            with ours.responses.stream(**ASKED, tools=tools) as stream:
                kinds = [one.type for one in stream if "tool" in one.type or "item" in one.type]
                response: Any = stream.get_final_response()
            assert kinds == ["response.output_item.added", "response.output_item.done"]
        else:
            response = ours.responses.create(**ASKED, tools=tools)
        (asked,) = response.output
        assert (asked.type, asked.execution, asked.call_id) == ("tool_search_call", "client", "call_1")
        assert asked.arguments == {"query": "calendar", "limit": 3}
        declared = stage.upstream.requests[-1].json["tools"][2]
        assert declared["function"] == {"name": "tool_search", "description": "Finds.", "parameters": parameters}
        own = {"type": "function", "name": "close", "description": "Closes.", "defer_loading": True}
        found = {"type": "namespace", "name": "fleet", "description": "Of agents.", "tools": [own, own | {"name": "x"}]}
        output = {"type": "tool_search_output", "call_id": "call_1", "execution": "client", "tools": [found]}
        turns: list[Any] = [{"role": "user", "content": "Hello"}, asked.to_dict(), output]
        stage.plays(scripts.SPACED)
        (call,) = ours.responses.create(model="auto", input=turns, tools=tools).output
        assert (call.type, call.namespace, call.name) == ("function_call", "fleet", "close")
    body = stage.upstream.requests[-1].json
    *_, assistant, result = body["messages"]
    assert assistant["tool_calls"][0]["function"]["name"] == "tool_search"
    assert result["tool_call_id"] == "call_1"
    assert "fleet__close" in result["content"]
    assert [one["function"]["name"] for one in body["tools"][2:]] == ["tool_search", "fleet__close", "fleet__x"]


def test_reasoning_comes_in_clear_and_may_be_sent_back(stage: Stage) -> None:
    """An item of its own before the message."""
    stage.plays(scripts.UNKNOWN)
    with client(stage) as ours:
        with ours.responses.stream(**ASKED, reasoning={"effort": "low"}) as stream:
            response = stream.get_final_response()
        reasoning, message = response.output
        assert reasoning.type == "reasoning"
        assert reasoning.content is not None
        assert reasoning.content[0].text == "Let me see."
        turns: list[Any] = [{"role": "user", "content": "Hello"}, reasoning.to_dict(), message.to_dict()]
        ours.responses.create(model="auto", input=[*turns, {"role": "user", "content": "And?"}])
    assert [one["content"] for one in stage.upstream.requests[-1].json["messages"][1:]] == ["Hello", "hm", "And?"]


def test_an_answer_by_a_schema(stage: Stage) -> None:
    """`parse` gives the caller's own type."""
    stage.plays(scripts.SCHEMA)
    with client(stage) as ours:
        book = ours.responses.parse(**ASKED, text_format=Book).output_parsed
    assert book == Book(title="Fox 🦊", pages=[1, 2], author=Author(name='A. "B"'))
    assert stage.upstream.requests[-1].json["response_format"]["json_schema"]["name"] == "Book"


FAULTS: list[tuple[Script, dict[str, Any], type[openai.APIStatusError], str]] = [
    (scripts.HELLO, {"previous_response_id": "resp_1"}, openai.BadRequestError, "unsupported"),
    (scripts.HELLO, {"tools": [{"type": "web_search"}]}, openai.BadRequestError, "unsupported"),
    (scripts.HELLO, {"model": "gone"}, openai.NotFoundError, "model_not_found"),
    (scripts.fails(503), {}, openai.InternalServerError, "upstream_failed"),
]


@pytest.mark.parametrize(("script", "fields", "kind", "code"), FAULTS)
def test_errors(
    new_stage: Stage, script: Script, fields: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    """OpenAI's error body, by status the client's class for it."""
    new_stage.plays(script)
    with client(new_stage) as ours, pytest.raises(kind) as caught:
        ours.responses.create(**{**ASKED, **fields})
    assert caught.value.code == code


def test_an_error_in_a_stream(new_stage: Stage) -> None:
    """An error event, the failed response with what there is of it, and a transfer that ends in a cut."""
    new_stage.plays(scripts.broken_off("one", " two", then=[Cut()]))
    events: list[Any] = []
    with client(new_stage) as ours, pytest.raises(openai.APIConnectionError):
        for event in ours.responses.create(**ASKED, stream=True):
            events.append(event)
    error, failed = events[-2:]
    assert (error.type, error.code) == ("error", "upstream_failed")
    assert (failed.type, failed.response.status, failed.response.error.code) == (
        "response.failed",
        "failed",
        "server_error",
    )
    assert failed.response.output[0].content[0].text == "one two"


def test_who_hangs_up_pays_for_what_was_written(servers: Servers, new_stage: Stage) -> None:
    """The asynchronous client is cancelled midway: the upstream is stopped, and what it wrote is settled."""
    new_stage.plays(scripts.broken_off("one", " two", then=[Hang()]))

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=new_stage.through.url, api_key=KEY, max_retries=0) as ours:
            async with ours.responses.stream(**ASKED) as stream:
                async for event in stream:
                    if event.type == "response.output_text.delta" and event.delta == " two":
                        return

    asyncio.run(main())

    async def over() -> None:
        await new_stage.upstream.hung_up()
        await new_stage.gateway.sink.reached(1)

    servers.run(over())
    record = new_stage.gateway.last
    assert (record.route, record.code) == ("/v1/responses", "client_closed")
    assert new_stage.gateway.settled_nanousd() == record.cost.settled_nanousd
    assert new_stage.gateway.settled_nanousd() > 0

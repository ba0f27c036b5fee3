"""OpenAI's Python clients, where all goes well: what they see through Trimtab is what they see without it."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from clients import scripts
from clients.python_client import KINDS, Chat, drained, driven, seen, text
from clients.stage import CAP, Differs, Stage

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("kind", KINDS)]

HISTORY = [
    {"role": "system", "content": "You are a fox."},
    {"role": "user", "content": [{"type": "text", "text": "Who are you?"}], "name": "ann"},
    {"role": "assistant", "content": "A fox 🦊."},
    {"role": "user", "content": "And what do you eat?"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Forecast",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
            "strict": True,
        },
    },
    {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}},
]
AFTER_TOOLS = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "tool_calls": scripts.TOOLS.whole[0]["message"]["tool_calls"]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"rain": 0.5}'},
    {"role": "tool", "tool_call_id": "call_2", "content": "12:00"},
]


class Author(pydantic.BaseModel):
    name: str


class Book(pydantic.BaseModel):
    title: str
    pages: list[int]
    author: Author


async def whole(chat: Chat) -> Any:
    return await chat.whole()


async def streamed(chat: Chat) -> Any:
    return await chat.streamed()


async def with_usage(chat: Chat) -> Any:
    return await chat.streamed(stream_options={"include_usage": True})


def test_a_whole_answer(stage: Stage, kind: str) -> None:
    """Type, text, finish reason, usage and all other fields are equal; the upstream is asked the same."""
    stage.plays(scripts.HELLO)
    pair = stage.same(driven(kind, whole))
    assert pair.through.said["choices"][0]["message"]["content"] == 'Grüß Gott,\n"world" \u2028🦊!'
    assert stage.same_request(pair) == {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_stream(stage: Stage, kind: str) -> None:
    """Chunk for chunk as the upstream cuts them, without usage, which was not asked for."""
    stage.plays(scripts.HELLO)
    pair = stage.same(driven(kind, streamed))
    said = pair.through.said
    assert text(said["chunks"]) == ["", "Grüß", " Gott", ",\n", '"world" \u2028', "🦊", "!", None]
    assert (said["ids"], said["error"]) == (1, None)
    stage.same_request(pair)


def test_a_stream_with_usage(stage: Stage, kind: str) -> None:
    """The last chunk has no choices and the upstream's usage, in all its details."""
    stage.plays(scripts.COUNTED)
    pair = stage.same(driven(kind, with_usage))
    last = pair.through.said["chunks"][-1]
    assert (last["choices"], last["usage"]["prompt_tokens_details"]["cached_tokens"]) == ([], 16)
    assert [chunk["usage"] for chunk in pair.through.said["chunks"][:-1]] == [None] * 4


def test_usage_of_a_whole_answer(stage: Stage, kind: str) -> None:
    """Usage is the upstream's, reasoning and cached tokens included."""
    stage.plays(scripts.COUNTED)
    pair = stage.same(driven(kind, whole))
    assert pair.through.said["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4


def test_system_text_and_history(stage: Stage, kind: str) -> None:
    """Every message reaches the upstream as it was sent, after the variant's own system text."""

    async def case(chat: Chat) -> Any:
        return await chat.whole(messages=HISTORY)

    stage.plays(scripts.HELLO)
    assert stage.same_request(stage.same(driven(kind, case)))["messages"] == HISTORY


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "weather"}}])
def test_tools(stage: Stage, kind: str, choice: Any) -> None:
    """Parallel tool calls come whole: ids, names, arguments; the upstream gets tools and choice as they were sent."""

    async def case(chat: Chat) -> Any:
        return await chat.whole(tools=TOOLS, tool_choice=choice, parallel_tool_calls=True)

    stage.plays(scripts.TOOLS)
    pair = stage.same(driven(kind, case))
    said = pair.through.said["choices"][0]
    assert said["finish_reason"] == "tool_calls"
    assert [call["id"] for call in said["message"]["tool_calls"]] == ["call_1", "call_2"]
    assert stage.same_request(pair)["tools"] == TOOLS


def test_streamed_tools(stage: Stage, kind: str) -> None:
    """Argument pieces come as the upstream cuts them, each with its call's index."""

    async def case(chat: Chat) -> Any:
        return await chat.streamed(tools=TOOLS, stream_options={"include_usage": True})

    stage.plays(scripts.TOOLS)
    pair = stage.same(driven(kind, case))
    deltas = [chunk["choices"][0]["delta"]["tool_calls"] for chunk in pair.through.said["chunks"] if chunk["choices"]]
    pieces = [(call["index"], call["function"]["arguments"]) for calls in deltas for call in calls or ()]
    assert pieces[:3] == [(0, ""), (0, '{"ci'), (0, 'ty": "Zü')]


@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_a_tool_call_beside_the_role(stage: Stage, kind: str, mode: str) -> None:
    """A server that begins the call in its first chunk, and ends by `stop`, is handed on as it is."""

    async def case(chat: Chat) -> Any:
        return await getattr(chat, mode)(tools=TOOLS)

    stage.plays(scripts.ONE_TOOL)
    stage.same(driven(kind, case))


def test_answers_of_tools(stage: Stage, kind: str) -> None:
    """A conversation with calls and their results reaches the upstream unchanged."""

    async def case(chat: Chat) -> Any:
        return await chat.whole(messages=AFTER_TOOLS, tools=TOOLS)

    stage.plays(scripts.HELLO)
    assert stage.same_request(stage.same(driven(kind, case)))["messages"] == AFTER_TOOLS


def test_a_parsed_answer(stage: Stage, kind: str) -> None:
    """`parse` gives the same object of the caller's own class; the upstream gets the schema."""

    async def case(chat: Chat) -> Any:
        found = await chat.parse(response_format=Book)
        book = found.choices[0].message.parsed
        return {"class": type(book).__name__, "book": book.model_dump(), **seen(found)}

    stage.plays(scripts.SCHEMA)
    pair = stage.same(driven(kind, case))
    assert pair.through.said["book"] == {"title": "Fox 🦊", "pages": [1, 2], "author": {"name": 'A. "B"'}}
    sent = stage.same_request(pair)["response_format"]
    assert (sent["type"], sent["json_schema"]["strict"]) == ("json_schema", True)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_parsed_answer_that_is_not_whole(stage: Stage, kind: str, finish: str) -> None:
    """`parse` raises the same error for an answer that was cut or filtered."""

    async def case(chat: Chat) -> Any:
        try:
            return seen(await chat.parse(response_format=Book))
        except Exception as error:
            return type(error).__name__

    stage.plays(scripts.plain('{"title', finish=finish))
    pair = stage.same(driven(kind, case))
    assert (
        pair.through.said
        == {
            "length": "LengthFinishReasonError",
            "content_filter": "ContentFilterFinishReasonError",
        }[finish]
    )


def test_a_refusal(stage: Stage, kind: str) -> None:
    """The model's own refusal stands in `refusal`, not in the text; whole, streamed and parsed."""

    async def case(chat: Chat) -> Any:
        parsed = await chat.parse(response_format=Book)
        return [await chat.whole(), await chat.streamed(), seen(parsed)]

    stage.plays(scripts.DECLINED)
    pair = stage.same(driven(kind, case), attempts=3)
    assert pair.through.said[0]["choices"][0]["message"]["refusal"] == "I can't."


@pytest.mark.parametrize("script", ["SCHEMA", "TOOLS", "LOGPROBS"])
def test_the_stream_helper(stage: Stage, kind: str, script: str) -> None:
    """The events of `chat.completions.stream`, and the completion that it puts together, are equal."""
    fields: dict[str, Any] = {
        "SCHEMA": {"response_format": Book},
        "TOOLS": {"tools": TOOLS},
        "LOGPROBS": {"logprobs": True},
    }[script]
    if script == "TOOLS":
        fields = {"tools": [{**tool, "function": {**tool["function"], "strict": True}} for tool in TOOLS]}

    async def case(chat: Chat) -> Any:
        return await chat.events(stream_options={"include_usage": True}, **fields)

    stage.plays(getattr(scripts, script))
    pair = stage.same(driven(kind, case))
    last = pair.through.said[-1]
    assert (last["is"], last["usage"]["total_tokens"]) == ("ParsedChatCompletion", {"TOOLS": 91}.get(script, 18))


@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_two_choices(stage: Stage, kind: str, mode: str) -> None:
    """`n: 2` gives two choices, in a stream mixed as the upstream mixes them; usage counts both."""

    async def case(chat: Chat) -> Any:
        options = {"stream_options": {"include_usage": True}} if mode == "streamed" else {}
        return await getattr(chat, mode)(n=2, **options)

    stage.plays(scripts.TWO)
    pair = stage.same(driven(kind, case))
    assert stage.same_request(pair)["n"] == 2
    if mode == "whole":
        assert [choice["message"]["content"] for choice in pair.through.said["choices"]] == ["red", "blue!"]
    else:
        assert text(pair.through.said["chunks"], 1) == ["", "blue", "!", None]


@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_logprobs(stage: Stage, kind: str, mode: str) -> None:
    """Tokens with their alternatives, numbers and bytes come unchanged, in a stream each with its chunk."""

    async def case(chat: Chat) -> Any:
        return await getattr(chat, mode)(logprobs=True, top_logprobs=2)

    stage.plays(scripts.LOGPROBS)
    pair = stage.same(driven(kind, case))
    assert stage.same_request(pair)["top_logprobs"] == 2
    if mode == "whole":
        first, second = pair.through.said["choices"][0]["logprobs"]["content"]
        assert (first["logprob"], second["logprob"], second["top_logprobs"][1]["token"]) == (-0.25, -1.5e-05, ".")


SAMPLING: list[dict[str, Any]] = [
    {"stop": "4"},
    {"stop": ["4", "five"]},
    {"seed": 7, "temperature": 0.25, "top_p": 0.5},
    {"presence_penalty": -0.5, "frequency_penalty": 0.5, "logit_bias": {"50256": -100}},
    {"user": "ann", "metadata": {"team": "x"}, "store": False},
    {"response_format": {"type": "json_object"}},
    {"reasoning_effort": "low", "verbosity": "low"},
]


@pytest.mark.parametrize("fields", SAMPLING, ids=lambda fields: "-".join(fields))
@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_sampling_fields(stage: Stage, kind: str, mode: str, fields: dict[str, Any]) -> None:
    """Fields that steer the model reach it with the values that the caller gave."""

    async def case(chat: Chat) -> Any:
        return await getattr(chat, mode)(**fields)

    stage.plays(scripts.STOPPED)
    sent = stage.same_request(stage.same(driven(kind, case)))
    assert {name: sent[name] for name in fields} == fields


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_a_cap(stage: Stage, kind: str, mode: str, name: str) -> None:
    """A cap reaches the upstream under the name that the caller gave it; its `length` comes back."""

    async def case(chat: Chat) -> Any:
        return await getattr(chat, mode)(**{name: 3})

    stage.plays(scripts.CUT_SHORT)
    pair = stage.same(driven(kind, case))
    assert stage.same_request(pair)[name] == 3
    said = pair.through.said
    last = said["choices"][0] if mode == "whole" else said["chunks"][-1]["choices"][0]
    assert last["finish_reason"] == "length"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_cap_above_the_variants(stage: Stage, kind: str, name: str) -> None:
    """The upstream never gets a larger cap than the variant's, under whatever name the caller asked for it."""

    async def case(chat: Chat) -> Any:
        return await chat.whole(**{name: 1000})

    stage.plays(scripts.HELLO)
    pair = stage.same(driven(kind, case))
    caps = [
        {key: value for key, value in played.asked[0].json.items() if key.startswith("max_")}
        for played in (pair.direct, pair.through)
    ]
    assert caps == [{name: 1000}, {name: CAP}]


def test_options_of_a_stream(stage: Stage, kind: str) -> None:
    """Options that we don't know reach the upstream; that we always ask for usage is not the caller's to see."""
    options = {"include_usage": False, "include_obfuscation": False}

    async def case(chat: Chat) -> Any:
        return await chat.streamed(stream_options=options)

    stage.plays(scripts.HELLO)
    pair = stage.same(driven(kind, case))
    assert pair.direct.asked[0].json["stream_options"] == options
    assert pair.through.asked[0].json["stream_options"] == {**options, "include_usage": True}


def test_the_contract_in_the_body(stage: Stage, kind: str) -> None:
    """Contract terms are ours, as an object or in the metadata: the upstream sees the rest of the metadata alone."""

    async def case(chat: Chat) -> Any:
        metadata = {"team": "x", "trimtab-priority": "batch"}
        return await chat.whole(metadata=metadata, extra_body={"trimtab": {"latency_ms": 3000}})

    stage.plays(scripts.HELLO)
    sent = stage.same(driven(kind, case)).through.asked[0].json
    assert (sent["metadata"], "trimtab" in sent) == ({"team": "x"}, False)
    terms = stage.gateway.last.asked
    assert (terms.latency_ms, terms.priority) == (3000, "batch")


@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_unknown_fields(stage: Stage, kind: str, mode: str) -> None:
    """A field that nobody has heard of reaches the upstream as it is; unknown fields of the answer come back."""
    extra = {"x_new": {"deep": [1, 2.5, None, "ß"], "on": True}, "chat_template_kwargs": {"thinking": False}}

    async def case(chat: Chat) -> Any:
        return await getattr(chat, mode)(extra_body=extra)

    stage.plays(scripts.UNKNOWN)
    pair = stage.same(driven(kind, case))
    sent, said = stage.same_request(pair), pair.through.said
    assert {name: sent[name] for name in extra} == extra
    if mode == "whole":
        assert (said["x_unknown"], said["system_fingerprint"]) == ({"deep": [1, None, "ß"]}, "fp_1")
        assert said["choices"][0]["message"]["reasoning_content"] == "Let me see."
        assert said["choices"][0]["message"]["mood"] == {"calm": 0.5}
        assert said["usage"]["queue_time"] == 0.25


def test_the_heads_of_answers(stage: Stage, kind: str) -> None:
    """`with_raw_response`: status, type and the request's id are there; the parsed answer knows the id."""

    async def case(chat: Chat) -> Any:
        raw = await chat.raw()
        found = raw.parse()
        named = raw.headers["x-request-id"]
        assert named == raw.request_id == found._request_id
        assert named == "req_upstream" or chat.side.is_direct is False
        return {
            "status": raw.status_code,
            "type": raw.headers["content-type"],
            "prefix": named.partition("_")[0],
            "is": type(raw).__name__,
            "retries": raw.retries_taken,
            "answer": seen(found),
        }

    stage.plays(scripts.HELLO)
    stage.same(driven(kind, case), Differs("prefix", "req", "rec", "a request is named by its record"))


def test_the_head_of_a_stream(stage: Stage, kind: str) -> None:
    """A stream is told as such, in UTF-8, and names its request."""

    async def case(chat: Chat) -> Any:
        raw = await chat.raw(stream=True)
        stream = raw.parse()
        return {
            "status": raw.status_code,
            "type": raw.headers["content-type"],
            "named": isinstance(raw.request_id, str),
            "answer": await drained(stream),
        }

    stage.plays(scripts.HELLO)
    pair = stage.same(driven(kind, case))
    assert pair.through.said["type"] == "text/event-stream; charset=utf-8"


def test_whole_answers_in_turn(new_stage: Stage, kind: str) -> None:
    """They all come on one connection, which Trimtab keeps as the upstream does."""

    async def case(chat: Chat) -> Any:
        found = [await chat.whole() for _ in range(4)]
        direct, through = new_stage.upstream.open_connections, new_stage.gateway.listener.connections
        return [found, direct if chat.side.is_direct else through]

    new_stage.plays(scripts.HELLO)
    assert new_stage.same(driven(kind, case), attempts=4).through.said[1] == 1


def test_answers_and_streams_in_turn(stage: Stage, kind: str) -> None:
    """One client after another kind of answer gets the next as if it were its first."""

    async def case(chat: Chat) -> Any:
        usage = {"stream_options": {"include_usage": True}}
        return [[await chat.whole(), await chat.streamed(**usage), await chat.streamed()] for _ in range(2)]

    stage.plays(scripts.HELLO)
    pair = stage.same(driven(kind, case), attempts=6)
    assert pair.through.said[0] == pair.through.said[1]

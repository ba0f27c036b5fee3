"""`ChatOpenAI` of langchain-openai: its messages, chunks, parsed objects and errors are the same through Trimtab.

Besides what every transcript hides: `id` of a message, and in its `response_metadata` the answer's `id` and who it is
from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI

from clients import scripts
from clients.python_client import KINDS, each, settled, told
from clients.stage import SYSTEM, Case, Differs, Side, Stage

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("kind", KINDS)]

HISTORY = [SystemMessage("You are a fox."), HumanMessage("Who?"), AIMessage("A fox."), HumanMessage("And what?")]
SENT = [
    {"role": "system", "content": "You are a fox."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "A fox."},
    {"role": "user", "content": "And what?"},
]


LONG = "prompt is too long: 9000 tokens > 8192 maximum"
"""By these words, not by the code, LangChain knows that a context was exceeded."""


class Author(pydantic.BaseModel):
    """Who wrote it."""

    name: str


class Book(pydantic.BaseModel):
    """A book."""

    title: str
    pages: list[int]
    author: Author


def weather(city: str, days: int) -> str:
    """The forecast for a city."""
    return f"{city} {days}"


class Model:
    """A ChatOpenAI, called by its synchronous or asynchronous methods."""

    def __init__(
        self, kind: str, side: Side, clients: tuple[httpx2.Client, httpx2.AsyncClient], **options: Any
    ) -> None:
        self.kind = kind
        own, own_async = clients
        options = {"model": "gpt-4o", "max_retries": 0, "timeout": 10, **options}
        self.model: Any = ChatOpenAI(
            base_url=side.url, api_key=side.key, http_client=own, http_async_client=own_async, **options
        )

    async def invoke(self, runnable: Any, given: Any = "Hello", **fields: Any) -> Any:
        return await settled(getattr(runnable, "invoke" if self.kind == "sync" else "ainvoke")(given, **fields))

    async def stream(self, runnable: Any, given: Any = "Hello", **fields: Any) -> tuple[list[Any], Exception | None]:
        """What came, and the error that ended it."""
        found: list[Any] = []
        try:
            async for piece in each(getattr(runnable, "stream" if self.kind == "sync" else "astream")(given, **fields)):
                found.append(piece)
        except Exception as raised:
            return found, raised
        return found, None


def driven(kind: str, case: Callable[[Model], Awaitable[Any]], **options: Any) -> Case:
    """The case with a model of its own, made for the side that it is played to."""

    def play(side: Side) -> Any:
        async def main() -> Any:
            with httpx2.Client() as own:
                async with httpx2.AsyncClient() as own_async:
                    return await case(Model(kind, side, (own, own_async), **options))

        return asyncio.run(main())

    return play


def seen(message: Any) -> dict[str, Any]:
    """A message or chunk as plain values."""
    data = message.model_dump()
    about = {name: value for name, value in data["response_metadata"].items() if name not in ("id", "model_name")}
    return {"is": type(message).__name__, **data, "id": type(data["id"]).__name__, "response_metadata": about}


def joined(chunks: list[Any]) -> dict[str, Any]:
    """LangChain's own sum of the chunks."""
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return seen(whole)


def test_invoke(stage: Stage, kind: str) -> None:
    """Content, metadata and usage of the message are equal; the whole conversation reaches the upstream."""

    async def case(model: Model) -> Any:
        return seen(await model.invoke(model.model, HISTORY, stop=["x"], seed=7))

    stage.plays(scripts.COUNTED)
    pair = stage.same(driven(kind, case))
    said, sent = pair.through.said, stage.same_request(pair)
    assert (said["is"], said["content"], said["usage_metadata"]["total_tokens"]) == ("AIMessage", "one two", 29)
    assert (sent["messages"], sent["stop"], sent["seed"]) == (SENT, ["x"], 7)


@pytest.mark.parametrize("usage", [None, False, True])
def test_stream(stage: Stage, kind: str, usage: bool | None) -> None:
    """Chunk for chunk equal, and in sum; usage only for who asks, which with a base URL of one's own nobody does."""
    options = {} if usage is None else {"stream_usage": usage}

    async def case(model: Model) -> Any:
        chunks, error = await model.stream(model.model)
        assert error is None
        return [[seen(chunk) for chunk in chunks], joined(chunks)]

    stage.plays(scripts.COUNTED)
    pair = stage.same(driven(kind, case, **options))
    chunks, whole = pair.through.said
    assert [chunk["content"] for chunk in chunks][:3] == ["", "one", " two"]
    assert (whole["content"], whole["response_metadata"]["finish_reason"]) == ("one two", "stop")
    assert (whole["usage_metadata"] or {}).get("total_tokens") == (29 if usage else None)


def test_tools(stage: Stage, kind: str) -> None:
    """Bound tools: calls with parsed arguments, invoked and streamed; calls and results go back as they came."""

    async def case(model: Model) -> Any:
        bound = model.model.bind_tools([weather], tool_choice="any", parallel_tool_calls=True)
        message = await model.invoke(bound)
        chunks, error = await model.stream(bound)
        results = [ToolMessage("rain", tool_call_id=call["id"]) for call in message.tool_calls]
        last = await model.invoke(bound, [HumanMessage("Weather?"), message, *results])
        return [seen(message), [seen(chunk) for chunk in chunks], joined(chunks), repr(error), seen(last)]

    stage.plays(scripts.TOOLS)
    pair = stage.same(driven(kind, case), attempts=3)
    message, chunks, whole, _, _ = pair.through.said
    first = {"name": "weather", "args": {"city": "Zürich", "days": 3}, "id": "call_1", "type": "tool_call"}
    assert message["tool_calls"][0] == whole["tool_calls"][0] == first
    assert [chunk["tool_call_chunks"][0]["args"] for chunk in chunks[1:5]] == [
        "",
        '{"ci',
        'ty": "Zü',
        'rich", "days": 3}',
    ]
    assert stage.same_request(pair)["tool_choice"] == "required"
    returned = [played.asked[2].json["messages"][-3:] for played in (pair.direct, pair.through)]
    assert returned[0] == returned[1]
    assert [one["role"] for one in returned[0]] == ["assistant", "tool", "tool"]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # LangChain's own, while it streams
def test_structured_output_by_schema(stage: Stage, kind: str) -> None:
    """`with_structured_output`: an object of the caller's own class, from an answer and at the end of a stream."""

    async def case(model: Model) -> Any:
        asks = model.model.with_structured_output(Book, method="json_schema")
        pieces, error = await model.stream(asks)
        assert error is None, repr(error)
        raw = await model.invoke(model.model.with_structured_output(Book, method="json_schema", include_raw=True))
        found = [await model.invoke(asks), pieces[-1], raw["parsed"]]
        return [[(type(one).__name__, one.model_dump()) for one in found], repr(error), seen(raw["raw"])["content"]]

    stage.plays(scripts.SCHEMA)
    pair = stage.same(driven(kind, case), attempts=3)
    book = {"title": "Fox 🦊", "pages": [1, 2], "author": {"name": 'A. "B"'}}
    assert pair.through.said[0] == [["Book", book]] * 3
    assert stage.same_request(pair)["response_format"]["json_schema"]["name"] == "Book"


def test_structured_output_by_a_call(stage: Stage, kind: str) -> None:
    """The same out of a tool call's arguments."""

    async def case(model: Model) -> Any:
        return await model.invoke(model.model.with_structured_output(_FORECAST, method="function_calling"))

    stage.plays(scripts.ONE_TOOL)
    pair = stage.same(driven(kind, case))
    assert pair.through.said == {"city": "Zürich", "days": 3}
    assert stage.same_request(pair)["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


_FORECAST = {
    "title": "weather",
    "description": "The forecast",
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}


@pytest.mark.parametrize("script", ["TWO", "LOGPROBS", "DECLINED", "UNKNOWN", "CUT_SHORT"])
def test_other_answers(stage: Stage, kind: str, script: str) -> None:
    """Several choices, logprobs, a refusal, unknown fields and a length cut, invoked and streamed."""
    options: dict[str, Any] = {"LOGPROBS": {"logprobs": True, "top_logprobs": 2}}.get(script, {})

    async def case(model: Model) -> Any:
        chunks, error = await model.stream(model.model)
        return [seen(await model.invoke(model.model)), [seen(chunk) for chunk in chunks], repr(error)]

    stage.plays(getattr(scripts, script))
    stage.same(driven(kind, case, **options), attempts=2)


def test_errors(new_stage: Stage, kind: str) -> None:
    """LangChain's own classes: a wrong request and one too long in the upstream's words, what is the upstream's fault
    as 502."""

    async def case(model: Model) -> Any:
        found = []
        for _ in range(3):
            _, streamed = await model.stream(model.model)
            assert streamed is not None
            found.append(told(streamed))
            with pytest.raises(openai.APIStatusError) as raised:
                await model.invoke(model.model)
            found.append(told(raised.value))
        return found

    wrong, long = scripts.fails(400, "bad", **scripts.INVALID), scripts.fails(400, LONG, **scripts.CONTEXT)
    fails = {"wrong": wrong, "long": long, "fault": scripts.fails(500)}
    # direct 6 attempts; through us 2 + 4 + 8 for 2 wrong ones, 2 too long ones by both tiers, 2 faults by each twice
    order = {6: ["wrong"] * 2 + ["long"] * 2 + ["fault"] * 2, 14: ["wrong"] * 2 + ["long"] * 4 + ["fault"] * 8}
    new_stage.plays(lambda seen: fails[order[14 if SYSTEM in seen.json["messages"] else 6][seen.nth]](seen))
    why = "the upstream's fault, after each tier was tried twice"
    differences = [
        Differs(f"{at}.{name}", direct, through, why)
        for at in (4, 5)
        for name, direct, through in (
            ("status", 500, 502),
            ("message", "no", "the model's server answered 500"),
            ("code", "500", "upstream_failed"),
            ("type", "error", "server_error"),
        )
    ]
    pair = new_stage.same(driven(kind, case), *differences, attempts=6, upstream=14)
    classes = [one["class"] for one in pair.through.said]
    assert (
        classes[::2] == ["OpenAIInvalidRequestError", "OpenAIContextOverflowError", "OpenAIAPIError"] == classes[1::2]
    )


def test_a_stream_that_breaks(new_stage: Stage, kind: str) -> None:
    """What had come is there, then an error that a program can catch."""

    async def case(model: Model) -> Any:
        chunks, error = await model.stream(model.model)
        assert error is not None
        return [[chunk.content for chunk in chunks], told(error)]

    new_stage.plays(scripts.CUT_MIDWAY)
    broke, why = "the connection to the model's server broke", "an error event says why"
    pair = new_stage.same(
        driven(kind, case),
        Differs("1.class", "OpenAIConnectionError", "APIError", why),
        Differs("1.message", "Connection error.", broke, why),
        Differs("1.code", None, "upstream_failed", why),
        Differs("1.type", None, "server_error", why),
    )
    assert pair.through.said[0] == ["", "one", " two"]


def test_retries(new_stage: Stage, kind: str) -> None:
    """LangChain's retries are OpenAI's: two faults take it three attempts, and one through us, who try
    twice and then the next tier."""

    async def case(model: Model) -> Any:
        return seen(await model.invoke(model.model))

    new_stage.plays(scripts.fails_then(2, 500, scripts.HELLO))
    new_stage.same(driven(kind, case, max_retries=2), attempts=(3, 1), upstream=3)

"""However an upstream cuts and mixes its chunks, what leaves is a stream that its protocol allows, with all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects import grammar
from dialects.wire import named_events
from trimtab.core.money import Usage
from trimtab.core.request import Chunk, Completion, Text
from trimtab.dataplane.inference import Assembler
from trimtab.dataplane.plane import Reply
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.messages import Shown
from trimtab.surfaces.server.messages_out import MessagesReply
from trimtab.surfaces.server.responses import Echo
from trimtab.surfaces.server.responses_out import ResponsesReply

Piece: TypeAlias = "tuple[str, str] | tuple[int, str]"
"""A text of a kind, or the next part of a call's arguments."""
TOP = {"id": "chatcmpl-1", "created": 1, "model": "m"}
_text = st.text(min_size=1, max_size=4)
_texts = st.tuples(st.sampled_from(["content", "reasoning_content", "refusal"]), _text)
_arguments = st.dictionaries(st.text(max_size=2), st.integers() | st.text(max_size=3), max_size=2)
Call: TypeAlias = "dict[str, Any] | str"
"""A call's arguments, or free text."""


class Wire:
    """A connection that keeps what is sent."""

    gone = False

    def __init__(self) -> None:
        self.data = b""

    async def read_body(self, request: HttpRequest) -> None: ...
    def keeps_alive(self, request: HttpRequest) -> bool:
        return True

    def send(self, data: bytes) -> None:
        self.data += data

    def send_soon(self, reply: HttpReply) -> None: ...
    async def writable(self) -> None: ...
    def ended(self, reply: HttpReply) -> None: ...
    def cut(self, reset: bool) -> None: ...


Make: TypeAlias = Callable[[HttpReply], Reply]
DIALECTS: dict[str, tuple[Make, Callable[[list[grammar.Event]], grammar.Kinds]]] = {
    "messages": (lambda http: MessagesReply(http, Shown(), 0), grammar.of_messages),
    "responses": (lambda http: ResponsesReply(http, Echo()), grammar.of_responses),
}


@st.composite
def mixes(draw: st.DrawFn, *, free: bool = False) -> tuple[list[dict[str, Any]], list[Call]]:
    """Deltas of an answer, and its calls' arguments: every call in pieces, in their order, anything between them.
    `free`: tools whose input is free text are called, too."""
    calls: list[Call] = draw(st.lists(_arguments | _text if free else _arguments, max_size=3))
    rest: list[list[dict[str, Any]]] = [[{kind: text}] for kind, text in draw(st.lists(_texts, max_size=6))]
    for index, arguments in enumerate(calls):
        kind, field = ("custom", "input") if isinstance(arguments, str) else ("function", "arguments")
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        parts = [text[one:other] for one, other in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        first = {"index": index, "id": f"call_{index}", "type": kind}
        pieces = [{"tool_calls": [{**first, kind: {"name": f"tool_{index}", field: parts[0]}}]}]
        pieces += [{"tool_calls": [{"index": index, kind: {field: part}}]} for part in parts[1:]]
        rest.append(pieces)
    mixed: list[dict[str, Any]] = []
    while rest:
        row = draw(st.sampled_from(rest))
        mixed.append(row.pop(0))
        rest = [one for one in rest if one]
    return mixed, calls


def items_of(deltas: list[dict[str, Any]]) -> list[Chunk | Text]:
    """As the pipeline hands them over: plain text apart from other chunks."""
    items: list[Chunk | Text] = []
    for delta in deltas:
        if delta.keys() == {"content"}:
            items.append(Text(0, delta["content"], TOP))
        else:
            items.append(Chunk({**TOP, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
    return items


def written(make: Make, batches: list[list[Chunk | Text]], finish: str) -> bytes:
    """The body of a stream of these items, some at a time."""

    async def main() -> bytes:
        wire = Wire()
        http = HttpReply(wire, HttpRequest(wire, "POST", "/", "", {}, http10=True, keep_alive=False))
        reply = make(http)
        reply.start(200, [], stream=True)
        for batch in batches:
            await reply.write(*batch)
        last = {"index": 0, "delta": {}, "finish_reason": finish}
        await reply.write(Chunk({**TOP, "choices": [last]}))
        await reply.write(Chunk({**TOP, "choices": [], "usage": {}}, Usage(prompt=1, completion=2)))
        await reply.end()
        return wire.data.partition(b"\r\n\r\n")[2]

    return asyncio.run(main())


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.data(), st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), st.integers(1, 4))
def test_any_mix_is_a_stream_by_its_grammar(dialect: str, data: st.DataObject, finish: str, at_once: int) -> None:
    """Each block is begun once and ended once, in order; texts of a kind and every call's arguments are all there."""
    make, check = DIALECTS[dialect]
    deltas, calls = data.draw(mixes(free=dialect == "responses"))
    items = items_of(deltas)
    batches = [items[at : at + at_once] for at in range(0, len(items), at_once)]
    blocks = check(named_events(written(make, batches, finish)))
    for kind, names in {"thinking": ("reasoning_content",), "text": ("content", "refusal")}.items():
        told = "".join(text for delta in deltas for name, text in delta.items() if name in names)
        assert "".join(said for one, said in blocks if one == kind) == told
    found = {one: said for one, said in blocks if one.startswith("tool_")}
    assert found.keys() == {f"tool_{index}" for index in range(len(calls))}
    for index, arguments in enumerate(calls):
        said = found[f"tool_{index}"]
        assert arguments == (said if isinstance(arguments, str) else grammar.whole_json(said))


@given(mixes(), st.sampled_from(["stop", "tool_calls"]))
def test_a_whole_message_says_what_its_stream_does(mix: tuple[list[dict[str, Any]], list[Call]], finish: str) -> None:
    """Calls with their arguments and all texts are the same, whether the answer comes at once or in pieces."""
    deltas, calls = mix

    async def main() -> dict[str, Any]:
        assembler = Assembler()
        for item in items_of(deltas):
            assembler.add(item)
        assembler.add(Chunk({**TOP, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        wire = Wire()
        http = HttpReply(wire, HttpRequest(wire, "POST", "/", "", {}, http10=False, keep_alive=True))
        reply = MessagesReply(http, Shown(), 0)
        reply.start(200, [], stream=False)
        await reply.write(Completion({**TOP, **assembler.completion()}, Usage(prompt=1, completion=2)))
        await reply.end()
        message: dict[str, Any] = msgspec.json.decode(wire.data.partition(b"\r\n\r\n")[2])
        return message

    message = asyncio.run(main())
    used = [block["input"] for block in message["content"] if block["type"] == "tool_use"]
    assert sorted(map(repr, used)) == sorted(map(repr, calls))
    assert message["stop_reason"] == ("tool_use" if calls else message["stop_reason"])
    for kind, name in (("thinking", "reasoning_content"), ("text", "content")):
        told = "".join(delta.get(name, "") for delta in deltas)
        assert told in "".join(block[kind] for block in message["content"] if block["type"] == kind)

"""Whole answers out of streams, and streams out of whole answers."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.request import Chunk
from trimtab.dataplane.inference import Assembler, pieces

_text = st.text(max_size=6)
_call = st.fixed_dictionaries(
    {"id": _text, "type": st.just("function"), "function": st.fixed_dictionaries({"name": _text, "arguments": _text})}
)
_message = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | _text},
    optional={"tool_calls": st.lists(_call, min_size=1, max_size=2), "refusal": _text, "mood": _text},
)
_finish = st.sampled_from(["stop", "length", "tool_calls"])


def assembled(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    whole = Assembler()
    for chunk in chunks:
        whole.add(Chunk(chunk))
    choices: list[dict[str, Any]] = whole.completion()["choices"]
    return choices


@given(st.lists(st.tuples(_message, _finish), min_size=1, max_size=3))
def test_a_whole_answer_survives_being_streamed(messages: list[tuple[dict[str, Any], str]]) -> None:
    """Cut into pieces and put together again it is the same, and neither step changes what it was given."""
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
        for index, (message, finish) in enumerate(messages)
    ]
    before = copy.deepcopy(choices)
    chunks = [chunk.data for chunk in pieces({"choices": choices})]
    cut = copy.deepcopy(chunks)
    assert assembled(chunks) == choices == before
    assert chunks == cut


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["content", "refusal", "arguments"]), _text), max_size=30),
    st.booleans(),
)
def test_interleaved_texts_are_joined_each_by_itself(parts: list[tuple[int, str, str]], strange: bool) -> None:
    """Contents, refusals and tool arguments of several choices in any order: each is its own parts in order."""
    chunks: list[dict[str, Any]] = [
        {"id": "x", "model": "m", "choices": [{"index": index, "delta": {"role": "assistant"}}]} for index in range(3)
    ]
    for index, kind, text in parts:
        delta: dict[str, Any] = {kind: text}
        if kind == "arguments":
            delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        chunk: dict[str, Any] = {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        if strange:
            chunk["unheard_of"] = text
        chunks.append(chunk)
    for choice in assembled(chunks):
        mine = [(kind, text) for index, kind, text in parts if index == choice["index"]]
        message = choice["message"]
        for kind in ("content", "refusal"):
            expected = [text for name, text in mine if name == kind]
            assert (message.get(kind) or "") == "".join(expected)
        arguments = [text for name, text in mine if name == "arguments"]
        if arguments:
            assert message["tool_calls"][0]["function"]["arguments"] == "".join(arguments)


def test_what_we_have_never_heard_of_is_kept() -> None:
    """Unknown fields on top, in a choice and in a message; lists are joined, logprobs too."""
    whole = Assembler()
    for letter in "ab":
        delta = {"content": letter, "notes": [letter]}
        logprobs = {"content": [{"token": letter}]}
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "seen": letter}
        whole.add(Chunk({"weather": letter, "choices": [choice]}))
    completion = whole.completion()
    assert completion["weather"] == "b"
    choice = completion["choices"][0]
    assert choice["seen"] == "b"
    assert choice["message"] == {"role": "assistant", "content": "ab", "notes": ["a", "b"]}
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}

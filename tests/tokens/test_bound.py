"""The bound that money is reserved by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.texts import corpus
from trimtab.foundations.tokens import prompt_bound, text_bytes

TOOL = {"type": "function", "function": {"name": "f", "description": "é", "parameters": {"type": "object"}}}


@given(st.text())
def test_bytes_of_a_text(text: str) -> None:
    """A text counts its UTF-8 bytes, whatever it holds."""
    assert text_bytes(text) == len(text.encode())


def test_a_lone_surrogate_is_counted_not_raised() -> None:
    """What JSON may smuggle in as half a character costs its bytes."""
    assert text_bytes("\ud800") == 3
    assert prompt_bound([{"role": "user", "content": "\ud800"}], {"tools": [{"x": "\ud800"}]}) is not None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://x"}},
        {"type": "input_audio", "input_audio": {"data": ""}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "something-new"},
        7,
    ],
)
def test_media_and_unknown_parts_cannot_be_bounded(part: Any) -> None:
    """Whatever is not text gives None, so that the caller refuses rather than guesses."""
    assert prompt_bound([{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]) is None


def test_audio_of_an_earlier_answer_cannot_be_bounded() -> None:
    """An assistant message may name audio in place of content."""
    assert prompt_bound([{"role": "assistant", "audio": {"id": "a"}}]) is None


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [TOOL]},
        {"functions": [TOOL]},
        {"response_format": {"type": "json_schema"}},
        {"never_heard_of": "x" * 9},
    ],
)
def test_fields_that_reach_the_prompt_are_counted(extra: dict[str, Any]) -> None:
    """Tools, formats and fields nobody has heard of add their bytes at least."""
    plain = prompt_bound([{"role": "user", "content": "a"}])
    more = prompt_bound([{"role": "user", "content": "a"}], extra)
    assert plain is not None
    assert more is not None
    assert more >= plain + len(repr(next(iter(extra.values()))).replace(" ", "").encode())


def test_fields_that_never_reach_the_prompt_are_free() -> None:
    """Sampling, limits and bookkeeping cost no prompt tokens."""
    extra = {"temperature": 0.1, "logit_bias": {str(i): 1 for i in range(300)}, "metadata": {"a": "b" * 100}, "seed": 7}
    messages = [{"role": "user", "content": "a"}]
    assert prompt_bound(messages, extra) == prompt_bound(messages)


messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={
            "content": st.one_of(
                st.none(), st.text(), st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
            ),
            "name": st.text(),
            "tool_calls": st.lists(st.dictionaries(st.text(), st.text())),
        },
    )
)


@given(messages, messages)
def test_more_messages_never_cost_less(some: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    """The bound grows with every message, and never falls below the bytes of all content."""
    one, both = prompt_bound(some), prompt_bound(some + more)
    assert one is not None
    assert both is not None
    assert both >= one + 8 * len(more)
    assert one >= sum(text_bytes(m["content"]) for m in some if isinstance(m.get("content"), str))


def test_every_text_costs_at_least_its_bytes() -> None:
    """The corpus of the tokenizer's test, seen by the bound."""
    assert all((prompt_bound([{"role": "user", "content": t}]) or 0) > text_bytes(t) for t in corpus())

"""Which requests and answers the cache is for, and an answer's way back into a stream."""

from __future__ import annotations

from typing import Any

import pytest

from cache._answers import VARIANT, completion, entry
from trimtab.core.tenancy import CacheTerms
from trimtab.dataplane.cache import Entry, bypass_reason, storable, usable


@pytest.mark.parametrize(
    ("request_", "reuse", "reason"),
    [
        ({}, True, None),
        ({}, False, "reuse"),
        ({"temperature": 0.0}, False, None),
        ({"temperature": 0.0}, True, None),
        ({"temperature": 0.1}, True, "temperature"),
        ({"temperature": 0.0, "n": 2}, True, "n"),
        ({"temperature": 0.0, "logprobs": True}, True, "logprobs"),
        ({"temperature": 0.0, "has_tools": True}, True, "tools"),
    ],
)
def test_who_goes_past_the_cache(request_: dict[str, Any], reuse: bool, reason: str | None) -> None:
    """Only deterministic requests, or those of a channel whose answers may be reused, use the cache."""
    asked: dict[str, Any] = {"temperature": None, "n": 1, "logprobs": False, "has_tools": False, **request_}
    assert bypass_reason(**asked, terms=CacheTerms(reuse=reuse)) == reason


@pytest.mark.parametrize(
    ("reasons", "whole"),
    [
        (["stop"], True),
        (["stop", "tool_calls"], True),
        (["stop", "length"], False),
        (["content_filter"], False),
        ([None], False),
        ([], False),
    ],
)
def test_only_whole_answers_are_kept(reasons: list[str | None], whole: bool) -> None:
    """An answer is kept if every choice ended by itself."""
    assert storable(reasons) is whole


@pytest.mark.parametrize(
    ("data", "placeholders"),
    [
        (completion("to <EMAIL_1> and <EMAIL_12>, not <email_2> or EMAIL_3"), {"<EMAIL_1>", "<EMAIL_12>"}),
        (completion(None, tool_calls=[{"function": {"arguments": '{"a":"<EMAIL_2>"}'}}]), {"<EMAIL_2>"}),
        (completion(None, tool_calls=[{"function": {"arguments": r'{"a":"\u003cEMAIL_2\u003e"}'}}]), {"<EMAIL_2>"}),
        (completion("a", reasoning_content="<PHONE_1>"), {"<PHONE_1>"}),
        (completion("hello"), set()),
    ],
)
def test_placeholders_of_an_answer(data: dict[str, Any], placeholders: set[str]) -> None:
    """Every placeholder in an answer, wherever it stands, must stand for something in the request that it answers."""
    kept = Entry.of(data=data, usage=None, variant=VARIANT, expires_ns=1)
    assert kept.placeholders == placeholders
    values = tuple((placeholder, "x") for placeholder in sorted(placeholders))
    assert usable(kept, (*values, ("<EMAIL_9>", "y")))
    assert usable(kept, values[1:]) is not bool(placeholders)


def test_an_entry_is_a_copy() -> None:
    """What its maker does to the answer afterwards changes nothing; it names who answered, and knows its size."""
    data = completion("hello")
    kept = Entry.of(data=data, usage=None, variant=VARIANT, expires_ns=1)
    data["choices"][0]["message"]["content"] = "changed"
    assert kept.data == completion("hello")
    assert (kept.variant, kept.variant_name, kept.tier) == ("small@00000000", "small", "S")
    assert entry("x" * 1000).size - entry("").size == 1000

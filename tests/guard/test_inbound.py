"""The way in: addresses become placeholders."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.rows import GuardRow
from trimtab.dataplane.guard import CHECKS_IN, screen_in


def user(content: Any, **more: Any) -> dict[str, Any]:
    """A message of the user."""
    return {"role": "user", "content": content, **more}


def test_without_an_address_nothing_is_copied() -> None:
    """Where there is nothing to find the same objects come back, and the row says none."""
    messages, extra = (user("hello"), user([{"type": "text", "text": "a @ b"}])), {"tools": [{"a": "@b"}]}
    screened = screen_in(messages, extra, ["email"])
    assert screened.messages is messages
    assert screened.extra is extra
    assert screened.values == ()
    assert screened.rows == [GuardRow(stage="in", check="email", hits=0, action="none")]


def test_without_the_check_nothing_is_looked_at() -> None:
    """A channel that lists no check has its texts as they are, and no row."""
    messages = (user("joe@example.com"),)
    screened = screen_in(messages, {}, [])
    assert screened.messages is messages
    assert screened.rows == []


def test_an_unknown_check_is_refused() -> None:
    """A check that nobody would do is an error that names it and what there is."""
    with pytest.raises(ValueError, match="no guard check is named fax; there is card, email, iban, phone"):
        screen_in((), {}, ["email", "fax"])
    assert frozenset({"email", "phone", "card", "iban"}) == CHECKS_IN


def test_every_string_is_screened() -> None:
    """Content, parts, names, tool calls, tool results, all fields of the body are screened; names of fields are not."""
    a = "a@x.de"
    messages = (
        user(f"I am {a}", name=a),
        user([{"type": "text", "text": a}, {"type": "image_url", "image_url": {"url": f"https://h/{a}"}}]),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": f'{{"to":"{a}"}}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": f'{{"ok":"{a}"}}'},
    )
    extra = {
        "tools": [{"function": {"description": a}}],
        "user": a,
        "metadata": {"k": a, a: 1},
        "unknown": [[{"x": [a]}]],
    }
    screened = screen_in(messages, extra, ["email"])
    left = msgspec.json.encode([screened.messages, screened.extra])
    assert left.count(b"a@x.de") == 1  # the name of a field
    assert left.count(b"<EMAIL_1>") == 10
    assert screened.rows[0].hits == 10
    assert msgspec.json.decode(screened.messages[2]["tool_calls"][0]["function"]["arguments"]) == {"to": "<EMAIL_1>"}


def test_numbers_go_by_first_appearance() -> None:
    """The same address has the same number wherever it stands, others have others; messages before other fields."""
    messages = (user("b@x.de a@x.de B@x.de"), user("a@X.DE b@x.de"))
    screened = screen_in(messages, {"user": "a@x.de c@x.de"}, ["email", "email"])
    assert [message["content"] for message in screened.messages] == [
        "<EMAIL_1> <EMAIL_2> <EMAIL_3>",
        "<EMAIL_2> <EMAIL_1>",
    ]
    assert screened.extra == {"user": "<EMAIL_2> <EMAIL_4>"}
    assert screened.values == (
        ("<EMAIL_1>", "b@x.de"),
        ("<EMAIL_2>", "a@x.de"),
        ("<EMAIL_3>", "B@x.de"),
        ("<EMAIL_4>", "c@x.de"),
    )
    assert len(screened.rows) == 1


def test_the_callers_own_placeholders_are_never_ours() -> None:
    """A number that the input mentions, even as the name of a field, stands for nothing of ours."""
    messages = (user("what is <EMAIL_1>? and EMAIL_3? a@x.de b@x.de"),)
    screened = screen_in(messages, {"tools": {"<EMAIL_4>": 1}}, ["email"])
    assert screened.messages[0]["content"] == "what is <EMAIL_1>? and EMAIL_3? <EMAIL_2> <EMAIL_5>"
    assert screened.values == (("<EMAIL_2>", "a@x.de"), ("<EMAIL_5>", "b@x.de"))


def test_only_what_changes_is_copied() -> None:
    """The input stays as it was, and messages and fields without a find are the same objects."""
    messages = (user("hello"), user([{"type": "text", "text": "x"}, {"type": "text", "text": "a@x.de"}]))
    extra = {"tools": [{"a": 1}], "user": "a@x.de"}
    before = deepcopy((messages, extra))
    screened = screen_in(messages, extra, ["email"])
    assert (messages, extra) == before
    assert screened.messages[0] is messages[0]
    assert screened.messages[1]["content"][0] is messages[1]["content"][0]
    assert screened.messages[1]["content"][1] == {"type": "text", "text": "<EMAIL_1>"}
    assert screened.extra["tools"] is extra["tools"]


def test_no_depth_is_too_deep() -> None:
    """Nesting deeper than Python's stack is screened like any other."""
    deep: Any = "a@x.de"
    for _ in range(50_000):
        deep = [deep]
    screened = screen_in((), {"x": deep}, ["email"])
    found = screened.extra["x"]
    while isinstance(found, list):
        found = found[0]
    assert found == "<EMAIL_1>"


_text = st.lists(
    st.sampled_from(["a@x.de", "b@x.de", "A@x.de", "a@X.de", " ", "<EMAIL_1>", "<EMAIL_2>", "EMAIL_3", "x", "@", "é"]),
    max_size=8,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(_text, max_size=4), st.dictionaries(_text, _text, max_size=2))
def test_placeholders_can_be_undone(texts: list[str], extra: dict[str, str]) -> None:
    """Putting each value back in the place of its placeholder gives the input, but for the form of repeated addresses;
    placeholders are new to the input and differ; the same input gives the same again."""
    messages = tuple(user(text) for text in texts)
    screened = screen_in(messages, extra, ["email"])
    assert screen_in(messages, extra, ["email"]) == screened
    table = dict(screened.values)
    assert len(table) == len(screened.values) == len({value for _, value in screened.values})
    for placeholder in table:
        assert placeholder not in str([texts, extra])

    def restored(text: str) -> str:
        return re.sub(r"<EMAIL_\d+>", lambda match: table.get(match[0], match[0]), text)

    shown = [restored(message["content"]) for message in screened.messages]
    assert [text.replace("@X.", "@x.") for text in shown] == [text.replace("@X.", "@x.") for text in texts]
    assert "@x.de" not in str([message["content"] for message in screened.messages])

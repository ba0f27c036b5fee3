"""Placeholders become the caller's own values again."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard._streams import chunk, content, sent
from trimtab.core.rows import GuardRow
from trimtab.dataplane.guard import OutScreen, screen_in

VALUES = (("<EMAIL_1>", "joe@example.com"), ("<EMAIL_11>", 'o"k\\é@example.com'), ("<EMAIL_4>", "ann@example.com"))
TABLE = dict(VALUES)


def screen(*deny: str, restore: bool = True) -> OutScreen:
    """A screen that restores VALUES."""
    return OutScreen(["deny"], deny, VALUES, restore)


@pytest.mark.parametrize(
    ("said", "released"),
    [
        ("write to <EMAIL_1>.", "write to joe@example.com."),
        ("<EMAIL_4><EMAIL_1>", "ann@example.comjoe@example.com"),
        ("<EMAIL_11> <EMAIL_1>1>", 'o"k\\é@example.com joe@example.com1>'),
        ("<EMAIL_2> <EMAIL_111> <PHONE_1>", "<EMAIL_2> <EMAIL_111> <PHONE_1>"),
        ("<<EMAIL_1>> <EMA <EMAIL_ 1>", "<joe@example.com> <EMA <EMAIL_ 1>"),
        ("a < b > c <email_1> EMAIL_1", "a < b > c <email_1> EMAIL_1"),
        ("ends with <EMAIL_1", "ends with <EMAIL_1"),
        (r"\u003cEMAIL_1\u003e", r"\u003cEMAIL_1\u003e"),
    ],
)
def test_what_is_restored(said: str, released: str) -> None:
    """Exactly this request's placeholders are restored, cut anywhere; all other text stays as it is."""
    assert content(screen(), [said]) == released
    assert content(screen(), said) == released


def test_without_restore_placeholders_stay() -> None:
    """A channel that does not restore has its placeholders go out as the model wrote them."""
    one = screen(restore=False)
    assert one.passes
    assert content(one, ["<EMAIL_1>"]) == "<EMAIL_1>"
    assert [row.check for row in one.rows()] == ["deny"]


def test_restored_values_are_counted() -> None:
    """The row of what was restored has the number of placeholders, of all texts together."""
    one = screen()
    sent(
        one,
        [chunk(((0, "content"), "<EMAIL_1><EMAIL_2>"), ((1, 0), "<EMAIL_4>")), chunk(((0, "content"), "<EMAIL_1>"))],
    )
    assert one.rows()[1] == GuardRow(stage="out", check="restore", hits=3, action="restored")
    assert screen().rows()[1].action == "none"


@pytest.mark.parametrize(("opening", "closing"), [("<", ">"), (r"\u003c", r"\u003e"), (r"\u003C", r"\u003E")])
def test_arguments_stay_json(opening: str, closing: str) -> None:
    """In tool-call arguments values are escaped, and placeholders are known in the escapes that servers write."""
    said = f'{{"to":"{opening}EMAIL_11{closing}","or":"a\\u003cb"}}'
    for cut in ([said], list(said)):
        released = sent(screen(), [chunk(((0, 3), text)) for text in cut])[0, 3]
        assert msgspec.json.decode(released) == {"to": TABLE["<EMAIL_11>"], "or": "a<b"}


def test_only_the_beginning_of_a_placeholder_is_held() -> None:
    """Text goes at once up to what may still become one of this request's placeholders."""
    one = screen()
    steps = [
        ("a <", "a "),
        ("b", "<b"),
        ("<EMAIL_", ""),
        ("2", "<EMAIL_2"),
        ("> <EMAIL_1", "> "),
        (">!", "joe@example.com!"),
    ]
    for said, released in steps:
        out = one.feed(chunk(((0, "content"), said)))
        assert ("" if out is None else out.choices[0]["delta"]["content"]) == released


def test_what_counts_is_what_the_client_would_read() -> None:
    """A deny text that a restored value completes is found; one that only the placeholder's letters make is not."""
    for said in (["mail <EMAIL_1> now"], list("mail <EMAIL_1> now")):
        one = screen("mail joe@example.com now")
        assert content(one, said) == ""
        assert one.violation == "deny"
        assert content(screen("EMAIL_1"), said) == "mail joe@example.com now"


_piece = st.sampled_from(
    ["<EMAIL_1>", "<EMAIL_11>", "<EMAIL_4>", "<EMAIL_2>", "<", ">", "EMAIL_1", "1", "<EMAIL_", " ", "é"]
)


@settings(max_examples=200, deadline=None)
@given(
    st.data(), st.lists(_piece, max_size=10).map("".join), st.sampled_from([(), ("joe@ex",), ("1>",), ("é <EMAIL_2",)])
)
def test_cutting_changes_nothing(data: st.DataObject, text: str, deny: tuple[str, ...]) -> None:
    """However a text is cut, what is released is the text with its placeholders replaced, as far as that may leave."""
    places = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    one = screen(*deny)
    released = content(one, [text[start:end] for start, end in pairwise(places)])
    expected = re.sub(r"<[A-Z]+_\d+>", lambda match: TABLE.get(match[0], match[0]), text)
    assert (one.violation is not None) is any(forbidden in expected for forbidden in deny)
    assert expected.startswith(released)
    assert one.violation or released == expected
    assert not any(forbidden in released for forbidden in deny)


_said = st.sampled_from(["a@x.de", "b@y.de", "c@zé.de", "<EMAIL_1>", "<EMAIL_2>", "EMAIL_3", " ", "é", "<", ">", "@"])


@settings(max_examples=100, deadline=None)
@given(st.lists(_said, max_size=10).map("".join))
def test_there_and_back(text: str) -> None:
    """What the way in takes out of a text the way out puts back exactly, if the model repeats it."""
    screened = screen_in(({"role": "user", "content": text},), {}, ["email"])
    one = OutScreen(["deny"], [], screened.values, True)
    assert content(one, screened.messages[0]["content"]) == text

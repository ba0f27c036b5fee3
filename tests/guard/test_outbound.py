"""Chunks on their way out: which fields are guarded, and what is left of a chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard._streams import Piece, Where, chunk, pieces, sent
from trimtab.core.money import Usage
from trimtab.core.request import Chunk, Text
from trimtab.dataplane.guard import CHECKS_OUT, OutScreen
from trimtab.dataplane.inference import Assembler
from trimtab.dataplane.inference import pieces as whole_in_pieces

VALUES = (("<EMAIL_1>", "joe@example.com"),)


def screen(deny: list[str] | None = None) -> OutScreen:
    """A screen that looks for `bad text` and restores one address."""
    return OutScreen(["deny"], ["bad text"] if deny is None else deny, VALUES, True)


def one_choice(delta: dict[str, Any], finish: str | None = None, **more: Any) -> Chunk:
    """A chunk of one choice."""
    return Chunk({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]})


def test_an_unknown_check_is_refused() -> None:
    """A check that nobody would do is an error that names it and what there is."""
    with pytest.raises(ValueError, match="no guard check is named toxicity; there is card, deny, email, iban, phone"):
        OutScreen(["toxicity"], [], (), True)
    assert frozenset({"deny", "email", "phone", "card", "iban"}) == CHECKS_OUT


def test_deny_texts_need_their_check() -> None:
    """Deny texts that no check looks for leave nothing to do."""
    assert OutScreen([], ["bad text"], (), True).passes
    assert OutScreen([], ["bad text"], (), True).rows() == []
    assert not OutScreen([], [], VALUES, True).passes


def test_a_chunk_that_loses_nothing_is_the_same_object() -> None:
    """Role, text that may go, tool calls, usage and unknown fields pass untouched."""
    one = screen()
    for given_chunk in (
        one_choice({"role": "assistant", "content": ""}),
        one_choice({"content": "hello"}, logprobs={"content": [{"token": "hello"}]}),
        one_choice(
            {"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        ),
        one_choice({}, None, stop_reason=None),
        one_choice({}, "stop"),
        Chunk({"id": "c", "choices": []}, Usage(prompt=1)),
        Chunk({"id": "c", "choices": [], "unknown": {"a": ["fine"]}}),
    ):
        assert one.feed(given_chunk) is given_chunk


def test_a_role_is_no_text() -> None:
    """The role leaves with its chunk, whatever deny text it might begin."""
    given_chunk = one_choice({"role": "assistant"})
    assert screen(["assistants are bad"]).feed(given_chunk) is given_chunk


def test_the_given_chunk_is_never_changed() -> None:
    """Who holds the chunk that was fed still has it whole: the cache is filled from it."""
    one = screen()
    given_chunk = one_choice({"content": "a b", "tool_calls": [{"index": 0, "function": {"arguments": "<"}}]})
    before = repr(given_chunk)
    one.feed(given_chunk)
    assert repr(given_chunk) == before


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        ({"content": "b"}, {"content": "b"}),
        ({"reasoning_content": "b"}, {"reasoning_content": "b"}),
        ({"refusal": "b"}, {"refusal": "b"}),
        ({"anything": "b"}, {"anything": "b"}),
        ({"function_call": {"arguments": "b"}}, {"function_call": {"arguments": "b"}}),
        (
            {"tool_calls": [{"index": 2, "type": "function", "function": {"arguments": "b"}}]},
            {"tool_calls": [{"index": 2, "function": {"arguments": "b"}}]},
        ),
        (
            {"tool_calls": [{"index": 2, "custom": {"input": "b"}}]},
            {"tool_calls": [{"index": 2, "custom": {"input": "b"}}]},
        ),
    ],
)
def test_held_text_leaves_with_the_finish(first: dict[str, Any], rest: dict[str, Any]) -> None:
    """A chunk all of which is held is not sent; what was held goes in the chunk of the finish, or with `finish`."""
    one = screen()
    assert one.feed(one_choice(first)) is None
    last = one.feed(one_choice({}, "stop", stop_reason=7))
    assert last is not None
    assert last.choices == [{"index": 0, "delta": rest, "finish_reason": "stop", "stop_reason": 7}]
    assert one.finish() == []
    cut_off = screen()
    assert cut_off.feed(one_choice(first)) is None
    assert [made.data for made in cut_off.finish()] == [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": rest, "finish_reason": None}]}
    ]
    assert cut_off.finish() == []


def test_text_with_its_finish_leaves_whole() -> None:
    """Nothing is held of a text that comes with its finish reason; other choices go on."""
    one = screen()
    assert one.feed(chunk(((0, "content"), "b"), ((1, "content"), "b"))) is None
    last = one.feed(chunk(((0, "content"), "a"), finish=[0]))
    assert last is not None
    assert list(pieces(last)) == [((0, "content"), "ba")]
    assert [list(pieces(made)) for made in one.finish()] == [[((1, "content"), "b")]]


def test_what_a_chunk_says_besides_is_kept() -> None:
    """Role, a call's id and name, usage and unknown fields go at once, though the text beside them is held."""
    one = screen()
    out = one.feed(one_choice({"role": "assistant", "content": "b"}))
    assert out is not None
    assert out.choices[0]["delta"] == {"role": "assistant"}
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "b"}}
    out = one.feed(one_choice({"tool_calls": [call, {"index": 1, "function": {"arguments": "b"}}]}))
    assert out is not None
    assert out.choices[0]["delta"] == {"tool_calls": [{**call, "function": {"name": "f", "arguments": ""}}]}
    out = one.feed(Chunk(one_choice({"content": " "}).data, Usage(completion=1)))
    assert out is not None
    assert out.usage == Usage(completion=1)
    assert out.choices[0]["delta"] == {"content": "b "}
    out = one.feed(Chunk(one_choice({"content": "b"}).data, Usage(completion=2)))
    assert out is not None
    assert out.choices == [{"index": 0, "delta": {}, "finish_reason": None}]


def test_logprobs_wait_for_their_text() -> None:
    """Entries of held text leave with the chunk that lets the last of it go, in order; after a violation, never."""
    one = screen()
    entries = [{"content": [{"token": token}], "refusal": None} for token in ("a b", "ad", " x", "!")]
    out = one.feed(one_choice({"content": "a b"}, logprobs=entries[0]))
    assert out is not None
    assert out.choices[0] == {"index": 0, "delta": {"content": "a "}, "finish_reason": None, "logprobs": None}
    assert one.feed(one_choice({"content": "ad"}, logprobs=entries[1])) is None
    out = one.feed(one_choice({"content": " x"}, logprobs=entries[2]))
    assert out is not None
    assert out.choices[0]["delta"] == {"content": "bad x"}
    assert out.choices[0]["logprobs"] == {
        "content": [{"token": "a b"}, {"token": "ad"}, {"token": " x"}],
        "refusal": None,
    }
    same = one_choice({"content": "!"}, logprobs=entries[3])
    assert one.feed(same) is same
    assert one.feed(one_choice({"content": "b"}, logprobs=entries[0])) is None
    [last] = one.finish()
    assert last.choices[0]["logprobs"] == entries[0]
    bad = screen()
    bad.feed(one_choice({"content": "a bad"}, logprobs=entries[0]))
    out = bad.feed(one_choice({"content": " text"}, logprobs=entries[1]))
    assert out is None or not out.choices[0].get("logprobs")
    assert bad.finish() == []
    other = screen()
    call = {"index": 0, "function": {"arguments": "bad text"}}
    assert other.feed(one_choice({"tool_calls": [call], "content": "a b"}, logprobs=entries[0])) is None


def test_unknown_fields_are_no_way_round() -> None:
    """A deny text in a field that nobody knows does not leave, however deep; placeholders in it are restored."""
    for place in (
        {"delta": {"details": [{"text": "a bad text"}]}},
        {"delta": {}, "message": {"content": "a bad text"}},
        {"delta": {}, "note": "a bad text"},
    ):
        one = screen()
        out = one.feed(Chunk({"id": "c", "choices": [{"index": 0, "finish_reason": None, **place}]}))
        assert one.violation == "deny"
        assert "bad text" not in repr(out)
    top = screen()
    assert "bad text" not in repr(top.feed(Chunk({"id": "c", "choices": [], "sources": ["bad text"]})))
    assert top.violation == "deny"
    both = screen()
    assert both.feed(Chunk(one_choice({"content": "hello"}).data | {"sources": ["bad text"]})) is None
    fine = screen()
    out = fine.feed(one_choice({"details": [{"text": "<EMAIL_1>"}]}))
    assert out is not None
    assert out.choices[0]["delta"] == {"details": [{"text": "joe@example.com"}]}
    assert fine.rows()[1].hits == 1


def test_one_choice_stops_all() -> None:
    """Once one choice has said a deny text, the others say nothing more, not even in the same chunk."""
    one = screen()
    out = one.feed(
        chunk(((0, "content"), "one"), ((1, "content"), "two bad text"), ((2, "content"), "three"), finish=[0])
    )
    assert out is not None
    assert list(pieces(out)) == [((0, "content"), "one"), ((1, "content"), "two ")]
    assert one.feed(chunk(((0, "content"), "more"))) is None


PLACES: list[Where] = [(0, "content"), (0, "reasoning_content"), (1, "content"), (0, 0), (0, 1), (1, 0)]
_texts = st.lists(
    st.sampled_from(["ba", "bad", " ", "text", "tex", "<EMAIL_1>", "<EMA", "IL_1>", "a", "\u200b", "\n", "x"]),
    max_size=6,
).map("".join)


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[Where, str], list[Chunk]]:
    """Texts for some places, and chunks that say them: cut anywhere, interleaved, several in a chunk, choices ended."""
    texts = draw(st.dictionaries(st.sampled_from(PLACES), _texts, min_size=1))
    left = dict(texts)
    chunks: list[Chunk] = []
    while any(left.values()):
        said: list[Piece] = []
        for where in draw(st.lists(st.sampled_from(sorted(left, key=str)), min_size=1, max_size=3, unique=True)):
            size = draw(st.integers(0, len(left[where])))
            said.append((where, left[where][:size]))
            left[where] = left[where][size:]
        if not any(text for _, text in said):
            where = next(where for where, text in left.items() if text)
            said, left[where] = [(where, left[where])], ""
        chunks.append(chunk(*said))
    if draw(st.booleans()):
        chunks.append(chunk(finish={where[0] for where in texts}))
    return texts, chunks


@settings(max_examples=200, deadline=None)
@given(streams())
def test_texts_are_guarded_each_by_itself(made: tuple[dict[Where, str], list[Chunk]]) -> None:
    """However several texts are cut and interleaved, each is released as if it came alone in one piece; once one of
    them holds a deny text, each is released at most as far as it would be alone."""
    texts, chunks = made
    alone: dict[Where, str] = {}
    violated = False
    for where, text in texts.items():
        single = screen()
        alone[where] = sent(single, [chunk((where, text))]).get(where, "")
        violated = violated or single.violation is not None
    together = screen()
    released = sent(together, chunks)
    assert (together.violation is not None) is violated
    for where, expected in alone.items():
        assert expected.startswith(released.get(where, ""))
        assert violated or released.get(where, "") == expected
        folded = " ".join(released.get(where, "").replace("\u200b", "").split())
        assert "bad text" not in folded
    assert set(released) <= set(texts)


_MORE = ["ba", "bad", " ", "text", "<EMAIL_1>", "<EMA", "IL_1>", "x ", "joe@", "shop.example", "plain words", "b", ""]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(_MORE), st.booleans()), max_size=12),
    st.lists(st.integers(1, 5), max_size=12),
    st.sampled_from([("deny",), ("deny", "email"), ("email",), ()]),
)
def test_events_that_came_together_are_told_like_one_after_the_other(
    said: list[tuple[int, str, bool]], sizes: list[int], checks: tuple[str, ...]
) -> None:
    """Texts and other chunks, cut anywhere and grouped anyhow: the same leaves, and the same is found."""

    def events() -> list[Chunk | Text]:
        top = {"id": "c"}
        return [
            Text(index, text, top) if plain and text else chunk(((index, "content"), text))
            for index, text, plain in said
        ]

    def told(out: Iterable[Chunk | Text]) -> dict[int, str]:
        """Each choice's text: what is held for one event need not be for two."""
        texts = {0: "", 1: ""}
        for one in out:
            for (index, _), text in pieces(one.chunk() if isinstance(one, Text) else one):
                texts[index] += text
        return texts

    single, grouped = (OutScreen(checks, ["bad text"], VALUES, True) for _ in range(2))
    apart: list[Chunk | Text] = [out for event in events() if (out := single.feed(event)) is not None]
    together: list[Chunk | Text] = []
    rest = events()
    for size in [*sizes, len(rest) + 1]:
        together += grouped.feed_all(rest[:size])
        rest = rest[size:]
    assert told(together) == told(apart)
    assert grouped.violation == single.violation
    assert told(grouped.finish()) == told(single.finish())
    assert grouped.rows() == single.rows()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(_MORE), max_size=6).map("".join),
    st.sampled_from([("deny",), ("deny", "email"), ("email",), ()]),
    st.sampled_from([{}, {"refusal": None}, {"reasoning_content": "bad text"}, {"tool_calls": []}]),
)
def test_a_whole_answer_that_is_cleared_would_lose_nothing_in_pieces(
    text: str, checks: tuple[str, ...], more: dict[str, Any]
) -> None:
    """`clears` is the short way, and only where the long one changes and finds nothing."""
    message = {"role": "assistant", "content": text, **more}
    completion = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]}
    cleared = OutScreen(checks, ["bad text"], VALUES, True).clears(completion)
    screen = OutScreen(checks, ["bad text"], VALUES, True)
    left = Assembler()
    for piece in whole_in_pieces(completion):
        if (out := screen.feed(piece)) is not None:
            left.add(out)
    if cleared:
        assert screen.violation is None
        assert left.completion()["choices"][0]["message"] == message
    assert cleared or text or more

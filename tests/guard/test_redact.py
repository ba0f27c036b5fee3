"""What a model says of addresses and numbers leaves as a placeholder, however its stream is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard._streams import chunk, content, sent
from trimtab.core.rows import GuardRow
from trimtab.dataplane.guard import OutScreen

DETECTORS = ["email", "phone", "card", "iban"]
FOUND = [
    ("joe@example.com", "<EMAIL>"),
    ("+49 170 1234567", "<PHONE>"),
    ("4111 1111 1111 1111", "<CARD>"),
    ("DE89 3704 0044 0532 0130 00", "<IBAN>"),
    ("GB82 WEST 1234 5698 7654 32", "<IBAN>"),
]
PLAIN = [
    "write to",
    "call",
    "it costs 4.90 euros",
    "within 30 days",
    "in 3 to 5 days.",
    "Müller",
    "order 20391",
    "@home",
    "to 15",
]


def screen(*checks: str, deny: tuple[str, ...] = (), values: tuple[tuple[str, str], ...] = ()) -> OutScreen:
    return OutScreen([*(checks or DETECTORS), *(["deny"] if deny else [])], deny, values, True, ["DE"])


@pytest.mark.parametrize(("said", "left"), FOUND)
def test_each_detector_replaces_what_it_finds(said: str, left: str) -> None:
    """Whole, letter by letter, and in the middle of a sentence; the record counts it."""
    for texts in ([f"So {said}, then."], list(f"So {said}, then.")):
        one = screen()
        assert content(one, texts) == f"So {left}, then."
        kind = left.strip("<>").lower()
        assert GuardRow(stage="out", check=kind, hits=1, action="redacted") in one.rows()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*(said for said, _ in FOUND), *PLAIN]), min_size=1, max_size=8),
    st.sampled_from([" ", ", ", " - ", "\n"]),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_the_cut_of_a_stream_changes_nothing(words: list[str], between: str, cuts: list[int]) -> None:
    """What leaves is a function of the characters alone."""
    text = between.join(words) + "."
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    parts = [text[start:end] for start, end in pairwise(places)]
    assert content(screen(), parts) == content(screen(), [text])
    assert content(screen(), text) == content(screen(), [text])


def test_only_the_checks_that_are_asked_for() -> None:
    """Another detector's finding stays."""
    assert content(screen("card"), ["joe@example.com 4111111111111111"]) == "joe@example.com <CARD>"


def test_the_callers_own_values_come_back() -> None:
    """They are placeholders while detectors look; a value that the model made up does not pass beside them."""
    values = (("<EMAIL_1>", "ann@example.com"),)
    assert content(screen(values=values), ["to <EMAIL_1> or joe@example.com"]) == "to ann@example.com or <EMAIL>"


def test_a_deny_text_is_found_in_what_is_left() -> None:
    """The deny list reads what the client would read."""
    one = screen(deny=("secret word",))
    assert content(one, ["joe@example.com says the secret word now"]) == "<EMAIL> says the "
    assert one.violation == "deny"


def test_arguments_of_tool_calls_are_read_through_their_escapes() -> None:
    """A JSON string stays one."""
    arguments = '{"to": "joe@example.com", "text": "a\\nb"}'
    out = sent(screen(), [chunk(((0, 0), piece)) for piece in arguments])
    assert out == {(0, 0): '{"to": "<EMAIL>", "text": "a\\nb"}'}


def test_logprobs_do_not_tell_what_was_taken_out() -> None:
    """The tokens of a stretch with a finding don't leave; those of a clean one do."""
    one = screen()
    given_chunk = chunk(((0, "content"), "I am joe@example.com "))
    given_chunk.choices[0]["logprobs"] = {"content": [{"token": "joe@example.com"}]}
    first = one.feed(given_chunk)
    clean = chunk(((0, "content"), "and that is all. "))
    clean.choices[0]["logprobs"] = {"content": [{"token": "all"}]}
    second = one.feed(clean)
    assert first is not None
    assert "joe" not in str(first.data)
    assert second is not None
    assert second.choices[0]["logprobs"] == {"content": [{"token": "all"}]}


def test_text_that_can_be_no_finding_goes_at_once() -> None:
    """Only the last word waits, and for its end; a long one is not held for ever."""
    one = screen()
    assert [part.choices[0]["delta"]["content"] for part in filter(None, map(one.feed, [
        chunk(((0, "content"), "Hello there ")), chunk(((0, "content"), "Ann")), chunk(((0, "content"), " and "))
    ]))] == ["Hello there ", "Ann and "]  # fmt: skip
    long = screen()
    out = long.feed(chunk(((0, "content"), "x" * 5000)))
    assert out is not None
    assert len(out.choices[0]["delta"]["content"]) >= 4600

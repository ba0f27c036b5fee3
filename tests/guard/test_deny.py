"""Texts that never leave, in one stream."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard._streams import chunk, content, sent
from trimtab.dataplane.guard import OutScreen
from trimtab.dataplane.guard.deny import DenyStream, automaton
from trimtab.dataplane.guard.fold import folded

INVISIBLE = "\u200b\u00ad\u2060"


def screen(*deny: str) -> OutScreen:
    """A screen that looks for these texts and restores nothing."""
    return OutScreen(["deny"], deny, (), False)


def plain(text: str) -> str:
    """Folding written another way, for the characters that these tests use."""
    text = "".join(character for character in text if character not in INVISIBLE)
    return re.sub(r"\s+", " ", text.casefold())


@pytest.mark.parametrize(
    "said",
    [
        "a guaranteed refund!",
        "a GuaranTEED ReFund",
        "guaranteed \n\t refund",
        "guaranteed\u00a0refund",
        "guaranteed\u3000refund",
        "gu\u200baran\u00adteed\u200b \u200b refund",
        "ｇｕａｒａｎｔｅｅｄ　ｒｅｆｕｎｄ",
        "guaranteed guaranteed refund",
    ],
)
def test_what_counts_as_the_deny_text(said: str) -> None:
    """Case, white space, invisible characters and compatibility forms hide nothing, cut into characters or not."""
    for cut in (said, list(said)):
        one = screen("Guaranteed  refund")
        released = content(one, [cut] if isinstance(cut, str) else cut)
        assert one.violation == "deny"
        assert said.startswith(released)
        assert released in ("", "a ", "guaranteed ")
        assert one.rows()[0].hits == 1


@pytest.mark.parametrize(
    "said", ["guaranteedrefund", "guaranteed re fund", "guaranteed refun", "guarante\u0301ed refund"]
)
def test_what_does_not(said: str) -> None:
    """A space too few or too many, a letter too few or an accent is another text, and leaves whole."""
    one = screen("guaranteed refund")
    assert content(one, said) == said
    assert one.violation is None
    assert one.rows()[0].action == "none"


@pytest.mark.parametrize(
    ("deny", "said"),
    [("straße", "STRASSE"), ("strasse", "Straße"), ("ﬁnal", "FINAL"), ("sa", "ßa"), ("office", "oﬃce")],
)
def test_letters_that_fold_into_several(deny: str, said: str) -> None:
    """A letter that counts as several is found by a part of it too, and never leaves by halves."""
    one = screen(deny)
    assert content(one, said) == ""
    assert one.violation == "deny"


def test_syllables_are_whole() -> None:
    """A Hangul syllable is not found in a longer one that begins alike."""
    assert content(screen("가"), ["각", "\u0041"]) == "각A"


def test_only_what_may_go_on_is_held() -> None:
    """Text leaves at once up to what may still become a deny text, and that leaves once it can't."""
    one = screen("abcd", "bx")
    steps = [
        ("hello", "hello"),
        (" a", " "),
        ("b", ""),
        ("c", ""),
        ("e", "abce"),
        ("ab", ""),
        ("a", "ab"),
        ("zz", "azz"),
    ]
    for said, released in steps:
        out = one.feed(chunk(((0, "content"), said)))
        assert ("" if out is None else out.choices[0]["delta"]["content"]) == released


def test_a_deny_text_within_the_beginning_of_another() -> None:
    """The shorter text counts although the longer one that had begun does not come."""
    one = screen("abcde", "bc")
    assert content(one, "xabcz") == "xa"
    assert one.violation == "deny"


def test_nothing_after_the_violation() -> None:
    """What stood before the deny text leaves, also in the same chunk; nothing does afterwards, whatever comes."""
    one = screen("bad")
    out = one.feed(chunk(((0, "content"), "so bad it is"), finish=[0]))
    assert out is not None
    assert out.choices == [{"index": 0, "delta": {"content": "so "}, "finish_reason": None}]
    assert one.violation == "deny"
    assert one.feed(chunk(((0, "content"), "fine"))) is None
    assert one.feed(chunk(finish=[0])) is None
    assert one.finish() == []


def test_blank_deny_texts_forbid_nothing() -> None:
    """A deny text of spaces or invisible characters is none, and leaves nothing to do."""
    assert screen("  ", "\u200b").passes
    assert screen().passes
    assert not screen("", "x").passes


def test_escapes_hide_nothing_in_arguments() -> None:
    """In tool-call arguments the meaning of JSON's escapes is compared, in content their letters."""
    where = (0, 7)
    said = r'{"a":"K\u00dcNDIGUNG\nam \ud83d\ude00 Tag"}'
    for deny in ("kündigung am", "am 😀 tag", "ündi"):
        for cut in ([said], list(said)):
            one = screen(deny)
            released = sent(one, [chunk((where, text)) for text in cut])
            assert one.violation == "deny"
            assert said.startswith(released.get(where, ""))
            assert content(screen(deny), cut) == said
    harmless = r'{"a":"\\u00dc \q \u00zz \u"}'
    assert sent(screen("ü", "zzz"), [chunk((where, text)) for text in harmless])[where] == harmless


def test_the_end_of_a_choice_is_no_way_round() -> None:
    """A deny text that goes on after its choice was ended is still found, and never leaves whole."""
    one = screen("bad text")
    first = one.feed(chunk(((0, "content"), "a bad"), finish=[0]))
    assert first is not None
    assert first.choices[0]["delta"]["content"] == "a bad"
    assert one.feed(chunk(((0, "content"), " text"))) is None
    assert one.violation == "deny"


_letters = st.text("aAbBc \n\u00a0" + INVISIBLE, max_size=24)
_denied = st.lists(st.text("abcB \u200b", min_size=1, max_size=5), min_size=1, max_size=3)


def cuts(data: st.DataObject, text: str) -> list[str]:
    """The text in pieces, cut anywhere."""
    places = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    return [text[start:end] for start, end in pairwise(places)] or [""]


@settings(max_examples=300, deadline=None)
@given(st.data(), _letters, _denied)
def test_cutting_changes_nothing(data: st.DataObject, text: str, deny: list[str]) -> None:
    """However a text is cut the same of it is released: all of it, or all that stands before its first deny text."""
    wanted = {plain(one).strip() for one in deny} - {""}
    expected, violated = before(text, wanted)
    for pieces in ([text], list(text), cuts(data, text)):
        one = screen(*deny)
        assert content(one, pieces) == expected
        assert (one.violation == "deny") is violated
    assert not any(one in plain(expected) for one in wanted)


def before(text: str, wanted: set[str]) -> tuple[str, bool]:
    """What stands before the first deny text to be whole (the longest, if several), and whether there is one."""
    for end in range(1, len(text) + 1):
        said = plain(text[:end])
        lengths = [len(one) for one in wanted if said.endswith(one)]
        if lengths:
            start = max(k for k in range(end) if len(said) - len(plain(text[:k])) >= max(lengths))
            return text[:start], True
    return text, False


@settings(max_examples=300, deadline=None)
@given(_letters, _denied)
def test_what_is_held_may_still_become_a_deny_text(text: str, deny: list[str]) -> None:
    """After every character, what is held begins a deny text, is shorter than it but for what does not count, and
    nothing before it was held in vain."""
    wanted = {plain(one).strip() for one in deny} - {""}
    compiled = automaton(tuple(deny))
    if compiled is None:
        return
    stream = DenyStream(compiled, json=False)
    released = ""
    for position, character in enumerate(text, 1):
        released += stream.feed(character)
        if stream.violated:
            break
        held = text[len(released) : position]
        assert held == "".join(raw for raw, _ in stream.held)
        assert any(one.startswith(plain(held)) and one != plain(held) for one in wanted)
        assert held[:1] not in INVISIBLE or not held


@settings(max_examples=150, deadline=None)
@given(st.data(), st.text('ab\\"u0e91né😀\n', max_size=12), st.sampled_from(["ab", "é", "😀", "a b", '"', "né"]))
def test_arguments_however_escaped(data: st.DataObject, value: str, deny: str) -> None:
    """A value in arguments is found to hold a deny text exactly if it does, as any JSON writer may have written it."""
    written = msgspec.json.encode({"x": value}).decode()
    ascii_only = "".join(one if one.isascii() else msgspec_escape(one) for one in written)
    for said in (written, ascii_only):
        one = screen(deny)
        released = sent(one, [chunk(((0, 0), text)) for text in cuts(data, said)]).get((0, 0), "")
        holds = folded(deny) in folded(f'{{"x":"{value}"}}')
        assert (one.violation is not None) is holds
        assert said.startswith(released) if holds else released == said


def msgspec_escape(character: str) -> str:
    """One character as JSON escapes."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def test_every_character_is_found_in_itself() -> None:
    """A deny text of any one character of the Basic Multilingual Plane (every eleventh) is found where it stands."""
    lost = []
    for character in map(chr, range(0x21, 0xFFFF, 11)):
        compiled = automaton((character,))
        if compiled is not None and not compiled.finds(f"x{character}y"):
            lost.append(hex(ord(character)))
    assert not lost

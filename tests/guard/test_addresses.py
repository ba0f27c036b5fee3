"""E-mail addresses in running text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.dataplane.guard.addresses import may_hold_address
from trimtab.dataplane.guard.detect import Found, detect


def addresses(text: str) -> Iterator[Found]:
    """The e-mail addresses of a text."""
    return iter(detect(text, ["email"], ()))


FOUND = {
    "plain": ("mail joe@example.com now", ["joe@example.com"]),
    "dots, tags, digits": ("a.b+tag_1-x%y@mail.Example.co.uk", ["a.b+tag_1-x%y@mail.Example.co.uk"]),
    "apostrophe": ("o'brien@example.ie", ["o'brien@example.ie"]),
    "trailing punctuation": ("joe@example.com. ann@example.com, bob@example.com?!", 3),
    "in brackets and quotes": ("<a@b.de> (c@d.de) \"e@f.de\" 'g@h.de' [i@j.de] {k@l.de} *m@n.de* `o@p.de`", 8),
    "signs before": (
        "'joe@example.com' -ann@example.com ...bob@example.com",
        ["joe@example.com", "ann@example.com", "bob@example.com"],
    ),
    "in a list without spaces": ("a@b.de,c@d.de;e@f.de|g@h.de", ["a@b.de", "c@d.de", "e@f.de", "g@h.de"]),
    "in a URL": ("https://x.de/?to=joe@example.com&n=1 mailto:ann@example.com", ["joe@example.com", "ann@example.com"]),
    "trailing dashes": ("joe@example.com-- ann@example.com__", ["joe@example.com", "ann@example.com"]),
    "separator before the @": ("{joe}@example.com", ["joe}@example.com"]),
    "IDN": ("jörg@münchen.de, иван@почта.рф", ["jörg@münchen.de", "иван@почта.рф"]),
    "marks": ("भारत@डाटामेल.भारत।", ["भारत@डाटामेल.भारत"]),
    "punycode": ("x@xn--mnchen-3ya.xn--p1ai", ["x@xn--mnchen-3ya.xn--p1ai"]),
    "Chinese around": ("请写信到zhang@example.com谢谢", ["zhang@example.com"]),
    "Japanese around": ("メールはtaro@example.com。次に", ["taro@example.com"]),
    "Korean after": ("test@example.com으로", ["test@example.com"]),
    "all Chinese": ("写信: 用户@例子。公司 谢谢", ["用户@例子。公司"]),
    "full width": ("ｊｏｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", ["ｊｏｅ＠ｅｘａｍｐｌｅ．ｃｏｍ"]),
    "small at": ("joe﹫example.com", ["joe﹫example.com"]),
    "zero width": (
        "jo\u200be\u00ad@\u200dexa\ufeffmple\u2060.\u200bcom\u200b.",
        ["jo\u200be\u00ad@\u200dexa\ufeffmple\u2060.\u200bcom"],
    ),
    "prose with a backslash": (r"CORP\nina@example.com", ["nina@example.com"]),
    "escaped newline": (r'{"text":"hi\nann@example.com"}', ["ann@example.com"]),
    "escaped letters": (r'["j\u00f6rg@m\u00fcnchen.de"]', ["jörg@münchen.de"]),
    "escaped at": (r'{"to":"joe\u0040example.com"}', ["joe@example.com"]),
    "JSON within JSON": (r'{"b":"{\"t\":\"hi\\nann@example.com\"}"}', ["ann@example.com"]),
    "nothing before": ("@example.com", []),
    "no dot": ("root@localhost a@b", []),
    "versions and prices": ("lodash@4.17.21 2@3.50 x@1.2.3.4", []),
    "handles": ("@joe.doe", []),
    "double at": ("a@@b.de", []),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_an_address(name: str) -> None:
    """Each text has exactly these addresses, and each stands where it is said to be."""
    text, expected = FOUND[name]
    found = list(addresses(text))
    if isinstance(expected, int):
        assert len(found) == expected
    else:
        assert [one.text for one in found] == expected
    for one in found:
        assert "\\" in text or text[one.start : one.end] == one.text
        assert may_hold_address(text)


def test_escapes_are_mapped_back() -> None:
    """In JSON the span covers the escapes, so that cutting it out leaves JSON."""
    text = r'{"a":"x\ty\nj\u00f6rg@m\u00fcnchen.de\n","b":"\\ \"ann@example.com\""}'
    assert [text[one.start : one.end] for one in addresses(text)] == [r"j\u00f6rg@m\u00fcnchen.de", "ann@example.com"]


@pytest.mark.parametrize(
    "other", ["joe@EXAMPLE.com", "joe@exa\u200bmple.com", "ｊoe@example.com", "joe＠example.com", "joe@example。com"]
)
def test_one_address_in_many_forms(other: str) -> None:
    """Case of the domain, invisible characters and compatibility forms make no other address; case before @ does."""
    identities = {next(addresses(text)).identity for text in ("joe@example.com", other)}
    assert identities == {"joe@example.com"}
    assert next(addresses("Joe@example.com")).identity != "joe@example.com"


_word = st.text("abcXYZ019", min_size=1, max_size=6)
_local = st.lists(_word, min_size=1, max_size=3).map(".".join)
_domain = st.lists(_word, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "com"]))
_gap = st.sampled_from([" ", ", ", "\n", "; ", " <", "> ", ") (", ": ", '" "', "\u3000", "… ", ". "])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_gap, _local, _domain), min_size=1, max_size=5), st.sampled_from(["", "\u200b", "\u00ad"]))
def test_every_address_is_found(parts: list[tuple[str, str, str]], invisible: str) -> None:
    """However addresses are set apart, with invisible characters or without, all are found and nothing else is."""
    written = [invisible.join(f"{local}@{domain}") for _, local, domain in parts]
    text = "".join(gap + address for (gap, _, _), address in zip(parts, written, strict=True)) + " end"
    assert [one.text for one in addresses(text)] == written


MEGABYTE = 1_000_000
HOSTILE = {
    "a@a@a@": "a@" * (MEGABYTE // 2),
    "domains alone": "@a.bc " * (MEGABYTE // 6),
    "aaa@": "a" * MEGABYTE + "@",
    "dots": "." * MEGABYTE + "@" + "." * MEGABYTE,
    "one-letter labels": "a@" + "a." * (MEGABYTE // 2),
    "dashes": "a@b.c" + "-" * MEGABYTE + ".",
    "separators": "=" * MEGABYTE + "@a.bc",
    "specials": ("a" + "-" * 50) * (MEGABYTE // 51) + "@a.bc",
    "invisible": "\u200b" * MEGABYTE + "@" + "\u200b" * MEGABYTE,
    "mixed scripts": "界a" * (MEGABYTE // 2) + "@" + "a界.com" * (MEGABYTE // 6),
    "escapes": '{"' + "\\n" * (MEGABYTE // 2) + "@a.bc",
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_linear_time(name: str) -> None:
    """A megabyte that makes a careless pattern quadratic (hours) is through at once."""
    assert len(list(addresses(HOSTILE[name]))) <= 1

"""The key: everything that could change an answer, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.tenancy import CacheTerms
from trimtab.dataplane.cache import cache_key
from trimtab.foundations.derive import hkdf_sha256, tenant_secret

Parts = dict[str, Any]
BASE: Parts = {
    "tenant": "acme",
    "messages": (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where is <EMAIL_1>?"}]},
        {"role": "assistant", "content": "There.", "tool_calls": [{"id": "1", "function": {"arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "a  b"},
    ),
    "values": (("<EMAIL_1>", "joe@example.com"),),
    "fields": {"model": "auto", "max_tokens": 10, "tools": [{"a": 1, "b": {"c": 2, "d": 3}}], "seed": None},
    "terms": CacheTerms(),
    "scope": ("eu", None, "rel_1", "en"),
}


def key(parts: Parts) -> bytes:
    """The key of these parts, with the tenant's secret."""
    return cache_key(tenant_secret=tenant_secret(b"workspace", parts["tenant"]), **parts)


def content(text: str, role: str = "user") -> Parts:
    """The base with one more message."""
    return {**BASE, "messages": (*BASE["messages"], {"role": role, "content": text})}


def message(number: int, **changes: Any) -> Parts:
    """The base with another message in place of the one of this number."""
    messages = list(BASE["messages"])
    messages[number] = {**messages[number], **changes}
    return {**BASE, "messages": tuple(messages)}


OTHERS: dict[str, Parts] = {
    "tenant": {**BASE, "tenant": "acme2"},
    "value": {**BASE, "values": (("<EMAIL_1>", "ann@example.com"),)},
    "case of a value": {**BASE, "values": (("<EMAIL_1>", "Joe@example.com"),)},
    "no value": {**BASE, "values": ()},
    "values apart": {**BASE, "values": (("<EMAIL_1>", "joe@example.com"), ("<EMAIL_2>", ""))},
    "values ignored": {**BASE, "terms": CacheTerms(ids="ignore")},
    "field": {**BASE, "fields": {**BASE["fields"], "max_tokens": 11}},
    "field absent": {**BASE, "fields": {"model": "auto", "max_tokens": 10, "tools": BASE["fields"]["tools"]}},
    "unknown field": {**BASE, "fields": {**BASE["fields"], "top_k": 1}},
    "text for a number": {**BASE, "fields": {**BASE["fields"], "max_tokens": "10"}},
    "tools": {**BASE, "fields": {**BASE["fields"], "tools": [{"a": 1, "b": {"c": 2, "d": 4}}]}},
    "order of tools": {**BASE, "fields": {**BASE["fields"], "tools": [{"a": 1}, {"b": {"c": 2, "d": 3}}]}},
    "scope": {**BASE, "scope": ("eu", None, "rel_2", "en")},
    "scope unknown": {**BASE, "scope": ("eu", None, None, "en")},
    "scope moved": {**BASE, "scope": ("eu", "rel_1", None, "en")},
    "scope longer": {**BASE, "scope": (*BASE["scope"], None)},
    "role": message(0, role="user"),
    "system text": message(0, content="Be brief!"),
    "case": message(0, content="be brief."),
    "parts for a text": message(0, content=[{"type": "text", "text": "Be brief."}]),
    "name": message(1, name="joe"),
    "arguments": message(2, tool_calls=[{"id": "1", "function": {"arguments": "{ }"}}]),
    "spaces of an assistant": message(2, content="There. "),
    "spaces of a tool": message(3, content="a b"),
    "fewer messages": {**BASE, "messages": BASE["messages"][1:]},
    "other order": {**BASE, "messages": BASE["messages"][::-1]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_difference_in_one_part_is_another_key(name: str) -> None:
    """Each part by itself makes another key, and no two of these have the same."""
    keys = [key(BASE), *map(key, OTHERS.values())]
    assert keys.count(key(OTHERS[name])) == 1
    assert len(key(BASE)) == 32


def test_who_asks_and_how_means_nothing() -> None:
    """Streamed or not, whoever the end user is, the answer is the same."""
    fields = {"stream": True, "stream_options": {"a": 1}, "user": "u", "metadata": {"k": "v"}, "trimtab": {}}
    assert key({**BASE, "fields": {**fields, **BASE["fields"]}}) == key(BASE)


def test_the_order_of_fields_means_nothing() -> None:
    """Fields of messages, of tools and of the body may come in any order."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(value)}
        return [turned(part) for part in value] if isinstance(value, list) else value

    messages = tuple(turned(one) for one in BASE["messages"])
    assert key({**BASE, "messages": messages, "fields": turned(BASE["fields"])}) == key(BASE)


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_what_people_write_is_normalised(role: str) -> None:
    """Ends, composition and, in one line, runs of spaces mean nothing; over several lines spacing does."""
    assert key(content("  caf\u00e9 \t now\n", role)) == key(content("cafe\u0301 now", role))
    assert key(content("a\n  b", role)) != key(content("a\n b", role))
    assert key(content("a\u00a0b", role)) != key(content("a b", role))
    assert key(content("2²", role)) != key(content("22", role))
    part = {"type": "text", "text": " a  b"}
    tidy = {"type": "text", "text": "a b"}
    assert key(message(1, role=role, content=[part])) == key(message(1, role=role, content=[tidy]))


def test_ignored_values_separate_nothing() -> None:
    """Where the route declares that redacted values don't matter, they don't."""
    ignoring = {**BASE, "terms": CacheTerms(ids="ignore")}
    assert key({**ignoring, "values": (("<EMAIL_1>", "ann@example.com"),)}) == key(ignoring)


def test_values_are_keyed_by_the_tenants_secret() -> None:
    """Who knows a key and all else but not the secret can't try values out on it."""
    assert cache_key(tenant_secret=b"guess", **BASE) != key(BASE)


def test_nothing_is_changed() -> None:
    """The request's own messages stay as they are."""
    parts = content("  a  b ")
    before = deepcopy(parts)
    key(parts)
    assert parts == before


_word = st.sampled_from(["a", "b", "a b", " a", "a  b", "a\tb", "a\n b", "é", "e\u0301", ""])
_messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": _word}, optional={"name": _word}),
    max_size=2,
)
_parts = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["a", "b"]),
        "messages": _messages,
        "values": st.lists(st.tuples(st.just("<EMAIL_1>"), st.sampled_from("ab")), max_size=2).map(tuple),
        "fields": st.dictionaries(st.sampled_from(["user", "stream", "seed", "stop"]), _word, max_size=2),
        "terms": st.sampled_from([CacheTerms(), CacheTerms(ids="ignore")]),
        "scope": st.lists(st.none() | st.sampled_from("ab"), max_size=2),
    }
)


def meaning(parts: Parts) -> Any:
    """What the key must tell apart, written another way."""

    def tidy(one: dict[str, str]) -> dict[str, str]:
        text = normalize("NFC", one["content"]).strip()
        text = text if "\n" in text else " ".join(text.split())
        return {**one, "content": text} if one["role"] == "user" else one

    return (
        parts["tenant"],
        [tidy(one) for one in parts["messages"]],
        parts["values"] if parts["terms"].ids == "separate" else None,
        {name: value for name, value in parts["fields"].items() if name not in ("user", "stream")},
        parts["scope"],
    )


@settings(max_examples=300, deadline=None)
@given(_parts, _parts, st.sampled_from(sorted(BASE)))
def test_keys_are_equal_exactly_if_the_requests_are(one: Parts, other: Parts, part: str) -> None:
    """Any two requests, also two that differ in one part only, have the same key if and only if they mean the same."""
    for second in (other, {**one, part: other[part]}):
        assert (key(one) == key(second)) is (meaning(one) == meaning(second))


def test_the_tenants_secret() -> None:
    """Secrets come by HKDF-SHA256 (RFC 5869, test cases 1 and 3), one for each tenant and workspace."""
    secret = hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert secret.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    secret = hkdf_sha256(b"\x0b" * 22, b"", b"", 42)
    assert secret.hex() == ("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
    secrets = {tenant_secret(workspace, tenant) for workspace in (b"a", b"b") for tenant in ("x", "y")}
    assert len(secrets) == 4

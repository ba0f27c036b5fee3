"""Edits of text: the lines that must change, and no others."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from trimtab.foundations.config import PatchError, Reader, append_item, set_field

_READ = Reader(dict[str, Any])
ITEM = {"id": "key_1", "name": 'a "b"', "n": 3}


def _value(text: str) -> object:
    value, problems = _READ.read(text, "x")
    assert not problems
    return value


DOCUMENTS = {
    "block": "# top\nid: a # one\nkeys:\n  # the first\n  - id: k0\n    name: x # why\n\n# end\nlast: 1\n",
    "not indented": "keys:\n- id: k0\n  name: x\n# end\nlast: 1\n",
    "empty flow": "id: a\nkeys: [] # none yet\nlast: 1\n",
    "flow": "keys: [{id: k0, name: x}] # one\nlast: 1\n",
    "flow with a comma": "keys: [\n  {id: k0, name: x},\n]\nlast: 1\n",
    "absent": "id: a # one\nlast: 1\n# end\n",
    "no line end": "last: 1\nkeys:\n  - id: k0\n    name: x",
    "block scalar last": "last: 1\nkeys:\n  - id: k0\n    name: |\n      two\n      lines\n",
    "nested last": "last: 1\nkeys:\n  - id: k0\n    more: {a: [1, 2]}\n    deep:\n      - {b: 1}\n",
    "windows": "last: 1\r\nkeys:\r\n  - id: k0\r\n    name: x\r\n",
    "unicode": "name: 'Größe 日本 😀'\nkeys: [{id: k0, name: 'ü😀'}]\nlast: 1\n",
}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_an_item_is_added_and_nothing_else_changes(text: str) -> None:
    """The new value has one more item; every comment and every other value stands as it stood."""
    before = _value(text)
    assert isinstance(before, dict)
    changed = append_item(text, ("keys",), ITEM)
    assert _value(changed) == {**before, "keys": [*before.get("keys", []), ITEM]}
    assert all(line.split("#")[1] in changed for line in text.splitlines() if "#" in line)
    lost = [one for one in difflib.ndiff(text.splitlines(), changed.splitlines()) if one.startswith("- ")]
    assert len(lost) <= (1 if "flow" in text or "[" in text or not text.endswith("\n") else 0), lost
    assert ("\r\n" in text) == ("\r\n" in changed)


@pytest.mark.parametrize("name", ["block", "flow", "not indented", "no line end", "windows", "unicode"])
def test_a_field_is_set_and_nothing_else_changes(name: str) -> None:
    """A field that was absent stands at the end of its own mapping."""
    text = DOCUMENTS[name]
    before = _value(text)
    assert isinstance(before, dict)
    changed = set_field(text, ("keys", 0, "revoked_at"), "2026-11-24T09:00:00Z")
    assert _value(changed) == {**before, "keys": [{**before["keys"][0], "revoked_at": "2026-11-24T09:00:00Z"}]}


def test_what_is_there_is_not_set_again() -> None:
    """A field that exists, a list that is none, a path that leads nowhere: refused, not guessed."""
    with pytest.raises(PatchError, match="there already"):
        set_field("a: 1\n", ("a",), 2)
    with pytest.raises(PatchError, match="no list"):
        append_item("keys: 1\n", ("keys",), ITEM)
    with pytest.raises(PatchError, match="is not there"):
        set_field("a: {}\n", ("b", "c"), 2)


@pytest.mark.parametrize("value", ["true", "no", "1e5", "a: b", "# x", "ü😀", "", " ", "-", "null", "a'b\"c\\"])
def test_any_text_is_written_so_that_it_is_read_back(value: str) -> None:
    """Quoting is right for every text, also for other YAML readers that guess types."""
    changed = set_field("a: 1\n", ("b",), value)
    assert _value(changed) == {"a": 1, "b": value}

"""Edits of text: the lines that must change, and no others."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from trimtab.foundations.config import PatchError, Reader, append_item, put_field, remove_item, set_field

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


@pytest.mark.parametrize("name", ["block", "flow", "not indented", "no line end", "windows", "unicode"])
def test_a_value_is_put_in_place_of_another(name: str) -> None:
    """One value on one line changes; a field that was absent is set."""
    text = DOCUMENTS[name]
    before = _value(text)
    assert isinstance(before, dict)
    changed = put_field(text, ("keys", 0, "name"), "new: #1")
    assert _value(changed) == {**before, "keys": [{**before["keys"][0], "name": "new: #1"}]}
    lines = list(zip(text.splitlines(), changed.splitlines(), strict=True))
    assert len([one for one in lines if one[0] != one[1]]) == 1
    assert all(line.split("#")[1] in changed for line in text.splitlines() if "#" in line)
    assert put_field(text, ("keys", 0, "last4"), "x") == set_field(text, ("keys", 0, "last4"), "x")


LISTS = {
    "block": "a: 1\n# all\nkeys:\n  - id: k0 # zero\n    n: [1]\n  # next\n  - id: k1\n    deep:\n      - {b: 1}\n"
    "  - id: k2\n# end\nz: 1\n",
    "flow in block": "a: 1\nkeys:\n- {id: k0} # zero\n- {id: k1}\n- {id: k2}\n# end\nz: 1\n",
    "flow": "a: 1\nkeys: [{id: k0}, {id: k1}, {id: k2, n: [1, 2]}] # all\nz: 1\n",
    "flow on lines": "a: 1\nkeys: [\n  {id: k0},\n  {id: k1},\n  {id: k2},\n]\nz: 1\n",
    "in braces": "a: {b: 1, keys: [{id: k0}, {id: k1}, {id: k2}]}\nz: 1\n",
    "last": "z: 1\nkeys:\n  - id: k0\n  - id: k1\n  - id: k2",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS.keys())
def test_an_item_is_removed_and_nothing_else_changes(text: str) -> None:
    """Each in turn; then all, after which the list is gone or left empty, and the rest stands as it stood."""
    path = ("a", "keys") if "a: {" in text else ("keys",)

    def of(value: Any) -> Any:
        return value["a"]["keys"] if "a: {" in text else value["keys"]

    before = of(_value(text))
    for index in range(3):
        changed = remove_item(text, (*path, index))
        assert of(_value(changed)) == before[:index] + before[index + 1 :]
        assert "z: 1\n" in changed
        assert ("# end" in changed, "# all" in changed) == ("# end" in text, "# all" in text)
    for _ in range(3):
        text = remove_item(text, (*path, 0))
    left: Any = _value(text)
    assert left["z"] == 1
    assert not (left["a"] if isinstance(left.get("a"), dict) else left).get("keys")


def test_what_an_item_holds_is_written_in_brackets() -> None:
    """Lists and mappings within an item, in a block and in a list that is in brackets, also one that is begun there."""
    item = {"id": "k", "limits": {"per_s": 0.5, "burst": 2}, "more": [{"usd": "1"}, {"usd": "2"}]}
    for text in ("a: 1\n", "a: 1\nkeys: []\n", "a: 1\nkeys:\n  - id: j\n"):
        changed: Any = _value(append_item(text, ("keys",), item))
        assert changed["keys"][-1] == item
    assert append_item("a: {b: 1}\n", ("a", "keys"), {"id": "k"}) == "a: {b: 1, keys: [{id: k}]}\n"
    assert append_item("a: {}\n", ("a", "keys"), {"id": "k"}) == "a: {keys: [{id: k}]}\n"


ROOTS = {
    "block": "# top\n- id: k0 # one\n  n: 1\n# end\n",
    "no line end": "- id: k0\n  n: 1",
    "flow": "[{id: k0, n: 1}] # all\n",
    "empty": "# top\n[] # none yet\n",
    "empty over lines": "[\n]\n",
    "empty, marked": "--- []\n",
    "windows": "# top\r\n[]\r\n",
}


@pytest.mark.parametrize("text", ROOTS.values(), ids=ROOTS.keys())
def test_a_document_that_is_a_list_takes_an_item(text: str) -> None:
    """At its end, twice; a list that was empty has lines from then on, and comments stand as they stood."""
    reader = Reader(list[Any])
    before, _ = reader.read(text, "x")
    changed = append_item(append_item(text, (), ITEM), (), ITEM)
    assert reader.read(changed, "x") == ([*(before or []), ITEM, ITEM], [])
    assert all(line.split("#")[1] in changed for line in text.splitlines() if "#" in line)
    assert changed.count("\r\n") == (changed.count("\n") if "\r\n" in text else 0)
    with pytest.raises(PatchError, match="the document is no list"):
        append_item("a: 1\n", (), ITEM)


def test_what_is_not_there_is_not_removed() -> None:
    """An index past the end, a list that is none, a value over several lines."""
    for path in (("a", 0), ("keys", 1), ("keys",)):
        with pytest.raises(PatchError):
            remove_item("a: 1\nkeys: [{id: k0}]\n", path)
    with pytest.raises(PatchError, match="no value on one line"):
        put_field("a: |\n  x\n  y\n", ("a",), "z")


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

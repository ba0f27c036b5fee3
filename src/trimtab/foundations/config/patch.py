"""Edits of a document's text that change the lines they must and no others: comments, order and quotes stay.

A round trip through a YAML emitter would re-wrap and re-quote the whole file, and show up as such in review. Callers
verify an edit by reading the new text; what these functions can't place raises PatchError and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from typing import TypeAlias

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.foundations.config.nodes import Mapping, Node, Scalar, Sequence, compose
from trimtab.foundations.config.problem import Path, render

Field = str | int | float | bool
Value: TypeAlias = "Field | list[Value] | dict[str, Value]"
_PLAIN = re.compile(r"[a-z][a-z0-9_-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_COMMA = re.compile(r"\s*,")
_BREAK = re.compile(r"\r\n|[\r\n]")


class PatchError(TrimtabError):
    """The document has a shape that can't be edited without rewriting it; edit it by hand."""


def append_item(text: str, path: Path, item: AnyMapping[str, Value]) -> str:
    """The text with one more mapping at the end of the list at `path`; a list that is absent is begun. What the mapping
    holds beside plain values is written in brackets, on the line of its key. `()`: the document itself is the list."""
    if not path:
        return _to_list(text, _find(text, ()), path, item)
    parent = _find(text, path[:-1])
    if not isinstance(parent, Mapping):
        raise PatchError(f"{render(path[:-1])} is no mapping")
    key = str(path[-1])
    node = parent.entries.get(key)
    if node is None and parent.flow:
        return _before_bracket(text, parent, f"{key}: [{_flow(item)}]", bool(parent.entries))
    if node is None:
        lines = [f"{key}:", *_block(item, "  ")]
        return _after(text, parent, [" " * parent.column + line for line in lines])
    return _to_list(text, node, path, item)


def _to_list(text: str, node: Node, path: Path, item: AnyMapping[str, Value]) -> str:
    if not isinstance(node, Sequence):
        raise PatchError(f"{render(path) or 'the document'} is no list")
    if (
        node.flow and not path and not node.items and node.column == 0
    ):  # a document that was empty, of lines from now on
        begin, end = _span(text, node)
        return text[:begin] + ("\r\n" if "\r\n" in text else "\n").join(_block(item, "")) + text[end:]
    if node.flow:
        return _before_bracket(text, node, _flow(item), bool(node.items))
    return _after(text, node, _block(item, " " * node.column))


def set_field(text: str, path: Path, value: Field) -> str:
    """The text with a field that was not there, at the end of its mapping."""
    parent = _find(text, path[:-1])
    key = str(path[-1])
    if not isinstance(parent, Mapping) or key in parent.entries:
        raise PatchError(f"{render(path)} is there already, or has no mapping to be in")
    if parent.flow:
        return _before_bracket(text, parent, f"{key}: {_scalar(value)}", bool(parent.entries))
    return _after(text, parent, [f"{' ' * parent.column}{key}: {_scalar(value)}"])


def put_field(text: str, path: Path, value: Field) -> str:
    """The text with this value in a field, whether or not it had one."""
    parent = _find(text, path[:-1])
    if isinstance(parent, Mapping) and path[-1] not in parent.entries:
        return set_field(text, path, value)
    node = _find(text, path)
    if not isinstance(node, Scalar) or node.line != node.end_line or (node.is_null and not node.text):
        raise PatchError(f"{render(path)} is no value on one line")
    starts = _starts(text)
    begin, end = starts[node.line] + node.column, starts[node.end_line] + node.end_column
    return text[:begin] + _scalar(value) + text[end:]


def remove_item(text: str, path: Path) -> str:
    """The text without one mapping of a list; a block list that is left without any goes with its key."""
    parent = _find(text, path[:-1])
    index = path[-1]
    if not isinstance(parent, Sequence) or not isinstance(index, int) or index >= len(parent.items):
        raise PatchError(f"{render(path)} is not there, or is in no list")
    item = parent.items[index]
    if not parent.flow:
        alone = len(parent.items) == 1
        # the list's own line is its key's; an item's is that of its first key, which is that of its dash
        return _without_lines(text, parent.line if alone else item.line, item)
    if not isinstance(item, Mapping) or not item.flow:
        raise PatchError(f"{render(path)} is no mapping in brackets")
    begin, end = _span(text, item)
    if index + 1 < len(parent.items):
        follower = parent.items[index + 1]
        if not isinstance(follower, Mapping):
            raise PatchError(f"{render(path)} stands before what is no mapping")
        end = _span(text, follower)[0]
    elif index:
        former = parent.items[index - 1]
        if not isinstance(former, Mapping):
            raise PatchError(f"{render(path)} stands behind what is no mapping")
        begin = _span(text, former)[1]
    elif comma := _COMMA.match(text, end):  # the only item, with a comma that may stand behind the last one
        end = comma.end()
    return text[:begin] + text[end:]


def _span(text: str, node: Mapping | Sequence) -> tuple[int, int]:
    """Offsets of a mapping or list in brackets: its first, and the one behind it."""
    starts = _starts(text)
    return starts[node.line] + node.column, starts[node.end_line] + node.end_column


def _without_lines(text: str, first: int, node: Node) -> str:
    starts = _starts(text)
    return text[: starts[first]] + text[starts[min(_behind(node), len(starts) - 1)] :]


def _find(text: str, path: Path) -> Node:
    node = compose(text, "document")
    for part in path:
        if isinstance(node, Mapping) and part in node.entries:
            node = node.entries[str(part)]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            raise PatchError(f"{render(path)} is not there")
    return node


def _starts(text: str) -> list[int]:
    """Offset of each line, and of the end."""
    return [0, *(match.end() for match in _BREAK.finditer(text)), len(text)]


def _after(text: str, node: Mapping | Sequence, lines: list[str]) -> str:
    """Insert whole lines after the last one that belongs to a block."""
    starts = _starts(text)
    offset = starts[min(_behind(node), len(starts) - 1)]
    newline = "\r\n" if "\r\n" in text else "\n"
    head = text[:offset]
    glue = "" if not head or head.endswith(("\n", "\r")) else newline
    return head + glue + "".join(one + newline for one in lines) + text[offset:]


def _behind(node: Node) -> int:
    """The line after the last one that belongs to a block."""
    last = _last(node)
    return last.end_line if last.end_column == 0 and last.end_line > last.line else last.end_line + 1


def _last(node: Node) -> Node:
    """What ends a block: its last leaf, as a block itself has no end of its own in the text."""
    while not isinstance(node, Scalar) and not node.flow:
        children = list(node.entries.values()) if isinstance(node, Mapping) else node.items
        if not children:
            break
        node = children[-1]
    return node


def _before_bracket(text: str, node: Mapping | Sequence, addition: str, occupied: bool) -> str:
    offset = _starts(text)[node.end_line] + node.end_column - 1
    if offset >= len(text) or text[offset] not in "]}":
        raise PatchError("the list or mapping in brackets does not end where it should")
    head = text[:offset].rstrip(" ")
    glue = ", " if occupied and not head.rstrip().endswith(",") else ""
    return head + glue + addition + text[offset:]


def _block(item: AnyMapping[str, Value], indent: str) -> list[str]:
    fields = [f"{key}: {_inline(value)}" for key, value in item.items()]
    return [f"{indent}{'- ' if index == 0 else '  '}{field}" for index, field in enumerate(fields)]


def _flow(item: AnyMapping[str, Value]) -> str:
    return "{" + ", ".join(f"{key}: {_inline(value)}" for key, value in item.items()) + "}"


def _inline(value: Value) -> str:
    if isinstance(value, dict):
        return _flow(value)
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return _scalar(value)


def _scalar(value: Field) -> str:
    """Plain where nobody could take it for anything else, else in double quotes (JSON's are YAML's)."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _WORDS:
        return value
    return msgspec.json.encode(value).decode()

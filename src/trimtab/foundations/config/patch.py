"""Edits of a document's text that change the lines they must and no others: comments, order and quotes stay.

A round trip through a YAML emitter would re-wrap and re-quote the whole file, and show up as such in review. Callers
verify an edit by reading the new text; what these functions can't place raises PatchError and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.foundations.config.nodes import Mapping, Node, Scalar, Sequence, compose
from trimtab.foundations.config.problem import Path, render

Field = str | int | float | bool
_PLAIN = re.compile(r"[a-z][a-z0-9_-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_BREAK = re.compile(r"\r\n|[\r\n]")


class PatchError(TrimtabError):
    """The document has a shape that can't be edited without rewriting it; edit it by hand."""


def append_item(text: str, path: Path, item: AnyMapping[str, Field]) -> str:
    """The text with one more mapping at the end of the list at `path`; a list that is absent is begun."""
    parent = _find(text, path[:-1])
    if not isinstance(parent, Mapping):
        raise PatchError(f"{render(path[:-1])} is no mapping")
    key = str(path[-1])
    node = parent.entries.get(key)
    if node is None:
        lines = [f"{key}:", *_block(item, "  ")]
        return _after(text, parent, [" " * parent.column + line for line in lines])
    if not isinstance(node, Sequence):
        raise PatchError(f"{render(path)} is no list")
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
    last = _last(node)
    line = last.end_line if last.end_column == 0 and last.end_line > last.line else last.end_line + 1
    offset = starts[min(line, len(starts) - 1)]
    newline = "\r\n" if "\r\n" in text else "\n"
    head = text[:offset]
    glue = "" if not head or head.endswith(("\n", "\r")) else newline
    return head + glue + "".join(one + newline for one in lines) + text[offset:]


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


def _block(item: AnyMapping[str, Field], indent: str) -> list[str]:
    fields = [f"{key}: {_scalar(value)}" for key, value in item.items()]
    return [f"{indent}{'- ' if index == 0 else '  '}{field}" for index, field in enumerate(fields)]


def _flow(item: AnyMapping[str, Field]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in item.items()) + "}"


def _scalar(value: Field) -> str:
    """Plain where nobody could take it for anything else, else in double quotes (JSON's are YAML's)."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _WORDS:
        return value
    return msgspec.json.encode(value).decode()

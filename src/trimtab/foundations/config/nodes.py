"""YAML 1.2 text to nodes with positions: one pass over the parser's events, in linear time and bounded memory.

A document here is data that people review, so the subset is small on purpose: one document a file, no anchors, aliases,
tags or merge keys (each can hide a value from a reader, and aliases can grow without bound), no duplicate keys.
Scalars stay as text: what `no` or `1e5` means depends on the field that it is written for, which `reader` knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, TypeAlias

from trimtab.foundations.config.problem import Path, Problem

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 48


class Scalar:
    """One value as written; `plain`: without quotes, so that it may be a number, true, false or null."""

    __slots__ = ("column", "end_column", "end_line", "line", "plain", "text")

    def __init__(self, text: str, plain: bool, line: int, column: int, end_line: int, end_column: int) -> None:
        self.text, self.plain, self.line, self.column = text, plain, line, column
        self.end_line, self.end_column = end_line, end_column

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


class Mapping:
    """Keys in the order of the file, with each key's line; `flow`: written in braces, ends before `end_column`."""

    __slots__ = ("column", "end_column", "end_line", "entries", "flow", "key_lines", "line")

    def __init__(self, line: int, column: int, flow: bool) -> None:
        self.line, self.column, self.flow = line, column, flow
        self.entries: dict[str, Node] = {}
        self.key_lines: dict[str, int] = {}
        self.end_line, self.end_column = line, column


class Sequence:
    """A list; `flow`: written in brackets."""

    __slots__ = ("column", "end_column", "end_line", "flow", "items", "line")

    def __init__(self, line: int, column: int, flow: bool) -> None:
        self.line, self.column, self.flow = line, column, flow
        self.items: list[Node] = []
        self.end_line, self.end_column = line, column


Node: TypeAlias = Scalar | Mapping | Sequence
"""Lines and columns count from 0."""


class DocumentError(Exception):
    """The text is not one usable document; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_text(path: FilePath, name: str) -> str:
    """The file as text. Raises DocumentError for what is missing, unreadable, over 4 MiB, blank or not UTF-8."""
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(Problem(file=name, message=f"can't be read: {error.strerror or error}")) from None
    if len(raw) > MAX_BYTES:
        raise DocumentError(
            Problem(file=name, message="is larger than 4 MiB", hint="Split it, e.g. into several tenants.")
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"is not UTF-8 (byte 0x{raw[error.start]:02x})"
        raise DocumentError(Problem(file=name, line=line, message=what, hint="Save it as UTF-8.")) from None
    if not text.strip():
        raise DocumentError(
            Problem(file=name, line=1, message="is blank", hint="Delete the file, or write the document.")
        )
    return text


def compose(text: str, name: str) -> Node:
    """The document in `text`. Raises DocumentError with the line of the first thing that can't be taken."""
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        what = f"has the control character U+{ord(control.group()):04X}"
        raise DocumentError(Problem(file=name, line=line, message=what, hint="Remove it."))
    root: Node | None = None
    builder = _Builder(name)
    for event in _events(text, name):
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            if root is not None:
                raise builder.fail(event, "a second document starts here", "Keep one document a file.")
            if getattr(event, "tags", None):
                raise builder.fail(event, "%TAG directives are not taken", "Remove the directive.")
        elif kind not in _FRAME:
            built = builder.take(kind, event)
            root = built if built is not None else root
    if root is None or (isinstance(root, Scalar) and root.is_null):
        raise DocumentError(
            Problem(file=name, line=1, message="holds nothing but comments", hint="Delete it, or write the document.")
        )
    return root


def locate(root: Node, path: Path) -> int:
    """The line, from 1, of `path` or of its nearest ancestor that exists."""
    node, line = root, root.line
    for part in path:
        if isinstance(node, Mapping) and part in node.entries:
            line, node = node.key_lines[str(part)], node.entries[str(part)]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            line = node.line
        else:
            break
    return line + 1


_FRAME = frozenset({"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent", "CommentEvent"})
# What YAML 1.2 section 5.1 doesn't let stand in a document; checked here, as the two parsers differ in how they say so.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def _events(text: str, name: str) -> Iterator[Any]:
    """Parser events; libyaml's where ruamel.yaml finds it (20 times as fast), else its own."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe")
    try:
        yield from yaml.parse(text)
    except YAMLError as error:
        raise DocumentError(_syntax(error, text, name)) from None
    except (ValueError, RecursionError, IndexError, AttributeError) as error:
        # The pure parser lets some malformed input escape as plain errors; to the author it is malformed all the same.
        raise DocumentError(Problem(file=name, message=f"is not YAML: {error}")) from None


def _syntax(error: Exception, text: str, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    message = f"is not YAML: {f'{context}, ' if context else ''}{said}"
    lines = text.splitlines()
    tab = mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]
    hint = "Indent by spaces, not tabs." if tab else "Check indentation, quotes and colons here."
    return Problem(file=name, line=_line(mark), message=message, hint=hint)


def _line(mark: Any) -> int | None:
    return None if mark is None else int(mark.line) + 1


class _Builder:
    """Turns events into nodes with an explicit stack, so that depth can't exhaust Python's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[Mapping | Sequence] = []
        self._key: Scalar | None = None
        self._keys: list[Scalar | None] = []

    def fail(self, event: Any, message: str, hint: str = "") -> DocumentError:
        return DocumentError(Problem(file=self._name, line=_line(event.start_mark), message=message, hint=hint))

    def take(self, kind: str, event: Any) -> Node | None:
        """Feed one event; returns the root once it is complete."""
        if kind in ("ScalarEvent", "MappingStartEvent", "SequenceStartEvent"):
            self._refuse_indirection(event)
        if kind == "ScalarEvent":
            start, end = event.start_mark, event.end_mark
            plain = event.implicit[0] and event.style in (None, "")
            if not plain and _CONTROL.search(event.value):
                raise self.fail(event, "has an escaped control character or half a surrogate pair", "Remove it.")
            return self._place(event, Scalar(event.value, plain, start.line, start.column, end.line, end.column))
        if kind == "MappingStartEvent":
            return self._open(event, Mapping(event.start_mark.line, event.start_mark.column, bool(event.flow_style)))
        if kind == "SequenceStartEvent":
            return self._open(event, Sequence(event.start_mark.line, event.start_mark.column, bool(event.flow_style)))
        if kind == "AliasEvent":
            raise self.fail(event, "aliases are not taken", "Write the value out: what is shared should be seen.")
        return self._shut(event)

    def _refuse_indirection(self, event: Any) -> None:
        if event.anchor is not None:
            raise self.fail(event, f"the anchor &{event.anchor} is not taken", "Write the value out where it is used.")
        if event.tag is not None and str(event.tag) not in ("!", "None"):
            raise self.fail(event, f"the tag {event.tag} is not taken", "Write a plain value.")

    def _open(self, event: Any, node: Mapping | Sequence) -> Node | None:
        if len(self._stack) >= MAX_DEPTH:
            raise self.fail(event, f"is nested more than {MAX_DEPTH} deep", "No document of a workspace needs that.")
        if self._stack and isinstance(self._stack[-1], Mapping) and self._key is None:
            raise self.fail(event, "a key must be plain text, not a list or a mapping")
        self._stack.append(node)
        self._keys.append(self._key)
        self._key = None
        return None

    def _shut(self, event: Any) -> Node | None:
        node = self._stack.pop()
        self._key = self._keys.pop()
        if node.flow:
            node.end_line, node.end_column = event.end_mark.line, event.end_mark.column
        return self._place(event, node)

    def _place(self, event: Any, node: Node) -> Node | None:
        if not self._stack:
            return node
        parent = self._stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self._key is None:
            self._take_key(event, parent, node)
            return None
        else:
            self._own(parent, self._key, node)
            self._key = None
        if not parent.flow:
            parent.end_line, parent.end_column = node.end_line, node.end_column
        return None

    @staticmethod
    def _own(parent: Mapping, key: Scalar, node: Node) -> None:
        """A block or a blank begins where its key stands: that is the line an author looks for."""
        parent.entries[key.text] = node
        parent.key_lines[key.text] = key.line
        if isinstance(node, Scalar):
            if node.is_null and not node.text:
                node.line, node.end_line, node.end_column = key.line, key.end_line, key.end_column
        elif not node.flow:
            node.line = key.line

    def _take_key(self, event: Any, parent: Mapping, node: Node) -> None:
        if not isinstance(node, Scalar) or node.is_null:
            raise self.fail(event, "a key must be plain text")
        if node.text in parent.entries:
            first = parent.key_lines[node.text] + 1
            raise self.fail(event, f"the key {node.text!r} is here a second time (first on line {first})", "Keep one.")
        if node.plain and node.text == "<<":
            raise self.fail(event, "merge keys are not taken", "Write the values out.")
        self._key = node

"""Nodes to typed values, led by the type: every problem of a document is found, each with its line and what to write.

msgspec stops at the first mistake and knows no lines, so this walks the type beside the node, and hands msgspec only
what is already right. Being led by the type also settles what a plain scalar means: `0123` where text is declared is
the text "0123", and money never passes through a float. Decimals in documents are US dollars, always.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect as mi

from trimtab.foundations.config import words
from trimtab.foundations.config.nodes import Mapping, Node, Scalar, Sequence, compose
from trimtab.foundations.config.problem import Path, Problem
from trimtab.foundations.config.typos import did_you_mean, nearest

T = TypeVar("T")
MAX_USD = 9_000_000
"""Dollars; above it nano-dollars leave what a double holds exactly (2^53), and shared stores count in doubles."""


class Reader(Generic[T]):
    """Reads documents of one type; made once, used for many files."""

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._walk = _compile(mi.type_info(type_))

    def read(self, text: str, file: str) -> tuple[T | None, list[Problem]]:
        """The value, or None and every problem found. Raises DocumentError where the text is no document at all."""
        return self.convert(compose(text, file), file)

    def convert(self, root: Node, file: str) -> tuple[T | None, list[Problem]]:
        """As `read`, for a text that is composed already."""
        found: list[Problem] = []
        value = self._walk(root, (), _Sink(file, found))
        if found:
            return None, found
        try:
            return msgspec.convert(value, self._type), found
        except msgspec.ValidationError as error:
            found.append(Problem(file=file, message=str(error)))
            return None, found


class _Sink:
    """Where problems go; `bad` returns None so that a walk can go on beside a bad part."""

    __slots__ = ("file", "found")

    def __init__(self, file: str, found: list[Problem]) -> None:
        self.file, self.found = file, found

    def bad(self, line: int, path: Path, message: str, hint: str = "") -> None:
        self.found.append(Problem(file=self.file, line=line + 1, path=path, message=message, hint=hint))


Walk = Callable[[Node, Path, _Sink], Any]

_INT = re.compile(r"[-+]?[0-9]{1,20}|0o[0-7]{1,22}|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _compile(type_: mi.Type) -> Walk:
    """The walk for a type of the documents; raises TypeError for one that documents can't have."""
    inner, meta = words.unwrap(type_)
    if isinstance(inner, mi.StructType):
        return _struct(inner)
    if isinstance(inner, mi.DictType):
        return _dict(inner)
    if isinstance(inner, mi.ListType):
        return _list(inner)
    if isinstance(inner, mi.UnionType):
        return _union(inner)
    if isinstance(inner, mi.AnyType):
        return _any
    take = _scalar_rule(inner, meta)

    def walk(node: Node, path: Path, sink: _Sink) -> Any:
        if not isinstance(node, Scalar):
            return _misfit(type_, node, path, sink)
        if node.is_null:
            return _blank(type_, node, path, sink)
        try:
            return take(node)
        except ValueError as error:
            said = str(error) or words.wanted(type_, path)
            return sink.bad(node.line, path, f"expected {said}, got {words.got(node)}", words.write(type_, path))

    return walk


def _misfit(type_: mi.Type, node: Node, path: Path, sink: _Sink) -> None:
    if isinstance(node, Scalar) and node.is_null:
        return _blank(type_, node, path, sink)
    message = f"expected {words.wanted(type_, path)}, got {words.got(node)}"
    return sink.bad(node.line, path, message, words.write(type_, path))


def _blank(type_: mi.Type, node: Node, path: Path, sink: _Sink) -> None:
    sink.bad(node.line, path, "is blank", f"Delete the line, or give a value. {words.write(type_, path)}".rstrip())


# Scalars: each rule takes a node that is not null, and raises ValueError, blank or saying what was expected.


def _scalar_rule(inner: mi.Type, meta: dict[str, Any]) -> Callable[[Scalar], Any]:
    if isinstance(inner, mi.StrType):
        return _text_rule(inner, meta)
    if isinstance(inner, mi.BoolType):
        return _bool
    if isinstance(inner, mi.IntType):
        return _ranged(_int, inner)
    if isinstance(inner, mi.FloatType):
        return _ranged(_float, inner)
    if isinstance(inner, mi.DecimalType):
        return _money
    if isinstance(inner, mi.LiteralType):
        return _literal_rule(inner)
    raise TypeError(f"documents can't hold {inner}")


def _text_rule(inner: mi.StrType, meta: dict[str, Any]) -> Callable[[Scalar], str]:
    matches = re.compile(inner.pattern).search if inner.pattern else None
    least, most = inner.min_length or 0, inner.max_length or 1 << 30
    described = meta.get("description", "")

    def take(node: Scalar) -> str:
        if not least <= len(node.text) <= most or (matches and not matches(node.text)):
            raise ValueError(described)
        return node.text

    return take


def _bool(node: Scalar) -> bool:
    if not node.plain or node.text not in _BOOL:
        raise ValueError
    return _BOOL[node.text]


def _int(node: Scalar) -> int:
    if not node.plain or not _INT.fullmatch(node.text):
        raise ValueError
    value = int(node.text, {"0o": 8, "0x": 16}.get(node.text[:2], 10))
    if not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of at most 64 bits")
    return value


def _float(node: Scalar) -> float:
    if not node.plain or not _FLOAT.fullmatch(node.text):
        raise ValueError
    value = float(node.text)
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def _money(node: Scalar) -> str:
    """Dollars, quoted or not; exact, as text, which msgspec makes a Decimal."""
    if not _FLOAT.fullmatch(node.text):
        raise ValueError
    try:
        value = Decimal(node.text)
    except InvalidOperation:
        raise ValueError from None
    if value.is_signed() and value != 0:
        raise ValueError("an amount that is not negative")
    if value > MAX_USD:
        raise ValueError(f"at most {MAX_USD} US dollars (2^53 nano-dollars)")
    if value.adjusted() < -12 or value % Decimal("0.000000001") != 0:
        raise ValueError("an amount not finer than a nano-dollar (9 decimals)")
    return format(value, "f")


def _ranged(take: Callable[[Scalar], Any], inner: mi.IntType | mi.FloatType) -> Callable[[Scalar], Any]:
    gt, ge, lt, le = inner.gt, inner.ge, inner.lt, inner.le
    if gt is ge is lt is le is None:
        return take

    def ranged(node: Scalar) -> Any:
        value = take(node)
        if (gt is not None and value <= gt) or (ge is not None and value < ge):
            raise ValueError
        if (lt is not None and value >= lt) or (le is not None and value > le):
            raise ValueError
        return value

    return ranged


def _literal_rule(inner: mi.LiteralType) -> Callable[[Scalar], str]:
    known = [str(value) for value in inner.values]

    def take(node: Scalar) -> str:
        if node.text not in known:
            near = nearest(node.text, known)
            raise ValueError(f"one of {', '.join(known)}{f' (did you mean {near}?)' if near else ''}")
        return node.text

    return take


def _any(node: Node, path: Path, sink: _Sink) -> Any:
    """A value whose type only its reader knows, by the YAML 1.2 core schema; NaN and infinities are refused."""
    if isinstance(node, Mapping):
        return {key: _any(child, (*path, key), sink) for key, child in node.entries.items()}
    if isinstance(node, Sequence):
        return [_any(child, (*path, index), sink) for index, child in enumerate(node.items)]
    if node.is_null:
        return None
    if not node.plain:
        return node.text
    if node.text.lower().lstrip("+-") in (".inf", ".nan"):
        return sink.bad(node.line, path, f"expected a finite number, got {node.text}")
    for rule in (_bool, _int, _float):
        try:
            return rule(node)
        except ValueError:
            continue
    return node.text


# Containers.


def _struct(inner: mi.StructType) -> Walk:
    walks = {field.encode_name: _compile(field.type) for field in inner.fields}
    types = {field.encode_name: field.type for field in inner.fields}
    required = [field.encode_name for field in inner.fields if field.required]

    def walk(node: Node, path: Path, sink: _Sink) -> Any:
        if not isinstance(node, Mapping):
            return _misfit(inner, node, path, sink)
        value = {}
        for key, child in node.entries.items():
            step = walks.get(key)
            if step is None:
                hint = _unknown(key, node, types)
                sink.bad(node.key_lines[key], (*path, key), "is not a known field here", hint)
            else:
                value[key] = step(child, (*path, key), sink)
        for key in required:
            if key not in node.entries:
                sink.bad(node.line, (*path, key), "is missing", words.write(types[key], (*path, key)))
        return value

    return walk


def _unknown(key: str, node: Mapping, types: dict[str, mi.Type]) -> str:
    """Prefers a name that isn't written yet; then one that belongs a level deeper; then the list of all."""
    near = nearest(key, [name for name in types if name not in node.entries]) or nearest(key, types)
    if near:
        return f"Did you mean {near}?"
    deeper = _deeper(key, types, 3)
    return f"It belongs deeper: {deeper}." if deeper else did_you_mean(key, types)


def _deeper(key: str, types: dict[str, mi.Type], levels: int) -> str | None:
    """`targets.latency.ttft_ms` for a `ttft_ms` that was written too high up."""
    for outer, type_ in types.items():
        inner = _struct_in(type_)
        if inner is not None and levels:
            fields = {field.encode_name: field.type for field in inner.fields}
            found = key if key in fields else _deeper(key, fields, levels - 1)
            if found:
                return f"{outer}.{found}"
    return None


def _struct_in(type_: mi.Type) -> mi.StructType | None:
    inner, _ = words.unwrap(type_)
    options = inner.types if isinstance(inner, mi.UnionType) else (inner,)
    return next((option for option in options if isinstance(option, mi.StructType)), None)


def _dict(inner: mi.DictType) -> Walk:
    step = _compile(inner.value_type)
    key_type, meta = words.unwrap(inner.key_type)
    pattern = key_type.pattern if isinstance(key_type, mi.StrType) else None
    matches = re.compile(pattern).search if pattern else None
    described = meta.get("description", f"text like {pattern}")
    least = inner.min_length or 0

    def walk(node: Node, path: Path, sink: _Sink) -> Any:
        if not isinstance(node, Mapping):
            return _misfit(inner, node, path, sink)
        if len(node.entries) < least:
            sink.bad(node.line, path, "is empty", words.write(inner, path))
        value = {}
        for key, child in node.entries.items():
            if matches and not matches(key):
                sink.bad(node.key_lines[key], (*path, key), f"the name {words.quoted(key)} must be {described}")
            value[key] = step(child, (*path, key), sink)
        return value

    return walk


def _list(inner: mi.ListType) -> Walk:
    step = _compile(inner.item_type)
    least = inner.min_length or 0

    def walk(node: Node, path: Path, sink: _Sink) -> Any:
        if not isinstance(node, Sequence):
            return _misfit(inner, node, path, sink)
        if len(node.items) < least:
            sink.bad(node.line, path, "is empty", words.write(inner, path))
        return [step(child, (*path, index), sink) for index, child in enumerate(node.items)]

    return walk


def _union(inner: mi.UnionType) -> Walk:
    """`T | None`, or one alternative for each kind of node (`str | list[str]`)."""
    optional = any(isinstance(option, mi.NoneType) for option in inner.types)
    rest = [option for option in inner.types if not isinstance(option, mi.NoneType)]
    steps: dict[type[Node], Walk] = {}
    for option in rest:
        bare, _ = words.unwrap(option)
        kind: type[Node] = Scalar
        if isinstance(bare, (mi.StructType, mi.DictType)):
            kind = Mapping
        elif isinstance(bare, mi.ListType):
            kind = Sequence
        if kind in steps:
            raise TypeError(f"documents can't tell the alternatives of {inner} apart")
        steps[kind] = _compile(option)

    def walk(node: Node, path: Path, sink: _Sink) -> Any:
        if optional and isinstance(node, Scalar) and node.is_null:
            return None
        step = steps.get(type(node))
        return step(node, path, sink) if step else _misfit(inner, node, path, sink)

    return walk

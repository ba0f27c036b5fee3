"""The words of problems: what a field wants, what it got, and a line that could be written instead.

Units are in the names of fields (`_ms`, `_usd`, `_tokens` ...), so the words come from there; a field's own `examples`
(msgspec.Meta) come before those made up here.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect as mi

from trimtab.foundations.config.nodes import Mapping, Node, Scalar
from trimtab.foundations.config.problem import Path
from trimtab.foundations.config.secret import shown

_UNITS = {
    "ms": ("milliseconds", "1500"),
    "s": ("seconds", "60"),
    "usd": ("US dollars", '"0.02"'),
    "bytes": ("bytes", "1048576"),
    "mib": ("MiB", "2048"),
    "tokens": ("tokens", "256"),
    "mtok": ("US dollars per million tokens", '"0.15"'),
}

quoted = shown


def unwrap(type_: mi.Type) -> tuple[mi.Type, dict[str, Any]]:
    """The type without its metadata, and the metadata for JSON Schema (description, examples)."""
    meta: dict[str, Any] = {}
    while isinstance(type_, mi.Metadata):
        meta = {**(type_.extra_json_schema or {}), **meta}
        type_ = type_.type
    return type_, meta


def got(node: Node) -> str:
    """What stands in the file; never a whole credential."""
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else shown(node.text)
    return "a mapping" if isinstance(node, Mapping) else "a list"


def wanted(type_: mi.Type, path: Path) -> str:
    """What the field takes, in words."""
    inner, meta = unwrap(type_)
    unit = _unit(path)
    if isinstance(inner, (mi.IntType, mi.FloatType)):
        noun = "whole number" if isinstance(inner, mi.IntType) else "number"
        return f"a {noun}{f' of {unit[0]}' if unit else ''}{_range(inner)}"
    if isinstance(inner, mi.DecimalType):
        return f"an amount in {unit[0] if unit and 'dollar' in unit[0] else 'US dollars'}"
    if isinstance(inner, mi.BoolType):
        return "true or false"
    if isinstance(inner, mi.LiteralType):
        return "one of " + ", ".join(str(value) for value in inner.values)
    if isinstance(inner, mi.UnionType):
        kinds = [wanted(option, path) for option in inner.types if not isinstance(option, mi.NoneType)]
        return " or ".join(kinds)
    if isinstance(inner, mi.ListType):
        return "a list"
    if isinstance(inner, mi.StructType):
        return "a mapping of " + ", ".join(field.encode_name for field in inner.fields)
    return "a mapping" if isinstance(inner, mi.DictType) else str(meta.get("description", "text"))


def write(type_: mi.Type, path: Path) -> str:
    """`Write e.g. e2e_ms: 1500`; blank where no example is known."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    example = _example(type_, path, 0)
    if not example or not name:
        return ""
    return f"Write e.g. {name}: {example}" if path and path[-1] == name else f"Write e.g. {example}"


def _unit(path: Path) -> tuple[str, str] | None:
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    return _UNITS.get(name.rsplit("_", 1)[-1]) if not name.endswith("per_s") else ("units a second", "10")


def _range(inner: mi.IntType | mi.FloatType) -> str:
    bounds = (("above", inner.gt), ("at least", inner.ge), ("below", inner.lt), ("at most", inner.le))
    both = " and ".join(f"{word} {_plain(bound)}" for word, bound in bounds if bound is not None)
    return f" ({both})" if both else ""


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _example(type_: mi.Type, path: Path, depth: int) -> str:
    inner, meta = unwrap(type_)
    if meta.get("examples"):
        return str(meta["examples"][0])
    if isinstance(inner, mi.StructType):
        parts = []
        for field in inner.fields:
            shown_ = _example(field.type, (*path, field.encode_name), depth + 1) if field.required else ""
            if shown_ and depth < 4:
                parts.append(f"{field.encode_name}: {shown_}")
        return "{" + ", ".join(parts) + "}" if parts else ""
    if isinstance(inner, mi.UnionType):
        return next((text for text in (_example(option, path, depth) for option in inner.types) if text), "")
    if isinstance(inner, mi.ListType):
        item = _example(inner.item_type, path, depth + 1)
        return f"[{item}]" if item else ""
    if isinstance(inner, mi.DictType):
        item = _example(inner.value_type, path, depth + 1)
        return f"{{NAME: {item}}}" if item else ""
    return _scalar_example(inner, path)


def _scalar_example(inner: mi.Type, path: Path) -> str:
    unit = _unit(path)
    if isinstance(inner, mi.DecimalType):
        return unit[1] if unit and "dollar" in unit[0] else '"0.02"'
    if isinstance(inner, (mi.IntType, mi.FloatType)):
        return unit[1] if unit else "1"
    if isinstance(inner, mi.BoolType):
        return "true"
    return str(inner.values[0]) if isinstance(inner, mi.LiteralType) else ""

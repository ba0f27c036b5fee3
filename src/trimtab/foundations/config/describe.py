"""What a document's fields mean: the texts that stand under them in the source, for schemas and the reference."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect as mi


@cache
def meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The docstring under each field, on one line, by the field's name in documents. Empty where there is no source."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(tree, ast.ClassDef)
    told: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            told[field.target.id] = " ".join(below.value.value.split())
    names = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    return {wire: told[name] for name, wire in names if name in told}


def structs(type_: Any) -> list[type[msgspec.Struct]]:
    """Every struct within a type, outermost first, each once."""
    found: dict[type[msgspec.Struct], None] = {}
    _collect(mi.type_info(type_), found)
    return list(found)


def _collect(type_: mi.Type, found: dict[type[msgspec.Struct], None]) -> None:
    if isinstance(type_, mi.StructType):
        if type_.cls in found:
            return
        found[type_.cls] = None
        for field in type_.fields:
            _collect(field.type, found)
        return
    inner = [getattr(type_, name, None) for name in ("type", "key_type", "value_type", "item_type")]
    for part in (*inner, *getattr(type_, "types", ()), *getattr(type_, "item_types", ())):
        if isinstance(part, mi.Type):
            _collect(part, found)

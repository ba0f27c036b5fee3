"""Columns of the lake, derived from `core.record`: a field that a record gains is a column from the next row on.

A column's type is written in DuckDB's words, which reads rows into it and hands Arrow on; Delta's schema follows from
that. Structs stay structs, lists of structs lists, `dict[str, X]` a map. What may be of any type (a rule's values, what
a classifier said) is text: strings as they are, all else as JSON.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect as mi

from trimtab.core.record import Record
from trimtab.core.rows import CostRow

NOBODY: Final = "_"
"""The partition of rows without a tenant: a key that was refused. No tenant can have this name."""
PARTITIONS: Final = ("day", "tenant")

_TEXT: Final = "VARCHAR"
_SCALARS: Final[dict[type[mi.Type], str]] = {
    mi.IntType: "BIGINT",
    mi.FloatType: "DOUBLE",
    mi.BoolType: "BOOLEAN",
    mi.StrType: _TEXT,
    mi.AnyType: _TEXT,
}


class Column(NamedTuple):
    """`value`: the SQL that makes it from a row of JSON."""

    name: str
    type: str
    value: str


@cache
def columns() -> tuple[Column, ...]:
    """Of a row: the record's own, between who wrote it and when, and the partitions."""
    info = mi.type_info(Record)
    assert isinstance(info, mi.StructType)
    own = [
        Column(field.encode_name, _type(field.type), _value(info, field, quoted(field.encode_name), 0))
        for field in info.fields
        if field.encode_name not in PARTITIONS
    ]
    return (
        Column("source", _TEXT, "$source"),
        Column("arrived", "TIMESTAMPTZ", "make_timestamp(t_wall_ns // 1000) AT TIME ZONE 'UTC'"),
        *own,
        Column("day", "DATE", f"DATE '1970-01-01' + (t_wall_ns // {86_400 * 10**9})::INTEGER"),
        Column("tenant", _TEXT, f"coalesce(tenant, '{NOBODY}')"),
    )


@cache
def read_as() -> dict[str, str]:
    """Names and types of a record's JSON, as it is read."""
    info = mi.type_info(Record)
    assert isinstance(info, mi.StructType)
    return {field.encode_name: _type(field.type) for field in info.fields}


def column_type(kind: Any) -> str:
    """Of any type that msgspec reads. Raises TypeError for one that a column can't hold."""
    return _type(mi.type_info(kind))


def money() -> list[str]:
    """Fields of `cost` in nano-dollars, without their unit."""
    return [name.removesuffix("_nanousd") for name in CostRow.__struct_fields__ if name.endswith("_nanousd")]


def quoted(name: str) -> str:
    """As an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """As an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def _type(kind: mi.Type) -> str:
    """Raises TypeError for what a column can't hold: a choice between types, a map whose keys are no text."""
    kind = _known(kind)
    if isinstance(kind, mi.StructType):
        return f"STRUCT({', '.join(f'{quoted(field.encode_name)} {_type(field.type)}' for field in kind.fields)})"
    if isinstance(kind, (mi.ListType, mi.VarTupleType, mi.SetType, mi.FrozenSetType)):
        return f"{_type(kind.item_type)}[]"
    if isinstance(kind, mi.DictType) and isinstance(kind.key_type, mi.StrType):
        return f"MAP({_TEXT}, {_type(kind.value_type)})"
    if isinstance(kind, mi.LiteralType) and all(isinstance(value, str) for value in kind.values):
        return _TEXT
    if type(kind) not in _SCALARS:
        raise TypeError(f"the lake has no column for {kind}")
    return _SCALARS[type(kind)]


def _known(kind: mi.Type) -> mi.Type:
    """Without null, which every column may be."""
    if isinstance(kind, mi.Metadata):
        return _known(kind.type)
    if isinstance(kind, mi.UnionType):
        rest = [one for one in kind.types if not isinstance(one, mi.NoneType)]
        if len(rest) == 1:
            return _known(rest[0])
    return kind


def _value(owner: mi.StructType, field: mi.Field, ref: str, depth: int) -> str:
    """SQL of a field, with what its struct leaves out of JSON where it is the default: absent is not unknown."""
    inner = _inner(_known(field.type), ref, depth)
    default = _default(field)
    left_out = owner.cls.__struct_config__.omit_defaults and default is not None
    return f"coalesce({inner}, {default})" if left_out else inner


def _inner(kind: mi.Type, ref: str, depth: int) -> str:
    if isinstance(kind, mi.StructType):
        values = [(field, _value(kind, field, f"{ref}.{quoted(field.encode_name)}", depth)) for field in kind.fields]
        if all(value == f"{ref}.{quoted(field.encode_name)}" for field, value in values):
            return ref
        packed = ", ".join(f"{quoted(field.encode_name)} := {value}" for field, value in values)
        return f"CASE WHEN {ref} IS NULL THEN NULL ELSE struct_pack({packed}) END"
    if isinstance(kind, mi.ListType):
        each = f"x{depth}"
        value = _inner(_known(kind.item_type), each, depth + 1)
        return ref if value == each else f"list_transform({ref}, lambda {each}: {value})"
    return ref


def _default(field: mi.Field) -> str | None:
    """In SQL; None: null, or none."""
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value is None or value is msgspec.NODEFAULT:
        return None
    literal = text(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"{literal}::{_type(field.type)}"


__all__ = ["NOBODY", "PARTITIONS", "Column", "column_type", "columns", "money", "quoted", "read_as", "text"]

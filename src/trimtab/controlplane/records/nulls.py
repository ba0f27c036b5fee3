"""How much of what a record could say is known: the share of nulls of each field.

A field that is null in every row is one that nothing fills: a promise that is not kept yet, or something that this
workspace does not use. A share that grows is a source that went silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from trimtab.core.record import Record

_NEVER: Final = frozenset({"v", "kind", "id", "of", "t_wall_ns"})
"""What a row is, rather than what it says."""


class Nulls(msgspec.Struct, frozen=True, kw_only=True):
    """`field`: its way, by dots; `rows` in which what holds it was there; `null` of them without it."""

    field: str
    rows: int
    null: int

    @property
    def share(self) -> float:
        return self.null / self.rows


def nulls(rows: Iterable[Record]) -> list[Nulls]:
    """Of every field of the rows, most nulls first. Empty lists and tables count as null: nothing was said."""
    seen: Counter[str] = Counter()
    null: Counter[str] = Counter()
    for row in rows:
        _count(row, "", seen, null)
    found = [Nulls(field=field, rows=count, null=null[field]) for field, count in seen.items()]
    return sorted(found, key=lambda one: (-one.share, one.field))


def _count(value: msgspec.Struct, way: str, seen: Counter[str], null: Counter[str]) -> None:
    for name in value.__struct_fields__:
        if not way and name in _NEVER:
            continue
        inner: Any = getattr(value, name)
        field = f"{way}{name}"
        if isinstance(inner, msgspec.Struct):
            _count(inner, f"{field}.", seen, null)
            continue
        seen[field] += 1
        null[field] += inner is None or (isinstance(inner, (list, dict, tuple)) and not inner)


__all__ = ["Nulls", "nulls"]

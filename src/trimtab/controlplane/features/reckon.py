"""Values of features as of instants, from the lake's rows: of one key, of many rows, of all keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from trimtab.controlplane import lake  # what of it needs DuckDB is loaded once it is used
from trimtab.controlplane.features.words import Ask, at_points, of_all
from trimtab.core.features import Feature

if TYPE_CHECKING:
    from trimtab.controlplane.lake import Table

MEMORY_MIB: Final = 1024
BATCH: Final = 5_000
"""Rows that are joined in one question: percentiles hold all values of a row's window."""
_ALL: Final = 1 << 62


class Reckoned(NamedTuple):
    """`n`: rows that counted. `value` None: there were fewer than the feature needs."""

    key: str
    n: int
    value: float | None


def as_of(table: Table, feature: Feature, asks: Iterable[Ask], memory_mib: int = MEMORY_MIB) -> Iterator[Reckoned]:
    """One for each, in their order: from rows that were known before its time, and none that ended later. Raises
    LakeError."""
    files, left = table.files(), iter(asks)
    while some := list(islice(left, BATCH)):
        unlike = list(dict.fromkeys(some))
        found = lake.ask(files, at_points(feature, unlike), rows=_ALL, memory_mib=memory_mib).rows
        by = {unlike[index]: Reckoned(unlike[index].key, n, _told(feature, n, value)) for index, n, value in found}
        yield from (by[one] for one in some)


def of_all_keys(table: Table, feature: Feature, t_ns: int, memory_mib: int = MEMORY_MIB) -> list[Reckoned]:
    """Of every key whose value is known as of `t_ns`, those with most rows first. Raises LakeError."""
    found = lake.ask(table.files(), of_all(feature, t_ns), rows=_ALL, memory_mib=memory_mib).rows
    known = [Reckoned(key, n, value) for key, n, value in found if _told(feature, n, value) is not None]
    return sorted(known, key=lambda one: (-one.n, one.key))


def _told(feature: Feature, n: int, value: float | None) -> float | None:
    return value if n >= feature.min_rows else None


def key_of(feature: Feature, given: Mapping[str, str | None]) -> str | None:
    """The key of a row that has these columns: its entity, a channel behind its tenant. None: it has none."""
    value, tenant = given.get(feature.of), given.get("tenant")
    if feature.of != "channel" or not value or "/" in value:
        return value or None
    return f"{tenant}/{value}" if tenant else None


def joined(
    table: Table,
    features: Mapping[str, Feature],
    rows: Sequence[Mapping[str, str | None]],
    times_ns: Sequence[int],
    memory_mib: int = MEMORY_MIB,
) -> dict[str, list[float | None]]:
    """By feature, its value for each row as of that row's time; None where it is unknown. Raises LakeError."""
    found: dict[str, list[float | None]] = {}
    for name, feature in features.items():
        values: list[float | None] = [None] * len(rows)
        keys = [key_of(feature, row) for row in rows]
        places = [index for index, key in enumerate(keys) if key is not None]
        asks = (Ask(keys[index] or "", times_ns[index]) for index in places)
        for index, one in zip(places, as_of(table, feature, asks, memory_mib), strict=True):
            values[index] = one.value
        found[name] = values
    return found


__all__ = ["MEMORY_MIB", "Reckoned", "as_of", "joined", "key_of", "of_all_keys"]

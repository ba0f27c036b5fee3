"""Joining: rows of a file get, beside their own columns, what features were as of each row's time.

A row has a `time` and whose it is (`tenant`, `channel`, `market`, `variant`, `tier`: what the features are of), or a
`record`, which has both. Values are those of the lake as of that time; of a record also those that its decision saw.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from trimtab.controlplane.features import joined, key_of
from trimtab.controlplane.lake import Table, ask
from trimtab.controlplane.lake.schema import text
from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import NS_PER_S, Clock, instant_ns
from trimtab.core.features import Feature
from trimtab.surfaces.features import FeaturesError, settled

TIME, RECORD = "time", "record"
_MOST_IDS: Final = 10_000
_DAY_NS: Final = 86_400 * NS_PER_S
_Row = Mapping[str, str | None]


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that were joined; by feature, for how many its value is unknown, and for how many because the lake no longer
    keeps what their window reaches back to."""

    rows: int
    unknown: dict[str, int]
    too_old: dict[str, int]


class _File(NamedTuple):
    names: list[str]
    rows: list[tuple[str | None, ...]]

    def column(self, name: str) -> list[str | None]:
        at = self.names.index(name)
        return [row[at] for row in self.rows]


def join(workspace: Workspace, source: Path, out: Path, *, seen: bool, memory_mib: int, clock: Clock) -> Joined:
    """Write `out`, in the form of `source`: CSV or Parquet, by its name. `seen`: what the decision of each row's record
    saw, in place of what the lake says. Raises FeaturesError, LakeError, BusyError, OSError."""
    declared = workspace.snapshot.release.features.features
    file = _read(source)
    _named(file, declared, source)
    table, as_of_ns, _ = settled(workspace, clock)
    rows, times = _asked(file, table, as_of_ns, memory_mib)
    if seen:
        values = _seen(rows, declared)
    else:
        values = joined(table, declared, rows, times, memory_mib)
    too_old = _cut(values, declared, times, _first_kept_ns(workspace, as_of_ns)) if not seen else {}
    _write(out, source, file, values)
    unknown = {name: sum(one is None for one in found) for name, found in values.items()}
    return Joined(rows=len(file.rows), unknown=unknown, too_old=too_old)


def _read(source: Path) -> _File:
    if source.suffix == ".parquet":
        from trimtab.controlplane.features.adapters.duck import read_rows

        return _File(*read_rows(source))
    with source.open(newline="", encoding="utf-8-sig") as opened:
        lines = list(csv.reader(opened))
    if not lines:
        raise FeaturesError(f"{source} is empty: its first line names its columns, e.g. time,tenant,channel")
    width = len(lines[0])
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != width:
            raise FeaturesError(f"{source}:{number}: {len(line)} cells, where the first line names {width} columns")
    return _File(lines[0], [tuple(cell or None for cell in line) for line in lines[1:]])


def _named(file: _File, declared: Mapping[str, Feature], source: Path) -> None:
    """Raises FeaturesError where columns are missing, or in the way."""
    if not declared:
        raise FeaturesError("no feature is declared: write features.yaml, docs/how-to/declare-a-feature.md shows how")
    if taken := sorted(declared.keys() & set(file.names)):
        raise FeaturesError(f"{source} has a column {taken[0]} already: rename it there, or the feature")
    if RECORD in file.names:
        return
    if TIME not in file.names:
        raise FeaturesError(f"{source} has neither a column {TIME} (2027-01-31T00:00:00Z) nor one {RECORD} (an id)")
    for name, one in declared.items():
        if one.of not in file.names:
            raise FeaturesError(f"{source} has no column {one.of}, and feature {name} is of {one.of}s")


def _asked(file: _File, table: Table, as_of_ns: int, memory_mib: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Whose features, as of when. Raises FeaturesError for what is no time, or one at which too little is known yet."""
    if RECORD in file.names:
        ids = file.column(RECORD)
        known = _records(ids, table, memory_mib)
        missing = next((one for one in ids if one is None or one not in known), None)
        if missing is not None or None in ids:
            raise FeaturesError(f"the lake has no request {missing or '(an empty cell)'}")
        rows = [known[one] for one in ids if one is not None]
        return rows, [row["t_wall_ns"] for row in rows]
    times = [_instant(one, number) for number, one in enumerate(file.column(TIME), start=2)]
    late = next((number for number, one in enumerate(times, start=2) if one > as_of_ns), None)
    if late is not None:
        raise FeaturesError(f"row {late}: at its time not everything has ended yet, so its values may still change")
    return [dict(zip(file.names, row, strict=True)) for row in file.rows], times


def _records(ids: Sequence[str | None], table: Table, memory_mib: int) -> dict[str, dict[str, Any]]:
    names = ("id", "tenant", "channel", "market", "variant", "tier", "t_wall_ns", "online")
    wanted = sorted({one for one in ids if one is not None})
    found = {}
    for start in range(0, len(wanted), _MOST_IDS):
        listed = ", ".join(map(text, wanted[start : start + _MOST_IDS]))
        sql = f"SELECT {', '.join(names)} FROM records WHERE kind = 'request' AND id IN ({listed})"  # noqa: S608 - quoted
        for row in ask(table.files(), sql, rows=len(wanted), memory_mib=memory_mib).rows:
            found[row[0]] = dict(zip(names, row, strict=True))
    return found


def _seen(rows: Sequence[_Row], declared: Mapping[str, Feature]) -> dict[str, list[float | None]]:
    """Raises FeaturesError for rows that are no record's."""
    if rows and "online" not in rows[0]:
        raise FeaturesError(f"what a decision saw stands in its record: name those in a column {RECORD}")
    found: dict[str, list[float | None]] = {name: [] for name in declared}
    for row in rows:
        online: Any = row["online"] or []
        for name, one in declared.items():
            looked_up = (name, one.definition, key_of(one, row))
            mine = (each for each in online if (each["name"], each["definition"], each["key"]) == looked_up)
            found[name].append(next((each["value"] for each in mine), None))
    return found


def _cut(
    values: dict[str, list[float | None]], declared: Mapping[str, Feature], times: Sequence[int], first_ns: int
) -> dict[str, int]:
    """Unknown where the lake has let days go that the window reaches back to; how many, by feature."""
    cut: dict[str, int] = {}
    for name, one in declared.items():
        for index, t_ns in enumerate(times):
            if t_ns - one.window_ns < first_ns:
                values[name][index] = None
                cut[name] = cut.get(name, 0) + 1
    return cut


def _first_kept_ns(workspace: Workspace, now_ns: int) -> int:
    days = workspace.settings.lake.keep_days
    return 0 if days is None else (now_ns // _DAY_NS - days + 1) * _DAY_NS


def _instant(told: str | None, number: int) -> int:
    """RFC 3339, or whole nanoseconds since 1970."""
    if told is not None and told.isdigit():
        return int(told)
    with suppress(ValueError):
        if told is not None and datetime.fromisoformat(told).tzinfo is not None:
            return instant_ns(told)
    hint = "write 2027-01-31T00:00:00Z, or whole nanoseconds since 1970"
    raise FeaturesError(f"row {number}: {told or '(an empty cell)'} is no time: {hint}")


def _write(out: Path, source: Path, file: _File, values: Mapping[str, Sequence[float | None]]) -> None:
    """Beside what it is called, then renamed: whole or not there."""
    half = out.with_name(out.name + ".new")
    if source.suffix == ".parquet":
        from trimtab.controlplane.features.adapters.duck import write_beside

        lines = half.with_name(half.name + ".jsonl")
        try:
            rows = zip(*values.values(), strict=True)
            lines.write_bytes(
                b"".join(msgspec.json.encode(dict(zip(values, row, strict=True))) + b"\n" for row in rows)
            )
            write_beside(half, source, lines, list(values))
        finally:
            lines.unlink(missing_ok=True)
    else:
        with half.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow([*file.names, *values])
            for index, row in enumerate(file.rows):
                writer.writerow([*row, *(_cell(found[index]) for found in values.values())])
    half.replace(out)


def _cell(value: float | None) -> str:
    return "" if value is None else repr(int(value) if value.is_integer() else value)


__all__ = ["Joined", "join"]

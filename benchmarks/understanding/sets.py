"""The labelled sets: where they are, how they are read, and which part is learnt from."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

FILES = {
    "banking77": "b_intent/banking77.parquet",
    "clinc150": "b_intent/clinc150.parquet",
    "xsid": "b_intent/xsid_0_7.parquet",
    "sib200": "b_intent/sib200_18lang.parquet",
}
DIALECTS = frozenset({"de-ba", "de-muc", "de-st", "gsw", "nap"})  # no languages of ISO 639-1


class CannotReadError(Exception):
    """A set is not there, or nothing here reads it; the text says what would help."""


class Row(NamedTuple):
    """One text with what is known of it."""

    text: str
    label: str
    language: str
    learn: bool


def read(name: str, given: dict[str, str]) -> list[Row]:
    """All rows, in an order that says nothing. `given`: files in place of the sets."""
    root = Path(os.environ.get("TRIMTAB_DATA", "data"))
    path = Path(given[name]) if name in given else root / FILES[name]
    if not path.exists():
        raise CannotReadError(f"{path} is not there: set TRIMTAB_DATA, or give --data {name}=FILE")
    rows = [row for row in map(_ROWS[name], _records(path)) if row is not None and row.text.strip()]
    return sorted(set(rows), key=lambda row: _number(repr(row)))


def sampled(rows: Iterable[Row], each: int, key: Callable[[Row], str] = lambda row: row.label) -> list[Row]:
    """At most `each` of every key, in their order; 0 is all."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[key(row)] += 1
        if not each or seen[key(row)] <= each:
            kept.append(row)
    return kept


def _records(path: Path) -> Sequence[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line.strip()]
    if importlib.util.find_spec("pyarrow"):
        from pyarrow import parquet

        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    if importlib.util.find_spec("duckdb"):
        import duckdb

        found = duckdb.sql(f"SELECT * FROM '{path}'")
        return [dict(zip(found.columns, values, strict=True)) for values in found.fetchall()]
    raise CannotReadError(f"{path}: reading Parquet needs pyarrow or duckdb; .csv and .jsonl need neither")


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def _fifth(text: str) -> bool:
    return _number(text) % 5 == 0


def _banking(one: dict[str, Any]) -> Row:
    return Row(one["text"], one["category"], "en", not _fifth(one["text"]))


def _clinc(one: dict[str, Any]) -> Row:
    return Row(one["text"], one["intent"], "en", one["part"] == "train")


def _xsid(one: dict[str, Any]) -> Row | None:
    """Parallel sentences stay on one side of the split."""
    if one["lang"] in DIALECTS:
        return None
    return Row(one["text"], one["intent"], one["lang"], not _fifth(one["text_en"] or one["text"]))


def _sib(one: dict[str, Any]) -> Row:
    return Row(one["text"], one["category"], one["lang"], one["part"] == "train")


_ROWS: dict[str, Callable[[dict[str, Any]], Row | None]] = {
    "banking77": _banking,
    "clinc150": _clinc,
    "xsid": _xsid,
    "sib200": _sib,
}

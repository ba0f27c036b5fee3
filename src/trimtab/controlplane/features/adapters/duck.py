"""DuckDB: values as Arrow for the table, and Parquet files of rows that get values beside theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from trimtab.controlplane.lake.base import LakeError
from trimtab.controlplane.lake.schema import text

COLUMNS: Final = {
    "name": "VARCHAR",
    "definition": "VARCHAR",
    "of": "VARCHAR",
    "key": "VARCHAR",
    "value": "DOUBLE",
    "n": "BIGINT",
    "as_of_ns": "BIGINT",
    "known_ns": "BIGINT",
    "day": "DATE",
    "tenant": "VARCHAR",
}
"""Of the table of published values; `day` is that of `as_of_ns`."""


@contextmanager
def arrow(file: Path) -> Iterator[Any]:
    """Published values in `file` (JSON lines) as an Arrow stream of these columns."""
    given = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in COLUMNS.items())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'; SET threads=1")
        yield connection.sql(
            f"SELECT * FROM read_json({text(str(file))}, format='newline_delimited', columns={{{given}}})"  # noqa: S608
        )


def read_rows(file: Path) -> tuple[list[str], list[tuple[str | None, ...]]]:
    """Names and rows of a Parquet file, as text: a time as RFC 3339, UTC where it says no zone. Raises LakeError."""
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone='UTC'")
            found = connection.sql(f"SELECT * FROM read_parquet({text(str(file))})")  # noqa: S608 - quoted
            return list(found.columns), [tuple(map(_text, row)) for row in found.fetchall()]
    except duckdb.Error as error:
        raise LakeError(f"{file} can't be read: {error}") from error


def _text(value: Any) -> str | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return None if value is None else str(value)


def write_beside(file: Path, source: Path, values: Path, names: Sequence[str]) -> None:
    """As Parquet, all of `source` (Parquet) in its order, with the numbers that `values` (JSON lines, one a row) has
    by these names. Raises LakeError."""
    given = ", ".join(f"{text(name)}: 'DOUBLE'" for name in names)
    left = f"(SELECT * FROM read_parquet({text(str(source))}))"  # noqa: S608 - quoted
    right = f"(SELECT * FROM read_json({text(str(values))}, format='newline_delimited', columns={{{given}}}))"  # noqa: S608
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone='UTC'; SET threads=1; SET preserve_insertion_order=true")
            connection.execute(
                f"COPY (SELECT * FROM {left} POSITIONAL JOIN {right}) TO {text(str(file))} (FORMAT parquet)"  # noqa: S608
            )
    except duckdb.Error as error:
        raise LakeError(f"{file} can't be written: {error}") from error


__all__ = ["COLUMNS", "arrow", "read_rows", "write_beside"]

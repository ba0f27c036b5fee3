"""DuckDB: values as Arrow for the table, and files of rows that are to be joined, CSV by hand and Parquet by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from trimtab.controlplane.lake.base import LakeError
from trimtab.controlplane.lake.schema import quoted, text

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


def read_parquet(file: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names and rows. Raises LakeError."""
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone='UTC'")
            found = connection.sql(f"SELECT * FROM read_parquet({text(str(file))})")  # noqa: S608 - quoted
            return list(found.columns), found.fetchall()
    except duckdb.Error as error:
        raise LakeError(f"{file} can't be read: {error}") from error


def write_parquet(file: Path, source: Path, values: Path, names: Sequence[str]) -> None:
    """All of `source` (Parquet) in its order, with the numbers that `values` (JSON lines, one a row) has by these
    names. Raises LakeError."""
    given = ", ".join(f"{text(name)}: 'DOUBLE'" for name in names)
    shown = ", ".join(f"b.{quoted(name)}" for name in names)
    left = f"(SELECT *, row_number() OVER () AS _row FROM read_parquet({text(str(source))})) a"  # noqa: S608 - quoted
    right = (
        f"(SELECT *, row_number() OVER () AS _row FROM read_json({text(str(values))}, "  # noqa: S608 - quoted
        f"format='newline_delimited', columns={{{given}}})) b"
    )
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone='UTC'; SET threads=1; SET preserve_insertion_order=true")
            connection.execute(
                f"COPY (SELECT a.* EXCLUDE (_row), {shown} FROM {left} JOIN {right} USING (_row) ORDER BY _row) "  # noqa: S608
                f"TO {text(str(file))} (FORMAT parquet)"
            )
    except duckdb.Error as error:
        raise LakeError(f"{file} can't be written: {error}") from error


__all__ = ["COLUMNS", "arrow", "read_parquet", "write_parquet"]

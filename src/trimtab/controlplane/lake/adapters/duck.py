"""DuckDB: turns rows of JSON into Arrow, and answers questions over the files of a table.

A connection for questions may open those files and nothing else, and can't be told otherwise: no network, no other
file, no extension, no setting; what needs more memory than it has fails. DuckDB's own reader of Delta is an extension
that has to be downloaded; the files of a version are handed over by name instead, which is what a version is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from trimtab.controlplane.lake.base import LakeError
from trimtab.controlplane.lake.schema import columns, money, quoted, read_as, text

_UNLIKE: Final = "schema mismatch"
"""DuckDB's words for a file that lacks a column of the first one."""


class _UnlikeError(Exception):
    """The files are not alike."""


class Answer(NamedTuple):
    """Names and types of the columns; the rows; whether there were more."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    cut: bool


@contextmanager
def shaped(file: Path, source: str, memory_mib: int) -> Iterator[Any]:
    """Rows of `file` (records as JSON lines) as an Arrow stream of the lake's columns."""
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit='{memory_mib}MiB'; SET TimeZone='UTC'; SET threads=2")
        given = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in read_as().items())
        made = ", ".join(f"{column.value} AS {quoted(column.name)}" for column in columns())
        lines = f"read_json({text(str(file))}, format='newline_delimited', columns={{{given}}})"
        yield connection.sql(f"SELECT {made.replace('$source', text(source))} FROM {lines}")  # noqa: S608 - quoted


def ask(files: Sequence[str], sql: str, *, rows: int, memory_mib: int) -> Answer:
    """The answer to one question over view `records`, `rows` of it at most. Raises LakeError with DuckDB's words."""
    statement = _checked(sql)
    try:
        return _answer(files, statement, rows, memory_mib, alike=True)
    except _UnlikeError:
        pass
    except duckdb.Error as error:
        if _UNLIKE not in str(error):
            raise LakeError(_said(error)) from error
    try:
        return _answer(files, statement, rows, memory_mib, alike=False)
    except duckdb.Error as error:
        raise LakeError(_said(error)) from error


def _answer(files: Sequence[str], statement: str, rows: int, memory_mib: int, *, alike: bool) -> Answer:
    """`alike`: believe that all files have the columns of the first, which saves opening each before the question is
    looked at, half of the time. Raises _UnlikeError where the first is an older one, duckdb.Error where another is."""
    with duckdb.connect() as connection:
        _prepare(connection, files, memory_mib, alike)
        cursor = connection.execute(statement)
        found = cursor.fetchmany(rows + 1)
        head = cursor.description or []
        return Answer([one[0] for one in head], [str(one[1]) for one in head], found[:rows], len(found) > rows)


def _prepare(connection: duckdb.DuckDBPyConnection, files: Sequence[str], memory_mib: int, alike: bool) -> None:
    """The view, and the lock."""
    for setting in (
        f"memory_limit='{memory_mib}MiB'",
        "TimeZone='UTC'",
        "temp_directory=''",
        "autoinstall_known_extensions=false",
        "autoload_known_extensions=false",
        f"allowed_paths=[{', '.join(text(file) for file in files)}]",
    ):
        connection.execute(f"SET {setting}")
    connection.execute(f"CREATE VIEW records AS {_view(files, alike)}")
    if alike and not _is_whole(connection):
        raise _UnlikeError
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def _is_whole(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the view has all that this release knows of. A file of a later one may have more."""
    wanted = ", ".join(f"NULL::{column.type} AS {quoted(column.name)}" for column in columns())
    known = connection.sql(f"SELECT {wanted}")
    seen = connection.sql("SELECT * FROM records")
    types = dict(zip(seen.columns, map(str, seen.types), strict=True)) | {"arrived": "TIMESTAMP WITH TIME ZONE"}
    return all(types.get(name) == str(kind) for name, kind in zip(known.columns, known.types, strict=True))


def _view(files: Sequence[str], alike: bool) -> str:
    """Every column of the table, `arrived` in UTC, and money in dollars: decimals, from whole nano-dollars."""
    dollars = "".join(f", cost.{name}_nanousd * 0.000000001::DECIMAL(10, 9) AS {name}_usd" for name in money())
    stands = "* REPLACE (make_timestamp(t_wall_ns // 1000) AS arrived)"
    if not files:
        empty = ", ".join(f"NULL::{column.type} AS {quoted(column.name)}" for column in columns())
        return f"SELECT {stands}{dollars} FROM (SELECT {empty} WHERE false)"  # noqa: S608 - no outside text
    # By name where older files lack younger columns; the partitions are in the folders' names.
    listed = ", ".join(text(file) for file in files)
    options = f"union_by_name={not alike}, hive_partitioning=true, hive_types={{day: DATE, tenant: VARCHAR}}"
    return f"SELECT {stands}{dollars} FROM read_parquet([{listed}], {options})"  # noqa: S608 - quoted


def _checked(sql: str) -> str:
    """The statement, if it only reads. Raises LakeError."""
    try:
        found = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise LakeError(_said(error)) from error
    if len(found) != 1:
        raise LakeError(f"ask one question at a time: these are {len(found)} statements")
    statement = found[0]
    if statement.type == duckdb.StatementType.EXPLAIN:
        _checked(_explained(statement.query))
    elif statement.type != duckdb.StatementType.SELECT:
        name = statement.type.name.replace("_", " ")
        raise LakeError(f"the lake is only read here, by SELECT, WITH, DESCRIBE, SHOW or EXPLAIN; this is {name}")
    return statement.query


def _explained(sql: str) -> str:
    """What an EXPLAIN is of: with ANALYZE it is run."""
    found = re.fullmatch(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?([^(\s].*)", sql, re.IGNORECASE | re.DOTALL)
    if found is None:
        raise LakeError("write EXPLAIN or EXPLAIN ANALYZE, and the question")
    return found[1]


def _said(error: duckdb.Error) -> str:
    """DuckDB's message without its blank lines."""
    return "\n".join(line for line in str(error).splitlines() if line.strip())


__all__ = ["Answer", "ask", "shaped"]

"""Questions: SQL that reads, over the table and nothing else."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from support.lake import Pond
from support.records import spent
from trimtab.controlplane.lake import LakeError, NoLakeError, ask


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> Pond:
    """Three rows of two tenants."""
    made = Pond(tmp_path_factory.mktemp("pond"))
    made.write(spent("a", 1_500_000), spent("a", 2), spent("b", 3))
    made.ingest()
    return made


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM records",
        "with x as (select * from records) select count(*) from x;",
        "FROM records SELECT count(*)",
        "DESCRIBE records",
        "SUMMARIZE SELECT tenant FROM records",
        "SHOW TABLES",
        "EXPLAIN SELECT count(*) FROM records",
        "explain analyze select count(*) from records",
        "-- how many?\nSELECT count(*) FROM records",
    ],
)
def test_what_reads_is_answered(pond: Pond, sql: str) -> None:
    """Every form of it."""
    assert ask(pond.table.files(), sql, rows=1000, memory_mib=512).rows


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{lake}/x.parquet'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.parquet'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '{file}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "explain  (analyze) copy (SELECT 1) TO '{file}'",
        "/* EXPLAIN SELECT 1 */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "EXPLAIN (FORMAT json) COPY (SELECT 1) TO '{lake}/x.parquet'",
        "INSERT INTO records (id) VALUES ('x')",
        "DELETE FROM records",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW records",
        "ATTACH '{lake}/x.db'",
        "EXPORT DATABASE '{lake}'",
        "PRAGMA database_list",
        "SET memory_limit = '64GB'",
        "CALL pragma_version()",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT 1; SELECT 2",
        "",
        "SELEC 1",
    ],
)
def test_what_does_not_read_is_refused(pond: Pond, sql: str) -> None:
    """Before anything is run, and nothing is written: not into the table's own files either, which may be opened."""
    before = contents(pond.folder)
    with pytest.raises(LakeError):
        ask(
            pond.table.files(),
            sql.format(lake=pond.folder / "lake", file=pond.table.files()[0]),
            rows=1,
            memory_mib=512,
        )
    assert contents(pond.folder) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """Of every file."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_text('{lake}/_delta_log/00000000000000000000.json')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "SELECT * FROM read_parquet('{lake}/**/*.parquet')",
        "SELECT * FROM read_csv('/dev/stdin')",
        "SELECT getenv('HOME')",
        "SELECT * FROM pond",
        "WITH x AS (DELETE FROM records RETURNING *) SELECT * FROM x",
    ],
)
def test_nothing_but_the_table_can_be_read(pond: Pond, sql: str) -> None:
    """No other file, no folder, no network, no variable of this process; not the table's log either."""
    with pytest.raises(LakeError):
        ask(pond.table.files(), sql.format(lake=pond.folder / "lake"), rows=10, memory_mib=512)


def test_money_stands_beside_nano_dollars(pond: Pond) -> None:
    """One as it is recorded, the other for people; both exact."""
    sql = "SELECT tenant, sum(settled_usd), sum(cost.settled_nanousd) FROM records GROUP BY ALL ORDER BY 1"
    assert pond.ask(sql) == [("a", Decimal("0.001500002"), 1_500_002), ("b", Decimal("0.000000003"), 3)]


def test_rows_are_limited_and_it_is_told(pond: Pond) -> None:
    """As many as asked for, and whether there were more."""
    found = ask(pond.table.files(), "SELECT * FROM range(100)", rows=7, memory_mib=512)
    assert (len(found.rows), found.cut) == (7, True)
    found = ask(pond.table.files(), "SELECT * FROM range(7)", rows=7, memory_mib=512)
    assert (len(found.rows), found.cut) == (7, False)


def test_memory_is_limited(pond: Pond, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs more fails, and writes nothing to the disk instead."""
    monkeypatch.chdir(tmp_path)
    sql = "SELECT count(*) FROM (SELECT x, count(*) FROM (SELECT hash(range) AS x FROM range(5000000)) GROUP BY x)"
    with pytest.raises(LakeError, match="Out of Memory"):
        ask(pond.table.files(), sql, rows=1, memory_mib=64)
    assert list(tmp_path.iterdir()) == []


def test_no_lake_says_how_to_make_one(tmp_path: Path) -> None:
    """Asked before the first rows came in."""
    with pytest.raises(NoLakeError, match="trimtab lake ingest"):
        Pond(tmp_path).table.files()

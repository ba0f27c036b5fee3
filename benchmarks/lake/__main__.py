"""python -m benchmarks.lake: see README.md beside this file."""

from __future__ import annotations

import datetime
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.lake.beside import FULL as BESIDE
from benchmarks.lake.beside import QUICK as BESIDE_QUICK
from benchmarks.lake.beside import beside
from benchmarks.lake.rows import DAY_NS, Rows, written
from benchmarks.options import options
from benchmarks.tables import claim, tell
from trimtab.controlplane.lake import Place, Table, ask, compact, ingest
from trimtab.controlplane.records import query
from trimtab.controlplane.records.report import summarise
from trimtab.core.clock import SystemClock

ROWS, QUICK_ROWS, PORTION = 10_000_000, 60_000, 250_000
TAKEN = 1_000_000
"""Rows that are taken in from a journal; those beyond are written from them, with other ids, times and durations."""
PART_DAYS = 10
"""Of a commit of those: a writer's files are open for each day and tenant."""
MEMORY_MIB = 4096
PLANNED = 1000
TIMES = 5
TARGET = 20.0
"""How many times sooner a question is to be answered than by reading the records."""
QUESTIONS = {
    "count of all": "SELECT count(*) FROM records",
    "money by tenant": "SELECT tenant, sum(settled_usd) FROM records GROUP BY tenant",
    "by channel and path": (
        "SELECT tenant, channel, path, count(*), sum(settled_usd), quantile_disc(e2e_ms, [0.5, 0.95, 0.99])"
        " FROM records GROUP BY ALL"
    ),
    "one day of one tenant": "SELECT count(*), avg(e2e_ms) FROM records WHERE day = '{day}' AND tenant = 't07'",
    "a record by id": "SELECT * FROM records WHERE id = '{id}'",
    "rules that hit": (
        "SELECT rule.id, count(*) FILTER (rule.hit) FROM (SELECT unnest(rules) AS rule FROM records"
        " WHERE day = '{day}') GROUP BY ALL"
    ),
}
BASELINE = "by channel and path"


def took(action: Callable[[], object], times: int = TIMES) -> float:
    """Median seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return median(found)


def copied(rows: Rows, lake: Table, times: int) -> None:
    """All rows once more, so many times: a millisecond later each, with other ids, and other durations."""
    files = ", ".join(f"'{one}'" for one in lake.files())
    view = f"read_parquet([{files}], hive_partitioning=true, hive_types={{day: DATE, tenant: VARCHAR}})"
    for copy in range(1, times + 1):
        for first in range(0, rows.days, PART_DAYS):
            since_ns = rows.end_ns - (rows.days - first) * DAY_NS
            until_ns = min(rows.end_ns, since_ns + PART_DAYS * DAY_NS)
            sql = (
                f"SELECT * REPLACE (replace(id, 'rec_', 'rec_{copy}x') AS id,"
                f" t_wall_ns + {copy} * 1000000 AS t_wall_ns, e2e_ms * (1 + random() / 10) AS e2e_ms) FROM {view}"
                f" WHERE t_wall_ns >= {since_ns} AND t_wall_ns < {until_ns}"
            )
            with duckdb.connect() as connection:
                connection.execute("SET TimeZone='UTC'; SET preserve_insertion_order=false")
                lake.append(connection.sql(sql), "gateway", {})
        print(f"{rows.made * (copy + 1):,} rows", file=sys.stderr)


def measure(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Take rows in, write the others, compact, ask."""
    whole_count, count = count, min(count, TAKEN)
    rows, records, lake = Rows(seed, count), folder / "records", Table(Place(url=str(folder / "lake")))
    records.mkdir(parents=True)
    taken_s = journal_bytes = read_s = read_rows = 0.0
    while rows.made < count:
        before = rows.made
        journal_bytes += written(rows, records, PORTION)
        if not read_s:  # the baseline, on the first portion: it costs the same for each row
            read_s, read_rows = took(lambda: summarise(query(records), ["channel", "path"]), 1), rows.made - before
        began = time.perf_counter()
        done = ingest(records, lake, folder / "staging.jsonl", source="gateway")
        taken_s += time.perf_counter() - began
        assert (done.rows, done.damaged) == (rows.made - before, [])
        print(f"{rows.made:,} rows", file=sys.stderr)
    copied(rows, lake, whole_count // count - 1)
    loose = lake.size()
    named = {"day": datetime.date.fromtimestamp(rows.end_ns // 10**9 - 86_400).isoformat(), "id": rows.id(count // 2)}
    asked = {name: sql.format(**named) for name, sql in QUESTIONS.items()}
    began = time.perf_counter()
    before_s = {name: took(lambda sql=sql: answer(lake, sql), 1) for name, sql in asked.items()}  # type: ignore[misc]
    compact_s = took(lambda: compact(lake, keep_days=None, history_h=168, now_ns=SystemClock().wall_ns()), 1)
    whole = lake.size()
    assert whole.rows == whole_count // count * count
    after_s = {name: took(lambda sql=sql: answer(lake, sql)) for name, sql in asked.items()}  # type: ignore[misc]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "intake": [
            {
                "rows": whole.rows,
                "taken_in": count,
                "rows_per_s": round(count / taken_s),
                "journal_bytes_per_row": round(journal_bytes / count),
                "lake_bytes_per_row": round(whole.bytes / whole.rows),
                "files": loose.files,
                "files_compacted": whole.files,
                "compact_s": round(compact_s, 2),
                "peak_mib": peak_mib,
            }
        ],
        "questions": [
            {"question": name, "loose_ms": round(1000 * before_s[name]), "compacted_ms": round(1000 * after_s[name])}
            for name in asked
        ],
        "claims": claims(whole.rows, count / taken_s, after_s[BASELINE], read_s / read_rows * whole.rows),
    }


def answer(lake: Table, sql: str) -> int:
    """As `trimtab query` does: a fresh connection each time."""
    return len(ask(lake.files(), sql, rows=1000, memory_mib=MEMORY_MIB).rows)


def claims(count: int, rows_per_s: float, ours_s: float, baseline_s: float) -> list[dict[str, Any]]:
    """In the columns of all benchmarks."""
    sooner = f"report by channel and path over {count:,} rows, s: reading the records, beside the lake"
    pace = f"rows a second taken in, beside the {PLANNED:,} requests a second that are planned for a gateway"
    return [
        claim(sooner, baseline_s, ours_s, f">= {TARGET} x", baseline_s >= TARGET * ours_s),
        claim(pace, rows_per_s, PLANNED, ">= 2.0 x", rows_per_s >= 2 * PLANNED),
    ]


def _add(found: dict[str, list[dict[str, Any]]], more: dict[str, list[dict[str, Any]]]) -> None:
    for name, told in more.items():
        found[name] += told


def main(args: Sequence[str] | None = None) -> int:
    """0: it was measured, whatever the claims say; 2: it can't be."""
    parser = options(
        "lake",
        "Rows taken in, and questions answered.",
        quick=f"{QUICK_ROWS:,} rows in place of {ROWS:,}",
        seed="rows",
    )
    parser.add_argument("--rows", type=int, help="so many rows")
    parser.add_argument(
        "--only", choices=("rows", "beside"), help="rows and questions; or requests beside a compaction"
    )
    given = parser.parse_args(args)
    count = given.rows or (QUICK_ROWS if given.quick else ROWS)
    found: dict[str, list[dict[str, Any]]] = {"intake": [], "questions": [], "figures": [], "claims": []}
    try:
        processes.end_on_signals()
        with tempfile.TemporaryDirectory(prefix="lake-") as folder:
            if given.only != "beside":
                _add(found, measure(Path(folder) / "rows", count, given.seed))
            if given.only != "rows":
                _add(found, beside(Path(folder) / "beside", BESIDE_QUICK if given.quick else BESIDE, given.seed))
    except CannotRunError as error:
        print(f"lake: {error}", file=sys.stderr)
        return 2
    found = {name: told for name, told in found.items() if told}
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""python -m benchmarks.lake: see README.md beside this file."""

from __future__ import annotations

import datetime
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.options import options
from benchmarks.tables import tell
from trimtab.controlplane.lake import Place, Table, ask, compact, ingest
from trimtab.controlplane.records import line as lines
from trimtab.controlplane.records import query, segment
from trimtab.controlplane.records.report import summarise
from trimtab.core.clock import SystemClock
from trimtab.core.record import CostRow, Record
from trimtab.foundations.store.line import digest

RECORD = Path(__file__).with_name("record.json")
ROWS, QUICK_ROWS, PORTION = 10_000_000, 60_000, 250_000
TENANTS, CHANNELS = 20, 4
DAY_ROWS = 30_000
"""Rows of a day where there are few; with many they stand on 30 days."""
DAY_NS = 86_400 * 10**9
MEMORY_MIB = 4096
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


class Rows:
    """Rows like one real record: other ids, times, tenants, channels, durations and costs."""

    def __init__(self, seed: int, count: int) -> None:
        self.random, self.count = random.Random(seed), count
        self.row = msgspec.json.decode(RECORD.read_bytes(), type=Record)
        self.days = max(1, min(30, count // DAY_ROWS))
        self.end_ns = SystemClock().wall_ns() // DAY_NS * DAY_NS
        self.made = 0

    def arrival_ns(self, number: int) -> int:
        """Evenly over the days."""
        return self.end_ns - self.days * DAY_NS + number * self.days * DAY_NS // self.count

    def id(self, number: int) -> str:
        return f"rec_{number:026d}"

    def take(self, most: int) -> Iterator[Record]:
        """The next ones; the same value is changed and handed out again."""
        row, chance = self.row, self.random
        for number in range(self.made, min(self.made + most, self.count)):
            row.id, row.seq, row.worker = self.id(number), number + 1, 0
            row.t_wall_ns = self.arrival_ns(number)
            row.tenant = f"t{number % TENANTS:02d}"
            row.channel = f"c{chance.randrange(CHANNELS)}"
            row.e2e_ms = chance.lognormvariate(6, 1)
            row.stages["infer"] = [30.0, row.e2e_ms - 1]
            row.cost = CostRow(settled_nanousd=chance.randrange(10**6), baseline_nanousd=2 * 10**6)
            self.made += 1
            yield row


def written(rows: Rows, folder: Path, most: int) -> int:
    """The next segment, as the journal writes it; its bytes. The one before it is deleted."""
    for path in folder.glob("*"):
        path.unlink()
    first, prev, size = rows.made + 1, lines.GENESIS, 0
    with (folder / segment.name(0, first, rows.arrival_ns(rows.made) + 1)).open("wb") as file:
        for row in rows.take(most):
            line = lines.encode(row, prev)
            prev = digest(line)
            size += file.write(line + b"\n")
    return size


def took(action: Callable[[], object], times: int = TIMES) -> float:
    """Median seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return median(found)


def measure(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Take `count` rows in, compact, ask."""
    rows, records, lake = Rows(seed, count), folder / "records", Table(Place(url=str(folder / "lake")))
    records.mkdir()
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
    loose = lake.size()
    named = {"day": datetime.date.fromtimestamp(rows.end_ns // 10**9 - 86_400).isoformat(), "id": rows.id(count // 2)}
    asked = {name: sql.format(**named) for name, sql in QUESTIONS.items()}
    began = time.perf_counter()
    before_s = {name: took(lambda sql=sql: answer(lake, sql), 1) for name, sql in asked.items()}  # type: ignore[misc]
    compact_s = took(lambda: compact(lake, keep_days=None, history_h=168, now_ns=SystemClock().wall_ns()), 1)
    whole = lake.size()
    assert whole.rows == count
    after_s = {name: took(lambda sql=sql: answer(lake, sql)) for name, sql in asked.items()}  # type: ignore[misc]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "intake": [
            {
                "rows": count,
                "rows_per_s": round(count / taken_s),
                "journal_bytes_per_row": round(journal_bytes / count),
                "lake_bytes_per_row": round(whole.bytes / count),
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
        "claims": claims(count, count / taken_s, after_s[BASELINE], read_s / read_rows * count),
    }


def answer(lake: Table, sql: str) -> int:
    """As `trimtab query` does: a fresh connection each time."""
    return len(ask(lake.files(), sql, rows=1000, memory_mib=MEMORY_MIB).rows)


def claims(count: int, rows_per_s: float, ours_s: float, baseline_s: float) -> list[dict[str, Any]]:
    """In the columns of all benchmarks."""
    ratio = baseline_s / ours_s
    return [
        {
            "claim": f"report by channel and path over {count:,} rows, s: lake beside reading the records",
            "ours": round(ours_s, 3),
            "baseline": round(baseline_s, 2),
            "ratio": round(ratio, 1),
            "target": TARGET,
            "met": ratio >= TARGET,
        },
        {
            "claim": "rows a second taken in, beside the 1,000 requests a second that are planned for a gateway",
            "ours": round(rows_per_s),
            "baseline": 1000,
            "ratio": round(rows_per_s / 1000, 1),
            "target": 2.0,
            "met": rows_per_s >= 2000,
        },
    ]


def main(args: Sequence[str] | None = None) -> int:
    """0: it was measured, whatever the claims say."""
    parser = options(
        "lake",
        "Rows taken in, and questions answered.",
        quick=f"{QUICK_ROWS:,} rows in place of {ROWS:,}",
        seed="rows",
    )
    parser.add_argument("--rows", type=int, help="so many rows")
    given = parser.parse_args(args)
    count = given.rows or (QUICK_ROWS if given.quick else ROWS)
    with tempfile.TemporaryDirectory(prefix="lake-") as folder:
        found = measure(Path(folder), count, given.seed)
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

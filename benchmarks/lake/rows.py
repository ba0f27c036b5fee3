"""Rows like one real record: other ids, times, tenants, channels, durations and costs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from trimtab.controlplane.records import line as lines
from trimtab.controlplane.records import segment
from trimtab.core.clock import SystemClock
from trimtab.core.record import Record
from trimtab.core.rows import CostRow
from trimtab.foundations.store.line import digest

RECORD = Path(__file__).with_name("record.json")
TENANTS, CHANNELS = 20, 4
DAY_ROWS = 30_000
"""Rows of a day where there are few; with many they stand on 30 days."""
DAY_NS = 86_400 * 10**9


class Rows:
    """`count` of them, evenly over `days` that end today."""

    def __init__(self, seed: int, count: int, days: int | None = None) -> None:
        self.random, self.count = random.Random(seed), count
        self.row = msgspec.json.decode(RECORD.read_bytes(), type=Record)
        self.days = days or max(1, min(30, count // DAY_ROWS))
        self.end_ns = SystemClock().wall_ns() // DAY_NS * DAY_NS
        self.made = 0

    def arrival_ns(self, number: int) -> int:
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

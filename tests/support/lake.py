"""A lake beside records, and how both are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.records import CLOCK
from trimtab.controlplane.lake import Ingested, Place, Table, ask, ingest
from trimtab.controlplane.records import Journal
from trimtab.core.record import Record


class Pond:
    """`folder` with records and a lake, as a workspace has them under `var`. `elsewhere`: seen from another machine,
    which stages in a file of its own and knows nothing of this one's locks."""

    def __init__(self, folder: Path, *, elsewhere: bool = False) -> None:
        self.folder, self.records = folder, folder / "records"
        name = "elsewhere" if elsewhere else "here"
        self.table = Table(Place(url=str(folder / "lake")), folder / f"{name}.lock")
        self.staging = folder / f"{name}.jsonl"

    def write(self, *rows: Record, worker: int = 0) -> None:
        """Append to a worker's journal, and close it."""
        journal = Journal(self.records, worker, CLOCK, group_s=0.001)
        for row in rows:
            journal.write(row)
        journal.close()

    def ingest(self, **options: Any) -> Ingested:
        return ingest(self.records, self.table, self.staging, **{"source": "gateway", **options})

    def ask(self, sql: str, rows: int = 1_000_000) -> list[tuple[Any, ...]]:
        return ask(self.table.files(), sql, rows=rows, memory_mib=512).rows

    def ids(self) -> list[str]:
        """Of all rows in the lake, doubles twice."""
        return [row[0] for row in self.ask("SELECT id FROM records ORDER BY worker, seq")]

"""From segments to the lake: every row exactly once, whatever ends the process.

    read behind the marks -> stage a batch as JSON lines -> DuckDB shapes it -> one Delta commit of rows and marks

Nothing outside the table remembers anything. A crash before the commit leaves files that no version names (a vacuum
takes them) and the marks where they were; after it, rows and marks are both there. The next run goes on from them.

A row's number counts within its worker's journal, so a mark is believed only while the row with its number is the one
that it was taken from. Where a journal was deleted or put back from a copy numbers lie, and going on would lose rows or
double them: that is refused, and `anew` says to take what the lake does not have by id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from trimtab.controlplane.lake.base import LakeError, Mark, need_libraries
from trimtab.controlplane.records import query, segments
from trimtab.core.record import Record

if TYPE_CHECKING:
    from trimtab.controlplane.lake.adapters.delta import Table

BATCH_ROWS: Final = 50_000
BATCH_PARTITIONS: Final = 256
"""Days and tenants in one commit, at most: delta-rs keeps a file open for each, with 3 MiB of memory."""
MEMORY_MIB: Final = 1024
"""Of DuckDB while it shapes a batch."""
_DAY_NS: Final = 86_400 * 10**9
_encode = msgspec.json.Encoder().encode


class Ingested(msgspec.Struct, kw_only=True):
    """What one run took. `damaged`: rows that can't be believed and were left out."""

    rows: int = 0
    commits: int = 0
    damaged: list[str] = []


def ingest(
    records: Path,
    table: Table,
    staging: Path,
    *,
    source: str,
    anew: Collection[int] = (),
    batch_rows: int = BATCH_ROWS,
    told: Callable[[Ingested], None] = lambda done: None,
) -> Ingested:
    """Take all rows of `records` that the lake does not have, a commit for each `batch_rows`; `told` after each.

    `staging`: a file of this process alone, deleted at the end. `anew`: workers whose journal has begun anew. Raises
    LakeError where a journal is another one than was read, or another process appends from the same source, BusyError
    where another one of this machine changes the table.
    """
    need_libraries()
    with table.alone("changes the lake"):
        return _ingest(records, table, staging, source, anew, batch_rows, told)


def _ingest(
    records: Path,
    table: Table,
    staging: Path,
    source: str,
    anew: Collection[int],
    batch_rows: int,
    told: Callable[[Ingested], None],
) -> Ingested:
    done = Ingested()
    marks = {segment.worker: table.mark(source, segment.worker) for segment in segments(records)}
    rows = _fresh(records, table, source, marks, anew, done.damaged)
    staging.parent.mkdir(parents=True, exist_ok=True)
    try:
        while count := _batch(rows, table, staging, source, marks, batch_rows):
            done.rows += count
            done.commits += 1
            told(done)
    finally:
        staging.unlink(missing_ok=True)
    return done


def _batch(
    rows: Iterator[Record], table: Table, staging: Path, source: str, marks: dict[int, Mark | None], most: int
) -> int:
    """Take the next rows in one commit, and move the marks; how many there were."""
    from trimtab.controlplane.lake.adapters.duck import shaped

    reached: dict[int, Mark] = {}
    partitions = set[tuple[int, str | None]]()
    count = 0
    with staging.open("wb") as file:
        for row in islice(rows, most):
            file.write(_encode(row) + b"\n")
            reached[row.worker or 0] = Mark(row.seq or 0, row.t_wall_ns)
            count += 1
            partitions.add((row.t_wall_ns // _DAY_NS, row.tenant))
            if len(partitions) >= BATCH_PARTITIONS:
                break
    if count or not table.exists:  # a table without rows can be asked, none can't
        with shaped(staging, source, MEMORY_MIB) as stream:
            table.append(stream, source, {worker: (marks.get(worker), to) for worker, to in reached.items()})
        marks.update(reached)
    return count


def _fresh(
    records: Path,
    table: Table,
    source: str,
    found: Mapping[int, Mark | None],
    anew: Collection[int],
    damaged: list[str],
) -> Iterator[Record]:
    """Rows that the lake does not have, one worker after another, each in the order of `seq`. Raises LakeError."""
    marks = {worker: mark for worker, mark in found.items() if mark is not None and worker not in anew}
    known = _ids(table, source, anew)
    highest = {worker: mark.seq for worker, mark in marks.items()}
    met = set[int]()
    before = {worker: mark.seq - 1 for worker, mark in marks.items()}  # the marked row is read again, as a witness
    for row in query(records, after=before, on_corrupt=lambda corrupt: damaged.append(str(corrupt))):
        worker, seq = row.worker or 0, row.seq or 0
        mark = marks.get(worker)
        if mark is not None and worker not in met and seq == mark.seq and row.t_wall_ns != mark.t_wall_ns:
            raise _another(worker, seq)
        met.add(worker)
        if seq <= highest.get(worker, 0):
            continue  # the witness, or a line that somebody has doubled
        highest[worker] = seq
        if row.id not in known:
            yield row
    _all_met(marks, met, damaged)


def _all_met(marks: Mapping[int, Mark], met: Collection[int], damaged: Collection[str]) -> None:
    """A journal that ends before its mark was put back from a copy, or its end is damaged, which is told already."""
    for worker, mark in marks.items():
        if worker not in met and not damaged:
            raise _another(worker, mark.seq)


def _another(worker: int, seq: int) -> LakeError:
    return LakeError(
        f"the lake has rows of worker {worker} up to {seq}, and row {seq} of its journal is not that one: the journal "
        f"was deleted or put back from a copy. Take what the lake lacks by id: trimtab lake ingest --anew {worker}"
    )


def _ids(table: Table, source: str, workers: Collection[int]) -> frozenset[str]:
    """Of all rows of these workers that the lake has."""
    if not workers or not table.exists:
        return frozenset()
    from trimtab.controlplane.lake.adapters.duck import ask
    from trimtab.controlplane.lake.schema import text

    numbers = ", ".join(str(worker) for worker in sorted(workers))
    sql = f"SELECT id FROM records WHERE source = {text(source)} AND worker IN ({numbers})"  # noqa: S608 - quoted
    return frozenset(row[0] for row in ask(table.files(), sql, rows=1 << 62, memory_mib=MEMORY_MIB).rows)


__all__ = ["BATCH_ROWS", "Ingested", "ingest"]

"""The Delta table of records, by delta-rs: appends that carry their mark, compaction, removal of files.

A commit is one file that appears whole or not at all, on disk by a rename, on object storage by a conditional put. The
mark goes into it as an application's transaction (`txn` in Delta's protocol), so that rows and mark are there together
or not at all; two that append from one mark can't both succeed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from trimtab.controlplane.lake.base import LakeError, Mark, NoLakeError, Place, Size
from trimtab.controlplane.lake.schema import PARTITIONS
from trimtab.foundations.store.disk import Disk

TRIES: Final = 5
"""Of a change that another writer came before."""
WEEK_H: Final = 168
"""Below this delta-rs wants to be told that it is meant."""
_PROPERTIES: Final = {
    # Only these have their least and greatest value in the log, which outlives the files of an erased tenant.
    "delta.dataSkippingStatsColumns": "arrived,kind,worker,seq,t_wall_ns",
    "delta.checkpointInterval": "50",
}
_SHORT: Final = ("id", "arrived", "kind", "worker", "seq", "t_wall_ns")
"""Columns with their least and greatest value in each file; of all 170 they would be a fifth of a small one."""
_T = TypeVar("_T")

WAIT_S = 10.0
"""For another process that changes the table."""


class Table:
    """A handle that looks at the newest version whenever it is asked. Errors of the library come out as LakeError.

    `lock`: a file that keeps the processes of this machine apart; by default it lies in the table's own folder.
    """

    def __init__(self, place: Place, lock: Path | None = None) -> None:
        self.place = place
        self.wait_s = WAIT_S
        self._lock = lock or Path(place.url) / "_trimtab.lock"

    def __repr__(self) -> str:
        return f"<Table {self.place.url}>"

    @property
    def exists(self) -> bool:
        return _told(lambda: DeltaTable.is_deltatable(self.place.url, self.place.options))

    @contextmanager
    def alone(self, doing: str) -> Iterator[None]:
        """Change the table while no other process of this machine does, after waiting for one that does: it takes
        seconds. Raises BusyError, which says `doing` of it, where it takes longer.

        Appends need no lock, their marks exclude each other. But delta-rs 1.6 lets two compactions of one version both
        commit, which doubles rows, and files that are being written are not in the log for `sweep` to spare.
        """
        with Disk().held(self._lock, doing, self.wait_s):
            yield

    def files(self) -> list[str]:
        """Of the newest version. Raises NoLakeError."""
        return self._open().file_uris()

    def size(self) -> Size:
        """Raises NoLakeError."""
        table = self._open()
        actions: Any = table.get_add_actions(flatten=True)
        rows, sizes = actions.column("num_records").to_pylist(), actions.column("size_bytes").to_pylist()
        return Size(table.version(), sum(rows), len(sizes), sum(sizes))

    def mark(self, source: str, worker: int) -> Mark | None:
        """How far this worker's rows are in; None: none are."""
        return _mark(self._open(), source, worker) if self.exists else None

    def append(self, rows: Any, source: str, moves: Mapping[int, tuple[Mark | None, Mark]]) -> None:
        """Rows (an Arrow stream) and the marks that they lead to (from, to), by worker, in one commit. A column that
        the table lacks is added. Raises LakeError, with no row added, where somebody else has moved a mark."""
        table = self._open() if self.exists else None
        for worker, (before, _) in moves.items():
            if table is not None and _mark(table, source, worker) != before:
                raise LakeError(f"another process takes in the rows of source {source} as well: one is enough")
        transactions = [
            Transaction(_app(source, worker, what), number)
            for worker, (_, mark) in moves.items()
            for what, number in (("seq", mark.seq), ("arrived", mark.t_wall_ns))
        ]
        # What another writer commits from here on is told by delta-rs: one application's transactions exclude each
        # other.
        _told(
            lambda: write_deltalake(
                table or self.place.url,
                rows,
                mode="append",
                schema_mode="merge",
                partition_by=list(PARTITIONS),
                configuration=None if table else _PROPERTIES,
                storage_options=self.place.options,
                writer_properties=_written("SNAPPY"),  # a writer of ZSTD takes twice the memory, for each column
                commit_properties=CommitProperties(app_transactions=transactions),
            )
        )

    def add(self, rows: Any) -> None:
        """Rows (an Arrow stream, with the partitions) of a table that has no marks, in one commit; their values are not
        in the log."""
        _told(
            lambda: write_deltalake(
                self.place.url,
                rows,
                mode="append",
                schema_mode="merge",
                partition_by=list(PARTITIONS),
                configuration=None if self.exists else {"delta.dataSkippingNumIndexedCols": "0"},
                storage_options=self.place.options,
            )
        )

    def compact(self) -> tuple[int, int]:
        """Join the small files of each partition; files before and after, of those that changed."""
        written = _written("ZSTD")
        found = self._retried(lambda table: table.optimize.compact(max_concurrent_tasks=1, writer_properties=written))
        return int(found["numFilesRemoved"]), int(found["numFilesAdded"])

    def drop(self, predicate: str) -> int:
        """Remove rows by their partitions (SQL), files whole; how many files. They stay on disk until `vacuum`."""
        found = self._retried(lambda table: table.delete(predicate))
        return int(found["num_removed_files"])

    def vacuum(self, hours: int) -> int:
        """Delete files that no version of the last `hours` reads; how many."""
        whole = hours >= WEEK_H
        found = self._retried(lambda t: t.vacuum(hours, dry_run=False, enforce_retention_duration=whole))
        return len(found)

    def sweep(self, name: str, value: str) -> None:
        """Delete this partition's files at once, on disk; nothing else may be writing. On object storage all files that
        the newest version does not read are deleted, also those of others."""
        if not self.place.is_local:
            self.vacuum(0)
            return
        for folder in Path(self.place.url).glob(f"**/{name}={value}"):
            shutil.rmtree(folder)

    def _open(self) -> DeltaTable:
        if not self.exists:
            raise NoLakeError(f"there is no lake in {self.place.url} yet. Make it: trimtab lake ingest")
        return _told(lambda: DeltaTable(self.place.url, storage_options=self.place.options))

    def _retried(self, change: Callable[[DeltaTable], _T]) -> _T:
        """Anew on the version that another writer has made meanwhile."""
        for left in reversed(range(TRIES)):
            table = self._open()
            try:
                return change(table)
            except CommitFailedError as error:
                if not left:
                    raise LakeError(f"{self.place.url}: others write all the time: {error}") from error
            except DeltaError as error:
                raise LakeError(f"{self.place.url}: {error}") from error
        raise AssertionError("unreachable")


def _written(compression: Literal["SNAPPY", "ZSTD"]) -> WriterProperties:
    return WriterProperties(
        compression=compression,
        default_column_properties=ColumnProperties(statistics_enabled="NONE"),
        column_properties={name: ColumnProperties(statistics_enabled="CHUNK") for name in _SHORT},
    )


def _app(source: str, worker: int, what: str) -> str:
    return f"trimtab/{source}/{worker}/{what}"


def _mark(table: DeltaTable, source: str, worker: int) -> Mark | None:
    seq = table.transaction_version(_app(source, worker, "seq"))
    wall_ns = table.transaction_version(_app(source, worker, "arrived"))
    return None if seq is None or wall_ns is None else Mark(seq, wall_ns)


def _told(action: Callable[[], _T]) -> _T:
    try:
        return action()
    except (DeltaError, OSError) as error:
        raise LakeError(str(error)) from error


__all__ = ["Table"]

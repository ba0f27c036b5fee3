"""The journal of records: one writer thread, one write and one sync a group, nothing on the caller's thread.

States: *writing* (each group is appended, synced, forgotten) and *failing* (the group stays in memory and is tried
again with growing pauses; rows behind it wait in a bounded queue, then are counted as lost and leave a gap in `seq`).

Why not a row at a time: a sync costs milliseconds; a group of 80 ms costs one. A crash loses at most what the last
100 ms brought (durability class `records`); money has its own journal, synced before it is spent.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final, Literal

import msgspec

from trimtab.controlplane.records.keeping import Keeper
from trimtab.controlplane.records.recover import recover
from trimtab.controlplane.records.writer import SegmentWriter
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.record import Record
from trimtab.foundations.signature import SigningKey
from trimtab.foundations.store.disk import Disk

GROUP_S: Final = 0.08
"""How long rows wait for others. The write of the group before and their own come on top: together they stay within the
100 ms that a crash may lose (`python -m benchmarks.soak.kills`)."""
GROUP_BYTES: Final = 4 << 20
SEGMENT_BYTES: Final = 64 << 20
SEGMENT_S: Final = 3600.0
"""A segment is closed after this time, also where it is small: it is then signed, and can grow old as a whole."""
KEEP_S: Final = 60.0
"""Between two looks at closed segments: what waits for its signature, what is past its retention."""
QUEUE_ROWS: Final = 16_384
"""Rows that wait while the disk refuses: about 64 MiB of memory."""
RETRY_S: Final = (0.1, 5.0)
"""First and longest pause between tries of a disk that refuses."""

_log = logging.getLogger(__name__)


class JournalState(msgspec.Struct, frozen=True, kw_only=True):
    """The journal at a glance. `seq`: the last given out; `durable`: all up to it is synced or counted as lost; `lost`:
    rows dropped since start; `failing`: the disk's own words while it refuses."""

    seq: int
    durable: int
    waiting: int
    lost: int
    failing: str | None


class Journal:
    """A RecordSink. `write` may be called from any thread, never waits for the disk and never raises for it.

    Opening recovers: the worker's last segment is read to its end, a torn end is cut off, numbers and chain go on from
    there; `found` says what was met. With `signer` each segment that is closed is signed, those that a crash left at
    the next opening; with `retention_days` segments are deleted once all of their rows are older. Raises BusyError
    while another process holds the same worker, OSError if the folder can't be used. Threads: the callers', and one of
    its own.
    """

    def __init__(
        self,
        folder: Path,
        worker: int,
        clock: Clock,
        *,
        group_s: float = GROUP_S,
        signer: SigningKey | None = None,
        retention_days: int | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
        keep_s: float = KEEP_S,
        queue_rows: int = QUEUE_ROWS,
        retry_s: tuple[float, float] = RETRY_S,
        disk: Disk | None = None,
    ) -> None:
        disk = disk or Disk()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_fd = disk.lock(folder / f"w{worker:04d}.lock", "writes the records of this worker")
        try:
            self.found = recover(folder, worker, disk)
            self._keeper = Keeper(folder, worker, clock, disk, signer, retention_days)
        except BaseException:
            os.close(self._lock_fd)
            raise
        self._worker, self._group_s, self._queue_rows, self._retry_s = worker, group_s, queue_rows, retry_s
        self._keep_s, self._clock, self._kept_ns = keep_s, clock, clock.now_ns()
        self._writer = SegmentWriter(
            folder, worker, clock, disk, self.found, self._keeper, segment_bytes=segment_bytes, segment_s=segment_s
        )
        self._seq = self._accepted = self._durable = self.found.seq
        self._rows: deque[Record] = deque()
        self._lost = 0
        self._failing: str | None = None
        self._changed = threading.Condition()
        self._urgent = self._closing = self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"records-{worker}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = self.state()
        trouble = f" failing: {state.failing}" if state.failing else ""
        return f"<Journal worker {self._worker} seq {state.seq} durable {state.durable} lost {state.lost}{trouble}>"

    @property
    def worker(self) -> int:
        return self._worker

    def write(self, record: Record) -> None:
        """Number the record and hand it over. It must not be changed afterwards."""
        with self._changed:
            self._seq += 1
            record.worker, record.seq = self._worker, self._seq
            if self._closing or len(self._rows) >= self._queue_rows:
                self._lose(1, "the journal is closed" if self._closing else "the queue is full")
                return
            self._accepted = self._seq
            self._rows.append(record)
            if len(self._rows) == 1:
                self._changed.notify_all()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Block until all that was written before is synced, without waiting for the group's time; False: not in time.

        Not for an event loop's thread: `await clock.offload(journal.flush)`.
        """
        with self._changed:
            target = self._accepted
            self._urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._durable >= target, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, seal the segment, stop. What the disk does not take in time is counted as lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            with self._changed:
                self._abandoned = True
                self._changed.notify_all()
            self._thread.join(timeout_s)
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)

    def state(self) -> JournalState:
        with self._changed:
            return JournalState(
                seq=self._seq, durable=self._durable, waiting=len(self._rows), lost=self._lost, failing=self._failing
            )

    # The writer's thread

    def _run(self) -> None:
        self._keep()
        while (due := self._wait()) != "end":
            if due == "rows":
                seq, rows = self._take()
                if not self._commit(rows):
                    return
                self._keeper.settle()  # before a next segment begins, or this one would be closed without a signature
                with self._changed:
                    self._durable = seq
                    self._urgent = self._urgent and bool(self._rows)
                    self._changed.notify_all()
            if self._clock.now_ns() - self._kept_ns >= self._keep_s * NS_PER_S:
                self._keep()
        try:
            self._writer.close()
        except OSError as error:
            _log.warning("records: the segment is complete but could not be sealed: %s", error)
        self._keeper.settle()

    def _keep(self) -> None:
        """Look after closed segments."""
        self._kept_ns = self._clock.now_ns()
        try:
            self._writer.turn()
            self._keeper.settle()
            self._keeper.retire()
        except Exception:  # noqa: BLE001 - rows must go on being written
            _log.exception("records: closed segments could not be looked after")

    def _wait(self) -> Literal["rows", "keep", "end"]:
        """Sleep until a group is due, or closed segments are; `end`: closing, and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._rows) or self._closing, self._keep_s)
            if self._rows and not self._closing:
                self._changed.wait_for(lambda: self._urgent or self._closing, self._group_s)
            return "rows" if self._rows else "end" if self._closing else "keep"

    def _take(self) -> tuple[int, int]:
        """Encode rows up to a group's size; gives the last one's number and how many they were."""
        seq, count = self._durable, 0
        while self._writer.pending_bytes < GROUP_BYTES:
            with self._changed:
                if not self._rows:
                    break
                record = self._rows.popleft()
            seq, count = record.seq or seq, count + 1
            try:
                self._writer.add(record)
            except Exception:  # noqa: BLE001 - one row that has no JSON must not stop the writer for all others
                with self._changed:
                    self._lose(1, f"{record.id} can't be encoded", trace=True)
        return seq, count

    def _commit(self, rows: int) -> bool:
        """Retry until the disk takes the group; False: `close` gave up waiting."""
        pause, longest = self._retry_s
        while True:
            try:
                self._writer.commit()
            except OSError as error:
                self._fail(error)
            else:
                self._recovered()
                return True
            with self._changed:
                if self._changed.wait_for(lambda: self._abandoned, pause):
                    self._lose(rows + len(self._rows), "closed while the disk refuses")
                    self._rows.clear()
                    return False
            pause = min(2 * pause, longest)

    def _fail(self, error: OSError) -> None:
        with self._changed:
            first, self._failing = self._failing is None, str(error)
        if first:
            _log.error("records: the disk refuses (%s); rows wait in memory, up to %d", error, self._queue_rows)

    def _recovered(self) -> None:
        with self._changed:
            was, self._failing = self._failing, None
        if was is not None:
            _log.warning("records: the disk takes rows again; %d rows lost since start", self._lost)

    def _lose(self, rows: int, why: str, *, trace: bool = False) -> None:
        """Count rows that never reach the disk; says so at the first of a row of losses. Call with the lock held."""
        if rows and (trace or self._lost == 0 or self._lost & (self._lost - 1) == 0):
            _log.error("records: %d lost so far: %s", self._lost + rows, why, exc_info=trace)
        self._lost += rows

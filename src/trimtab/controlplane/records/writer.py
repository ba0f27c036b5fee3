"""Turns rows into lines and lines into synced segments: the part of the journal that knows the disk. One thread.

After a failed sync the kernel may have dropped the pages and call the file clean, so nothing is ever synced "again":
the file is cut back to its last synced byte and the same bytes are written anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trimtab.controlplane.records import line as lines
from trimtab.controlplane.records.keeping import Closed, Keeper
from trimtab.controlplane.records.roots import new_digest
from trimtab.controlplane.records.segment import Seal, Segment, Tail, name
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.record import Record
from trimtab.foundations.store.disk import Disk
from trimtab.foundations.store.line import digest


class SegmentWriter:
    """Appends to one worker's newest segment; opens the first with the first row, the next when one is full or has been
    open for its time."""

    def __init__(
        self,
        folder: Path,
        worker: int,
        clock: Clock,
        disk: Disk,
        start: Tail,
        keeper: Keeper,
        *,
        segment_bytes: int,
        segment_s: float,
    ) -> None:
        self._folder, self._worker, self._clock, self._disk, self._keeper = folder, worker, clock, disk, keeper
        self._segment_bytes, self._segment_ns = segment_bytes, int(segment_s * NS_PER_S)
        self._segment: Segment | None = None
        self._fd: int | None = None
        self._size = 0  # synced bytes of the segment
        self._file: Any = new_digest()  # of them
        self._opened_ns = 0
        self._last = self._synced_last = start.last or lines.GENESIS
        self._seq = self._synced_seq = start.seq
        self._first_seq = start.seq + 1
        self._pending = bytearray()

    @property
    def pending_bytes(self) -> int:
        return len(self._pending)

    def add(self, record: Record) -> None:
        """Encode behind what waits. Raises TypeError, ValueError or OverflowError for what has no JSON; the chain is
        then as before."""
        line = lines.encode(record, self._last)
        if not self._pending:
            self._first_seq = record.seq or 0
        self._last, self._seq = digest(line), record.seq or 0
        self._pending += line
        self._pending += b"\n"

    def commit(self) -> None:
        """Make all that waits durable. Raises OSError with everything still waiting; call again."""
        if not self._pending:
            return
        fd = self._open()
        try:
            self._disk.append(fd, bytes(self._pending))
            self._disk.sync(fd)
        except OSError:
            self._drop()
            raise
        self._size += len(self._pending)
        self._file.update(self._pending)
        self._pending.clear()
        self._synced_last, self._synced_seq = self._last, self._seq
        self.turn()

    def turn(self) -> None:
        """Close a segment that is full, or has been open for its time, though nothing more may come."""
        if self._segment is None or not self._size or self._pending:
            return
        if self._size >= self._segment_bytes or self._clock.wall_ns() - self._opened_ns >= self._segment_ns:
            self._turn()

    def close(self) -> None:
        """Give the file back, with its signed root or else a seal that says where it ends. Raises OSError if that can't
        be written."""
        segment = self._turn()
        if segment is not None and not self._keeper.signs:
            end = Seal(size=self._size, seq=self._synced_seq, last=self._synced_last)
            self._disk.put(segment.seal_path, msgspec.json.encode(end))

    def _turn(self) -> Segment | None:
        """Nothing more goes to this segment; it, if it has rows."""
        segment, self._segment = self._segment, None
        self._drop()
        if segment is None or not self._size:
            return None
        end = self._synced_seq, self._size, self._synced_last
        self._keeper.closed(Closed(segment, *end, self._file.hexdigest()))
        return segment

    def _open(self) -> int:
        if self._fd is not None:
            return self._fd
        if self._segment is not None:
            try:
                self._fd = self._disk.reopen(self._segment.path, self._size)
            except FileNotFoundError:
                self._segment = None  # somebody took the file: go on in a new one, the chain will tell of the gap
            else:
                return self._fd
        # A name is used once, also on a clock that stands still.
        self._opened_ns = max(self._clock.wall_ns(), self._opened_ns + 1)
        path = self._folder / name(self._worker, self._first_seq, self._opened_ns)
        self._fd, self._size, self._file = self._disk.create(path), 0, new_digest()
        self._segment = Segment(self._worker, self._first_seq, self._opened_ns, path)
        return self._fd

    def _drop(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            self._disk.close(fd)

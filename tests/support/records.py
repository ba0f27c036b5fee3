"""Records to write, journals to write them with, and a disk that fails when it is told to."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from trimtab.controlplane.records import Journal
from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.core.record import CostRow, Record, blank
from trimtab.foundations.store import Disk

CLOCK = SystemClock()
IDS = ClockIds(CLOCK)


def row(**fields: object) -> Record:
    """A blank record with these fields."""
    record = blank(IDS.record_id(), CLOCK.wall_ns())
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def spent(tenant: str, nanousd: int, **fields: object) -> Record:
    """A record of money."""
    return row(tenant=tenant, cost=CostRow(settled_nanousd=nanousd), **fields)


def fill(folder: Path, count: int, *, worker: int = 0, groups: int = 1, segment_bytes: int = 1 << 20) -> list[Record]:
    """Write and close a journal of `count` rows in about `groups` groups."""
    journal = Journal(folder, worker, CLOCK, group_s=0.001, segment_bytes=segment_bytes)
    records = [row(tenant="t", channel="c") for _ in range(count)]
    for index, record in enumerate(records):
        journal.write(record)
        if (index + 1) % max(1, count // groups) == 0:
            assert journal.flush()
    journal.close()
    return records


class FaultyDisk(Disk):
    """Fails operation number `at` (from 1), and `times` - 1 after it; an append that fails leaves half of its bytes."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.count = 0
        self.at, self.times = at, times
        self.failed = threading.Event()
        self.healed = threading.Event()

    def _step(self) -> None:
        if self.healed.is_set():
            return
        self.count += 1
        if self.at <= self.count < self.at + self.times:
            self.failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, path: Path) -> int:
        self._step()
        return super().create(path)

    def reopen(self, path: Path, size: int) -> int:
        self._step()
        return super().reopen(path, size)

    def append(self, fd: int, data: bytes) -> None:
        try:
            self._step()
        except OSError:
            super().append(fd, data[: len(data) // 2])
            raise
        super().append(fd, data)

    def sync(self, fd: int) -> None:
        self._step()
        super().sync(fd)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)

"""Records to write, journals to write them with, and a disk that fails when it is told to."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from trimtab.controlplane.records import Journal
from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.core.record import Record, blank
from trimtab.core.rows import Attempt, CostRow, Tokens
from trimtab.foundations.store import Disk

CLOCK = SystemClock()
IDS = ClockIds(CLOCK)
HOUR = 3600 * 10**9
T0 = 490_000 * HOUR  # on a full hour, and 16 o'clock


def row(**fields: object) -> Record:
    """A blank record with these fields."""
    record = blank(IDS.record_id(), CLOCK.wall_ns())
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def asked(
    ttft: float = 110.0,
    e2e: float = 1110.0,
    *,
    tokens: int = 101,
    at: int = 0,
    promised: float = 120.0,
    **fields: object,
) -> Record:
    """A stream that was sent 10 ms after arrival, of which 100 ms, gaps of 10 ms and 1100 ms were forecast."""
    predicted = {
        "sent_ms": 10.0,
        "percentile": 0.95,
        "ttft_ms": promised,
        "itl_ms": 12.0,
        "e2e_ms": 1300.0,
        "model_ttft_ms": 100.0,
        "model_itl_ms": 10.0,
        "model_e2e_ms": 1100.0,
    }
    made = {
        "t_wall_ns": T0 + at,
        "path": "direct",
        "tier": "S",
        "status": 200,
        "finish_reason": "stop",
        "attempts": [Attempt(replica="r", start_ms=10.0, outcome="success")],
        "ttft_ms": ttft,
        "e2e_ms": e2e,
        "tokens": Tokens(completion=tokens),
        "predicted": predicted,
    }
    return row(**(made | fields))


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

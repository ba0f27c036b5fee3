"""The journal: what is written is read back, whatever the disk and the power do meanwhile."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.records import CLOCK, FaultyDisk, fill, row
from support.serving import eventually
from trimtab.controlplane.records import (
    CorruptSegment,
    Journal,
    find,
    rows,
    segments,
    verify,
)
from trimtab.core.record import Record
from trimtab.foundations.store import BusyError


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    """Rows come back whole, in the order of `seq`, which has no gaps."""
    written = fill(tmp_path, 200, groups=7)
    read = list(rows(tmp_path))
    assert ids(read) == ids(written)
    assert [record.seq for record in read] == list(range(1, 201))
    assert read == written
    assert verify(tmp_path).problems == []


def test_writing_does_nothing_on_the_callers_thread(tmp_path: Path) -> None:
    """`write` returns while the disk hangs: rows wait in memory."""
    disk = FaultyDisk(at=1, times=1 << 30)
    journal = Journal(tmp_path, 0, CLOCK, disk=disk, group_s=0.001, retry_s=(0.001, 0.01))
    for _ in range(1000):
        journal.write(row())
    assert disk.failed.wait(10)
    assert journal.state().durable == 0
    assert journal.state().lost == 0
    disk.healed.set()
    assert journal.flush(10)
    journal.close()
    assert len(list(rows(tmp_path))) == 1000


def test_flush_does_not_wait_for_the_group(tmp_path: Path) -> None:
    """A flush makes everything before it durable although the group's time is an hour."""
    journal = Journal(tmp_path, 0, CLOCK, group_s=3600)
    record = row()
    journal.write(record)
    assert journal.flush(10)
    assert journal.state().durable == 1
    assert find(tmp_path, record.id, timeout_s=0) == record
    journal.close()


def test_numbers_and_chain_go_on_over_segments_and_restarts(tmp_path: Path) -> None:
    """Small segments and three starts make one unbroken chain."""
    for _ in range(3):
        fill(tmp_path, 20, groups=20, segment_bytes=3000)
    assert len(segments(tmp_path)) > 6
    report = verify(tmp_path)
    assert (report.rows, report.missing, report.problems) == (60, 0, [])
    assert [record.seq for record in rows(tmp_path)] == list(range(1, 61))


def test_workers_have_chains_of_their_own(tmp_path: Path) -> None:
    """Two workers write side by side; each is read in its own order."""
    first, second = fill(tmp_path, 5, worker=0), fill(tmp_path, 5, worker=1)
    assert ids(list(rows(tmp_path))) == ids(first) + ids(second)


def test_a_worker_has_one_writer(tmp_path: Path) -> None:
    """A second journal for the same worker is refused while the first lives, and welcome after it."""
    journal = Journal(tmp_path, 0, CLOCK)
    with pytest.raises(BusyError, match="another process"):
        Journal(tmp_path, 0, CLOCK)
    journal.close()
    Journal(tmp_path, 0, CLOCK).close()


def test_a_row_that_has_no_json_is_lost_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One unencodable row is counted and logged; its neighbours are written and the chain holds."""
    journal = Journal(tmp_path, 0, CLOCK, group_s=0.001)
    journal.write(row())
    journal.write(row(predicted={"\ud800": 1.0}))
    journal.write(row())
    assert journal.flush(10)
    journal.close()
    assert journal.state().lost == 1
    assert "can't be encoded" in caplog.text
    report = verify(tmp_path)
    assert (report.rows, report.missing, report.problems) == (2, 1, [])


def test_a_full_queue_loses_the_newest_and_counts_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the disk refuses, memory is bounded: what does not fit leaves a gap in `seq`, never a broken chain."""
    disk = FaultyDisk(at=1, times=1 << 30)
    journal = Journal(tmp_path, 0, CLOCK, disk=disk, group_s=0.001, retry_s=(0.001, 0.01), queue_rows=10)
    journal.write(row())
    assert disk.failed.wait(10)
    for _ in range(30):
        journal.write(row())
    lost = journal.state().lost
    assert lost >= 20
    assert journal.state().failing is not None
    disk.healed.set()
    assert journal.flush(10)
    journal.write(row())
    journal.close()
    report = verify(tmp_path)
    assert (report.rows, report.missing, report.problems) == (32 - lost, lost, [])
    assert sum("the disk refuses" in record.message for record in caplog.records) == 1


def test_a_close_that_the_disk_refuses_ends_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Closing never hangs on a dead disk: rows are counted as lost, and the worker is free again."""
    caplog.set_level(logging.ERROR)
    journal = Journal(tmp_path, 0, CLOCK, disk=FaultyDisk(at=1, times=1 << 30), group_s=0.001)
    for _ in range(3):
        journal.write(row())
    journal.close(timeout_s=0.2)
    assert journal.state().lost == 3
    Journal(tmp_path, 0, CLOCK).close()


@pytest.mark.parametrize("times", [1, 3])
def test_every_disk_operation_may_fail(tmp_path: Path, times: int) -> None:
    """For N = 1, 2, .. the N-th operation fails (once, or three times running) until a run has no fault: no row is
    lost, doubled or out of order, and the chain verifies."""
    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        disk = FaultyDisk(at, times)
        written = run_with(folder, disk)
        assert ids(list(rows(folder))) == ids(written)
        assert (verify(folder).missing, verify(folder).problems) == (0, [])
        if not disk.failed.is_set():
            break
    assert at > 10


def run_with(folder: Path, disk: FaultyDisk) -> list[Record]:
    """Six rows in six groups over several segments, through the given disk."""
    journal = Journal(folder, 0, CLOCK, disk=disk, group_s=0.001, retry_s=(0.001, 0.01), segment_bytes=1500)
    written = [row() for _ in range(6)]
    for record in written:
        journal.write(record)
        assert journal.flush(10)
    journal.close(10)
    assert journal.state().lost == 0
    return written


def test_a_torn_end_is_cut_off_and_kept_beside(tmp_path: Path) -> None:
    """A journal cut at any byte of its last row starts again behind the row before; the torn bytes are kept."""
    fill(tmp_path / "whole", 3)
    (segment,) = segments(tmp_path / "whole")
    data = segment.path.read_bytes()
    last = data.rfind(b"\n", 0, -1) + 1
    for size in range(last + 1, len(data)):
        folder = tmp_path / "cut"
        folder.mkdir()
        (folder / segment.path.name).write_bytes(data[:size])
        journal = Journal(folder, 0, CLOCK, group_s=0.001)
        assert (journal.found.seq, journal.found.cut) == (2, size - last)
        assert segments(folder)[0].torn_path.read_bytes() == data[last:size]
        journal.write(row())
        journal.close()
        report = verify(folder)
        assert (report.rows, report.missing, report.problems) == (3, 0, [])
        shutil.rmtree(folder)


def test_a_flipped_byte_is_never_served(tmp_path: Path) -> None:
    """Whichever byte of a closed journal is flipped, reading says where, and serves only rows that were written."""
    written = fill(tmp_path, 3)
    (segment,) = segments(tmp_path)
    data = segment.path.read_bytes()
    for at in range(len(data)):
        for flip in (0x01, 0x20, 0x80):
            segment.path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            with pytest.raises(CorruptSegment):
                list(rows(tmp_path))
            assert served(tmp_path) <= set(ids(written)), at
    segment.path.write_bytes(data)
    assert ids(list(rows(tmp_path))) == ids(written)


def served(folder: Path) -> set[str]:
    """Ids of the rows that a reader gets who goes on behind damage."""
    return {record.id for record in rows(folder, on_corrupt=lambda corrupt: None)}


def test_a_cut_is_never_taken_for_the_end(tmp_path: Path) -> None:
    """A closed journal that lost bytes anywhere, whole rows included, says so when read and when opened."""
    fill(tmp_path / "whole", 3)
    (segment,) = segments(tmp_path / "whole")
    data = segment.path.read_bytes()
    seal = segment.seal_path.read_bytes()
    folder = tmp_path / "cut"
    folder.mkdir()
    for size in range(len(data)):
        (folder / segment.path.name).write_bytes(data[:size])
        (folder / segment.seal_path.name).write_bytes(seal)
        with pytest.raises(CorruptSegment):
            list(rows(folder))
    journal = Journal(folder, 0, CLOCK)
    assert journal.found.problem is not None
    assert journal.found.seq == 3
    journal.close()


def test_rows_taken_out_of_the_middle_are_missed(tmp_path: Path) -> None:
    """A whole row removed, doubled or moved breaks the chain at the row after it, in one segment and between two."""
    fill(tmp_path, 3)
    fill(tmp_path, 3)
    first, second = segments(tmp_path)
    for segment in (first, second):
        data = segment.path.read_bytes()
        a, b, c = data.splitlines(keepends=True)
        for wrong in (a + c, b + c, a + a + b + c, b + a + c, a + c + b, a + b):
            segment.path.write_bytes(wrong)
            with pytest.raises(CorruptSegment):
                list(rows(tmp_path))
        segment.path.write_bytes(data)
    assert verify(tmp_path).problems == []
    first.path.unlink()
    assert verify(tmp_path).problems == []  # the oldest may be deleted: what is kept is whole
    fill(tmp_path, 3)
    second.path.unlink()
    fill(tmp_path, 1)
    third, _ = segments(tmp_path)
    third.path.write_bytes(b"".join(third.path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(CorruptSegment, match="rows 7 to 7 are gone"):
        list(rows(tmp_path))


def test_damage_before_whole_rows_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A flipped byte in an old row after a crash is told at start; nothing is cut away, new rows follow on."""
    fill(tmp_path, 3)
    (segment,) = segments(tmp_path)
    segment.seal_path.unlink()
    data = bytearray(segment.path.read_bytes())
    data[40] ^= 1
    segment.path.write_bytes(data)
    fill(tmp_path, 2)
    assert "damaged, with whole rows after it" in caplog.text
    assert segment.path.read_bytes() == data
    report = verify(tmp_path)
    assert report.rows == 4
    assert [problem.partition(" ")[2] for problem in report.problems] == ["line 1: is damaged"]


WRITER = """
import sys
from pathlib import Path
from support.records import CLOCK, row
from trimtab.controlplane.records import Journal
journal = Journal(Path(sys.argv[1]), 0, CLOCK, group_s=0.001)
while True:
    record = row()
    journal.write(record)
    journal.flush()
    print(record.id, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    """Three times kill -9 in the middle of writing: every row that was said to be durable is read back."""
    durable: list[str] = []
    path = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert writer.stdout is not None
        durable += [writer.stdout.readline().strip() for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        durable += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait(10)
    Journal(tmp_path, 0, CLOCK).close()
    assert verify(tmp_path).problems == []
    read = [record.id for record in rows(tmp_path)]
    assert [record_id for record_id in read if record_id in set(durable)] == durable


def test_reading_goes_on_while_the_journal_is_written(tmp_path: Path) -> None:
    """A reader of a live journal sees whole rows only, and more of them later."""
    journal = Journal(tmp_path, 0, CLOCK, group_s=0.001)
    for count in range(1, 40):
        journal.write(row())
        assert len(list(rows(tmp_path))) <= count
    assert eventually(lambda: len(list(rows(tmp_path))) == 39)
    journal.close()


def test_the_state_is_one_line(tmp_path: Path) -> None:
    """`repr` says where the journal is."""
    journal = Journal(tmp_path, 3, CLOCK)
    assert repr(journal) == "<Journal worker 3 seq 0 durable 0 lost 0>"
    journal.close()

"""The framed line: what its checksum is, and what becomes of lines under another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.disk import MemoryDisk
from support.records import CLOCK, fill, row
from trimtab.controlplane.records import CorruptSegment, Journal, query, rows, segments, verify
from trimtab.foundations import store
from trimtab.foundations.store import JournalDamagedError
from trimtab.foundations.store import line as lines

FOLDER = Path("/money")


def crc32c(body: bytes) -> int:
    """Castagnoli's polynomial, bit by bit: under which lines once stood, equally wide."""
    left = 0xFFFFFFFF
    for byte in body:
        left ^= byte
        for _ in range(8):
            left = left >> 1 ^ (0x82F63B78 if left & 1 else 0)
    return left ^ 0xFFFFFFFF


def test_a_line_is_its_crc32_and_its_body() -> None:
    """The check value of the catalogue of CRCs (CRC-32/ISO-HDLC), and the way back."""
    assert lines.frame(b"123456789") == b"cbf43926 123456789"
    assert lines.unframe(b"cbf43926 123456789") == b"123456789"


def test_a_line_under_another_checksum_is_none() -> None:
    """CRC32C's own check value: as wide, and refused."""
    assert crc32c(b"123456789") == 0xE3069283
    assert lines.unframe(b"e3069283 123456789") is None


def test_a_journal_under_another_checksum_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is served, and nothing of it is changed."""
    disk = MemoryDisk()
    with monkeypatch.context() as patch:
        patch.setattr(lines, "crc32", crc32c)
        journal = store.Journal.open(FOLDER, disk)
        journal.append([b"1", b"2"])
        journal.close()
    before = disk.files()
    with pytest.raises(JournalDamagedError, match="from byte 0 on"):
        store.Journal.open(FOLDER, disk)
    assert disk.files() == before


def test_records_under_another_checksum_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean segment of old rows is told by readers, by `verify` and at the next start, which leaves it as it is."""
    with monkeypatch.context() as patch:
        patch.setattr(lines, "crc32", crc32c)
        fill(tmp_path, 3)
        assert len(list(rows(tmp_path))) == 3
    (segment,) = segments(tmp_path)
    old = segment.path.read_bytes()
    with pytest.raises(CorruptSegment, match="line 1: is damaged"):
        list(query(tmp_path))
    assert verify(tmp_path).problems[0].endswith("line 1: is damaged")
    journal = Journal(tmp_path, 0, CLOCK)
    journal.write(row())
    journal.close()
    assert segment.path.read_bytes() == old
    report = verify(tmp_path)
    assert report.rows == 1
    assert report.problems


def test_what_a_crash_left_under_another_checksum_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the seal of a clean stop all of it looks torn: it is told, kept beside, and no row of it is shown."""
    with monkeypatch.context() as patch:
        patch.setattr(lines, "crc32", crc32c)
        fill(tmp_path, 3)
    (segment,) = segments(tmp_path)
    segment.seal_path.unlink()
    old = segment.path.read_bytes()
    Journal(tmp_path, 0, CLOCK).close()
    assert f"{len(old)} bytes after row 0 moved to" in caplog.text
    assert segment.torn_path.read_bytes() == old
    assert list(rows(tmp_path)) == []

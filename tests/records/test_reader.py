"""Looking records up, and the one query over them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from support.records import CLOCK, fill, row, spent
from trimtab.controlplane.records import (
    CorruptSegment,
    Journal,
    RecordNotFoundError,
    find,
    last,
    look_up,
    query,
    related,
    segments,
)
from trimtab.core.record import Record


def write(folder: Path, *records: Record, worker: int = 0) -> None:
    journal = Journal(folder, worker, CLOCK)
    for record in records:
        journal.write(record)
    journal.close()


def test_find_waits_for_a_row_that_is_on_its_way(tmp_path: Path) -> None:
    """A row written after the search began is found within its time."""
    fill(tmp_path, 3)
    record = row()
    journal = Journal(tmp_path, 0, CLOCK)
    threading.Timer(0.05, journal.write, [record]).start()
    found = find(tmp_path, record.id, timeout_s=10)
    journal.close()
    assert found == record


def test_find_gives_up(tmp_path: Path) -> None:
    """A row that never comes is None, also in a folder that is not there."""
    assert find(tmp_path / "nowhere", "rec_X", timeout_s=0.1) is None


def test_a_name_may_be_an_id_its_beginning_or_last(tmp_path: Path) -> None:
    """The whole id, the chat completion's id, a beginning in any case and `last` all mean the row."""
    records = [row(id="rec_" + letter * 26) for letter in "ABC"]
    write(tmp_path, records[0], records[1])
    write(tmp_path, records[2], row(kind="adjust", of=records[2].id, id="rec_ADJUST"), worker=1)
    assert look_up(tmp_path, "rec_" + "A" * 26) == records[0]
    assert look_up(tmp_path, "chatcmpl-" + "B" * 26) == records[1]
    assert look_up(tmp_path, "aaa") == records[0]
    assert look_up(tmp_path, "last") == records[2]
    newest = last(tmp_path)
    assert newest is not None
    assert newest.id == records[2].id


def test_a_beginning_that_fits_two_rows_is_refused_with_both(tmp_path: Path) -> None:
    """Nobody is shown the wrong request."""
    write(tmp_path, row(id="rec_AB1"), row(id="rec_AB2"))
    with pytest.raises(RecordNotFoundError, match="2 records: rec_AB1, rec_AB2"):
        look_up(tmp_path, "AB")


def test_not_found_says_what_was_searched(tmp_path: Path) -> None:
    """The folder, its segments and the wait are in the text."""
    with pytest.raises(RecordNotFoundError, match=r"rec_NONE in .* \(it has no segments\), waited 0.1 s"):
        look_up(tmp_path, "none", timeout_s=0.1)
    fill(tmp_path, 1)
    with pytest.raises(RecordNotFoundError, match=r"\(1 segment\)"):
        look_up(tmp_path, "none", timeout_s=0.1)
    with pytest.raises(RecordNotFoundError, match="no request is recorded in"):
        look_up(tmp_path / "empty", "last")


def test_rows_about_a_row_are_found(tmp_path: Path) -> None:
    """Adjustments of any worker come in order; rows of other requests do not."""
    record = row()
    write(tmp_path, record, spent("t", 5, kind="adjust", of=record.id), row(), spent("t", 1, kind="adjust", of="rec_X"))
    write(tmp_path, spent("t", 7, kind="lost", of=record.id), worker=1)
    assert [(r.kind, r.cost.settled_nanousd) for r in related(tmp_path, record)] == [("adjust", 5), ("lost", 7)]


def test_a_damaged_row_is_not_shown(tmp_path: Path) -> None:
    """`find` on a row whose bytes were changed raises, with file and line."""
    record = fill(tmp_path, 3)[1]
    (segment,) = segments(tmp_path)
    segment.path.write_bytes(segment.path.read_bytes().replace(b'"tenant":"t"', b'"tenant":"u"'))
    with pytest.raises(CorruptSegment, match="line 2: is damaged"):
        find(tmp_path, record.id)


def test_query_gives_what_a_ledger_rebuilds_from(tmp_path: Path) -> None:
    """Kinds, tenant and time choose the rows; the sum is that of the rows written."""
    old = spent("a", 1, t_wall_ns=10)
    new = [spent("a", 10), spent("b", 100), spent("a", 1000, kind="adjust"), spent("a", 10**6, kind="verdict")]
    write(tmp_path, old, *new)
    money = ("request", "adjust", "lost")
    total = sum(r.cost.settled_nanousd or 0 for r in query(tmp_path, kinds=money, tenant="a", since_wall_ns=11))
    assert total == 1010
    assert sum(1 for _ in query(tmp_path)) == 5


def test_query_goes_on_behind_damage_if_told_where_to_report_it(tmp_path: Path) -> None:
    """An account of money names what it could not read and counts the rest."""
    write(tmp_path, spent("a", 1), spent("a", 2), spent("a", 4))
    (segment,) = segments(tmp_path)
    lines = segment.path.read_bytes().splitlines(keepends=True)
    segment.path.write_bytes(lines[0] + lines[1].replace(b"request", b"reguest") + lines[2])
    problems: list[CorruptSegment] = []
    assert sum(r.cost.settled_nanousd or 0 for r in query(tmp_path, on_corrupt=problems.append)) == 5
    assert [(p.line, p.what) for p in problems] == [(2, "is damaged")]


def test_old_segments_are_not_opened(tmp_path: Path) -> None:
    """Segments that ended before the asked time are passed over: a damaged one does not stop a ledger of today."""
    fill(tmp_path, 2)
    (segment,) = segments(tmp_path)
    day = 86_400 * 10**9
    aged = segment.path.with_name(segment.path.name.replace(f"{segment.wall_ns:019d}", f"{segment.wall_ns - day:019d}"))
    segment.path.rename(aged)
    segment.seal_path.unlink()
    fill(tmp_path, 2)
    aged.write_bytes(b"damaged\n")
    assert sum(1 for _ in query(tmp_path, since_wall_ns=CLOCK.wall_ns() + day)) == 0
    with pytest.raises(CorruptSegment):
        list(query(tmp_path))

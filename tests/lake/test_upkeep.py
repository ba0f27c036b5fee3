"""Compaction, days that are let go and erasure: rows stay what they are, and who reads meanwhile sees one version."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Timer

import pytest

from support.lake import Pond
from support.records import row
from trimtab.controlplane.lake import LakeError, ask, compact, erase
from trimtab.foundations.store.disk import BusyError

DAY = 86_400 * 10**9
NOW = 20_500 * DAY + 5


@pytest.fixture
def pond(tmp_path: Path) -> Pond:
    """Two tenants on three days, each row in a file of its own."""
    made = Pond(tmp_path)
    for day in (20_498, 20_499, 20_500):
        for tenant in ("a", "b"):
            made.write(row(tenant=tenant, t_wall_ns=day * DAY), row(tenant=tenant, t_wall_ns=day * DAY + 1))
    made.ingest(batch_rows=1)
    return made


def on_disk(pond: Pond, tenant: str = "*") -> int:
    """Parquet files, whether a version names them or not."""
    return len(list((pond.folder / "lake").glob(f"day=*/tenant={tenant}/*.parquet")))


def test_compaction_joins_files_and_leaves_rows(pond: Pond) -> None:
    """One file a day and tenant; the marks stay, so that nothing comes in again; then there is nothing to do."""
    before = pond.ask("SELECT * FROM records ORDER BY seq")
    done = compact(pond.table, keep_days=None, history_h=168, now_ns=NOW)
    assert (done.joined, done.into, done.dropped) == (12, 6, 0)
    assert pond.ask("SELECT * FROM records ORDER BY seq") == before
    assert pond.ingest().rows == 0
    assert compact(pond.table, keep_days=None, history_h=168, now_ns=NOW).joined == 0


def test_who_has_begun_to_read_goes_on(pond: Pond) -> None:
    """The files of its version stay on the disk for the hours of history; with none they go, and only they."""
    begun = pond.table.files()
    done = compact(pond.table, keep_days=None, history_h=168, now_ns=NOW)
    assert done.deleted == 0
    assert ask(begun, "SELECT count(*) FROM records", rows=1, memory_mib=256).rows == [(12,)]
    assert on_disk(pond) == 18
    assert compact(pond.table, keep_days=None, history_h=0, now_ns=NOW).deleted == 12
    assert on_disk(pond) == 6
    assert pond.ask("SELECT count(*) FROM records") == [(12,)]


def test_days_are_kept_as_many_as_asked_for(pond: Pond) -> None:
    """Today counts; the files of others go from the disk when the history ends."""
    assert compact(pond.table, keep_days=2, history_h=0, now_ns=NOW).dropped == 4
    assert [str(one) for (one,) in pond.ask("SELECT DISTINCT day FROM records ORDER BY 1")] == [
        "2026-02-15",
        "2026-02-16",
    ]
    assert pond.table.size().rows == 8
    assert on_disk(pond) == 4


def test_an_erased_tenant_is_gone_from_the_disk(pond: Pond) -> None:
    """With the files of earlier versions; others keep theirs, and their history; what is erased does not come back."""
    compact(pond.table, keep_days=None, history_h=168, now_ns=NOW)
    before = on_disk(pond, "b")
    assert erase(pond.table, "a") == 3
    assert on_disk(pond, "a") == 0
    assert on_disk(pond, "b") == before
    assert pond.ask("SELECT DISTINCT tenant FROM records") == [("b",)]
    assert pond.ingest().rows == 0


def test_the_log_holds_no_values_of_a_tenant(pond: Pond) -> None:
    """It outlives the files: what it says of a file's columns are times, kinds and numbers."""
    pond.write(row(tenant="a", channel="unspeakable", session="0123456789abcdef", t_wall_ns=NOW))
    pond.ingest()
    log = b"".join(path.read_bytes() for path in (pond.folder / "lake" / "_delta_log").glob("*.json"))
    assert b"t_wall_ns" in log
    assert b"unspeakable" not in log
    assert b"0123456789abcdef" not in log


def test_only_names_of_tenants_are_erased(pond: Pond) -> None:
    """No pattern, no path, no SQL."""
    for name in ("*", "a' OR true --", "../b", ""):
        with pytest.raises(LakeError, match="no name of a tenant"):
            erase(pond.table, name)
    assert pond.table.size().rows == 12


def test_rows_that_come_in_meanwhile_stay(pond: Pond) -> None:
    """Another machine appends between the version that a compaction reads and its commit: all are there, once."""
    real, other, first = pond.table._open, Pond(pond.folder, elsewhere=True), True
    pond.write(row(tenant="a", t_wall_ns=NOW))

    def overtaken() -> object:
        nonlocal first
        table = real()
        if first:
            first = False
            other.ingest()
        return table

    pond.table._open = overtaken  # type: ignore[method-assign,assignment]
    compact(pond.table, keep_days=None, history_h=168, now_ns=NOW)
    assert len(pond.ids()) == len(set(pond.ids())) == 13


def test_one_process_at_a_time_changes_the_table(pond: Pond) -> None:
    """Whatever it does; the other waits a while and is told then, and reading goes on."""
    held = ExitStack()
    held.enter_context(pond.table.alone("changes the lake"))
    ends = Timer(0.2, held.close)
    ends.start()
    compact(pond.table, keep_days=None, history_h=168, now_ns=NOW)
    ends.join()
    pond.table.wait_s = 0.0
    with pond.table.alone("changes the lake"):
        for change in (
            lambda: compact(pond.table, keep_days=None, history_h=168, now_ns=NOW),
            lambda: erase(pond.table, "a"),
            pond.ingest,
        ):
            with pytest.raises(BusyError, match="another process changes the lake"):
                change()
        assert len(pond.ids()) == 12
    compact(pond.table, keep_days=None, history_h=168, now_ns=NOW)

"""Rows come into the lake exactly once, in whatever portions, and whatever ends the process that brings them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.lake import Pond
from support.records import T0, row, spent
from trimtab.controlplane.lake import Column, LakeError, intake
from trimtab.controlplane.records import rows as read
from trimtab.core.contract import Asked
from trimtab.core.decision import Feature, Features, RuleTrace
from trimtab.core.rows import AdmissionRow, CertificateRow, Over, Tokens

DAY = 86_400 * 10**9
MOOD = Column("mood", "VARCHAR", "'calm'")


@pytest.fixture
def pond(tmp_path: Path) -> Pond:
    """Empty."""
    return Pond(tmp_path)


def written(pond: Pond) -> list[str]:
    """Ids of all rows of the journals."""
    return [one.id for one in read(pond.records)]


def test_a_row_comes_in_as_it_stands_in_the_journal(pond: Pond) -> None:
    """Every kind of value: structs, lists of structs, maps, nulls beside zeros, what JSON left out as a default."""
    admission = AdmissionRow(model="m", how="waited", percentile=0.95, running=3, waiting=0, slots=4)
    over = Over(figure="ttft", model="m", percentile=0.95, since="rec_1", until=None)
    pond.write(
        row(
            tenant="t",
            channel="c",
            t_wall_ns=T0,
            asked=Asked(latency_ms=5.0),
            features=Features(language=Feature("de", 0.9, {"letters": 3}), complexity=Feature(0.25)),
            rules=[RuleTrace(id="r", at="route", hit=True, values={"a": 1, "b": "1", "c": [True, None], "d": 0.5})],
            stages={"decide": [0.0, 1.5]},
            tokens=Tokens(prompt=0),
            admissions=[admission],
            certificates=[
                CertificateRow(
                    claim="c", method="m", estimate=None, lower=0, upper=1, error=0.05, observations=9, over=over
                )
            ],
        )
    )
    pond.ingest()
    [found] = pond.ask(
        "SELECT features.language.value, features.complexity.value::DOUBLE, features.intent, rules[1].values,"
        " stages['decide'], tokens.prompt, tokens.completion, admissions[1].waived, admissions[1].short,"
        " certificates[1].over.from, asked.latency_ms, arrived, day, source, events FROM records"
    )
    assert found[:5] == ("de", 0.25, None, {"a": "1", "b": "1", "c": "[true,null]", "d": "0.5"}, [0.0, 1.5])
    assert found[5:11] == (0, None, [], None, "rec_1", 5.0)
    assert [str(one) for one in found[11:]] == ["2025-11-24 16:00:00", "2025-11-24", "gateway", "[]"]


def test_money_is_decimal(pond: Pond) -> None:
    """A nano-dollar is not lost beside a million dollars, nor in a sum."""
    pond.write(spent("a", 1_000_000_000_000_001), spent("b", 1), spent("b", -3, kind="adjust"), row(tenant="c"))
    pond.ingest()
    assert pond.ask("SELECT sum(settled_usd) FROM records") == [(Decimal("999999.999999999"),)]
    assert pond.ask("SELECT settled_usd FROM records WHERE tenant = 'c'") == [(None,)]


def test_rows_stand_in_the_partition_of_their_arrival_and_tenant(pond: Pond) -> None:
    """The day is that of UTC; a row of nobody is in `_`; every kind comes in."""
    pond.write(
        row(tenant="shop", t_wall_ns=20_000 * DAY - 1),
        row(tenant="shop", t_wall_ns=20_000 * DAY, kind="adjust"),
        row(tenant="7", t_wall_ns=20_000 * DAY, kind="lost"),
        row(t_wall_ns=20_000 * DAY, kind="shadow"),
    )
    pond.ingest()
    folders = {str(Path(file).parent.relative_to(pond.table.place.url)) for file in pond.table.files()}
    assert folders == {
        "day=2024-10-03/tenant=shop",
        "day=2024-10-04/tenant=shop",
        "day=2024-10-04/tenant=7",
        "day=2024-10-04/tenant=_",
    }
    found = pond.ask("SELECT tenant, kind FROM records ORDER BY seq")
    assert found == [("shop", "request"), ("shop", "adjust"), ("7", "lost"), ("_", "shadow")]


def test_a_tenants_name_is_text(pond: Pond) -> None:
    """Also where all names are figures, which in a folder's name look like numbers."""
    pond.write(row(tenant="007"))
    pond.ingest()
    assert pond.ask("SELECT tenant FROM records") == [("007",)]


def test_a_commit_touches_some_partitions_only(pond: Pond, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a file held open; what is beyond comes in with the next commit."""
    monkeypatch.setattr(intake, "BATCH_PARTITIONS", 3)
    pond.write(*(row(tenant=f"t{number}") for number in range(7)))
    assert pond.ingest().commits == 3
    assert pond.ids() == written(pond)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=5), batch=st.integers(1, 4))
def test_in_whatever_portions_rows_come_each_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int]], batch: int
) -> None:
    """Journals of several workers grow between runs; each run takes what is new, and a second one nothing."""
    pond = Pond(tmp_path_factory.mktemp("pond"))
    for worker, count in parts:
        pond.write(*(row(tenant="t") for _ in range(count)), worker=worker)
        assert pond.ingest(batch_rows=batch).rows == count
        assert pond.ingest(batch_rows=batch).rows == 0
    pond.ingest()
    assert sorted(pond.ids()) == sorted(written(pond))


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from support.lake import Pond
from trimtab.controlplane.lake.adapters import delta, duck

folder, when = Path(sys.argv[1]), sys.argv[2]
def end(): os.kill(os.getpid(), signal.SIGKILL)
class Fatal(delta.Table):
    calls = 0
    def append(self, *args):
        Fatal.calls += 1
        if when == "before" and Fatal.calls == 2: end()
        if when == "amid" and Fatal.calls == 2:
            had = set(folder.glob("lake/**/*.parquet"))
            def watch():
                while set(folder.glob("lake/**/*.parquet")) == had: pass
                end()
            threading.Thread(target=watch, daemon=True).start()
        super().append(*args)
        if when == "after" and Fatal.calls == 2: end()
pond = Pond(folder)
pond.table = Fatal(pond.table.place)
pond.ingest(batch_rows=20)
"""


@pytest.mark.parametrize("when", ["before", "amid", "after"])
def test_a_kill_loses_and_doubles_nothing(pond: Pond, when: str) -> None:
    """kill -9 before the second commit, once its first file is on the disk, and after it; then a run to the end."""
    pond.write(*(row(tenant=f"t{number % 7}", channel="c" * 50) for number in range(70)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(pond.folder), when], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(pond.ids()) in {"before": (20,), "amid": (20, 40), "after": (40,)}[when]
    pond.ingest()
    assert pond.ids() == written(pond)


@pytest.mark.parametrize("when", ["early", "late"])
def test_two_that_append_from_the_same_mark_cannot_both(pond: Pond, when: str) -> None:
    """The second finds the mark moved, before it looks at the table's version or after: it raises, rows are in once."""
    pond.write(row(tenant="t"))
    pond.ingest()
    pond.write(row(tenant="t"))
    first, real, other = True, pond.table._open, Pond(pond.folder, elsewhere=True)

    def overtaken() -> Any:
        nonlocal first
        table = real() if when == "late" else None
        if first:
            first = False
            other.ingest()
        return table or real()

    append = pond.table.append

    def appending(*args: Any) -> None:
        pond.table._open = overtaken  # type: ignore[method-assign]
        append(*args)

    pond.table.append = appending  # type: ignore[method-assign]
    with pytest.raises(LakeError, match="another process" if when == "early" else "Concurrent transaction"):
        pond.ingest()
    assert Pond(pond.folder).ids() == written(pond)


def test_a_journal_that_began_anew_is_refused_until_it_is_said(pond: Pond) -> None:
    """Numbers count from 1 again: shorter, then longer than what was read; `anew` takes what the lake lacks by id."""
    pond.write(*(row(tenant="t") for _ in range(5)))
    pond.ingest()
    kept = written(pond)
    (pond.records).rename(pond.folder / "old")
    pond.write(row(tenant="t"), row(tenant="t"))
    with pytest.raises(LakeError, match="--anew 0"):
        pond.ingest()
    pond.write(*(row(tenant="t") for _ in range(5)))
    with pytest.raises(LakeError, match="--anew 0"):
        pond.ingest()
    assert pond.ingest(anew=[0]).rows == 7
    assert pond.ingest().rows == 0
    assert sorted(pond.ids()) == sorted(kept + written(pond))


def test_a_journal_put_back_from_a_copy_is_taken_by_id(pond: Pond) -> None:
    """Rows that the lake has already are not doubled."""
    pond.write(*(row(tenant="t") for _ in range(3)))
    pond.ingest()
    assert pond.ingest(anew=[0]).rows == 0
    assert len(pond.ids()) == 3


def test_damaged_rows_are_named_and_left_out(pond: Pond) -> None:
    """The rest comes in, and the next run goes on behind."""
    pond.write(*(row(tenant="t") for _ in range(3)))
    [segment] = pond.records.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + lines[1].replace(b'"tenant":"t"', b'"tenant":"u"') + lines[2])
    done = pond.ingest()
    assert (done.rows, len(done.damaged)) == (2, 1)
    assert "line 2" in done.damaged[0]
    pond.write(row(tenant="t"))
    assert pond.ingest().rows == 1


def test_sources_have_marks_of_their_own(pond: Pond) -> None:
    """Two gateways write one lake, each with a worker 0."""
    pond.write(row(tenant="t"))
    assert pond.ingest(source="berlin").rows == 1
    assert pond.ingest(source="madrid").rows == 1
    assert pond.ask("SELECT source FROM records ORDER BY 1") == [("berlin",), ("madrid",)]


def test_a_lake_without_rows_can_be_asked(pond: Pond) -> None:
    """The first run makes the table, also where nothing was ever asked."""
    pond.ingest()
    assert pond.ask("SELECT count(*), sum(settled_usd) FROM records") == [(0, None)]


def test_a_field_that_is_new_is_a_column_and_older_rows_have_null(pond: Pond, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the top, in a struct and in a list of structs, before and after compaction."""
    from trimtab.controlplane.lake.adapters import duck

    pond.write(row(tenant="t", guards=[]))
    pond.ingest()
    younger = [
        one._replace(type="STRUCT(latency BOOLEAN, fairness DOUBLE)", value="{'latency': true, 'fairness': 0.5}")
        if one.name == "met"
        else one._replace(type='STRUCT("check" VARCHAR, ms DOUBLE)[]', value="[{'check': 'x', 'ms': 2.0}]")
        if one.name == "guards"
        else one
        for one in duck.columns()
    ]
    younger.insert(3, MOOD)
    monkeypatch.setattr(duck, "columns", lambda: tuple(younger))
    pond.write(row(tenant="t"))
    pond.ingest()
    asked = "SELECT mood, met.fairness, met.cost, guards[1].ms, guards[1].hits FROM records ORDER BY seq"
    expected = [(None, None, None, None, None), ("calm", 0.5, None, 2.0, None)]
    assert pond.ask(asked) == expected
    assert pond.table.compact() == (2, 1)
    assert pond.ask(asked) == expected


def test_files_of_two_releases_are_read_alike_in_either_order(pond: Pond, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is opened first, the column that one of them lacks is there, and null where it was not written."""
    from trimtab.controlplane.lake.adapters import duck

    pond.write(row(tenant="t"))
    pond.ingest()
    younger = (*duck.columns(), MOOD)
    monkeypatch.setattr(duck, "columns", lambda: younger)
    pond.write(row(tenant="t"))
    pond.ingest()
    files = pond.table.files()
    for order in (files, files[::-1]):
        found = duck.ask(order, "SELECT mood FROM records ORDER BY seq", rows=9, memory_mib=512)
        assert found.rows == [(None,), ("calm",)]


def test_a_handle_says_where_it_is(pond: Pond) -> None:
    """And not what opens it."""
    assert repr(pond.table) == f"<Table {pond.folder / 'lake'}>"

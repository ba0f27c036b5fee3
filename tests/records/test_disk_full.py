"""A running gateway whose disk takes nothing more: requests go on, and it is said loudly until there is room again."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.test_resume import ANSWER, CONTINUE, PREFILL, cut_after, goes_on
from support.aside import upstream_aside
from support.gateway import OTHER_KEY, Gateway, text_of, write_workspace
from support.live import eventually, live, trimtab
from support.records import CLOCK, FaultyDisk
from support.scrape import parsed, value
from support.upstream import ScriptedUpstream, Seen, Step, openai
from trimtab.controlplane.records import Journal, rows, verify
from trimtab.surfaces.sinks import Sinks
from trimtab.surfaces.twin import run_virtual

ANY = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.mark.timeout(120)
def test_requests_go_on_while_the_disk_refuses_and_what_waited_is_written(tmp_path: Path) -> None:
    """The kernel refuses the gateway every byte of a file: answers come as before, rows wait; a log line, two metrics,
    `/state` and `doctor` say so; once there is room all rows are written in order, and the log says that, too."""
    with upstream_aside(openai) as url:
        write_workspace(tmp_path, url, url)
        with live(tmp_path) as server:

            def ask(count: int) -> list[str]:
                answers = [server.chat(f"Hello {number}", OTHER_KEY, temperature=1) for number in range(count)]
                assert [status for status, _, _ in answers] == [200] * count
                return [headers["trimtab-record"] for _, headers, _ in answers]

            def metric(name: str) -> float:
                return value(parsed(server.admin_text("/metrics")), name)

            asked = ask(2)
            assert server.admin("POST", "/records/flush")[1] == {"flushed": True}
            assert (metric("trimtab_records_failing"), metric("trimtab_records_waiting")) == (0, 0)
            resource.prlimit(server.gateway_pid(), resource.RLIMIT_FSIZE, (1, ANY[1]))
            asked += ask(5)
            assert eventually(lambda: metric("trimtab_records_failing") == 1)
            asked += ask(5)
            assert metric("trimtab_records_waiting") >= 5
            assert metric("trimtab_records_lost_total") == 0
            assert "File too large" in server.state()["journal"]["failing"]
            assert server.logged("records: the disk refuses")
            assert server.request("GET", "/readyz")[0] == 200
            said = trimtab("doctor", "--workspace", str(tmp_path), code=1)
            assert "The disk refuses records" in " ".join(said.split())
            resource.prlimit(server.gateway_pid(), resource.RLIMIT_FSIZE, ANY)
            assert eventually(lambda: metric("trimtab_records_failing") == 0)
            assert server.admin("POST", "/records/flush")[1] == {"flushed": True}
            assert eventually(lambda: server.logged("the disk takes rows again; 0 rows lost"))
            kept = [row.id for row in rows(tmp_path / "var" / "records") if row.kind == "request"]
            assert kept == asked
    assert verify(tmp_path / "var" / "records").problems == []


def test_a_broken_stream_is_gone_on_with_while_the_disk_is_full(tmp_path: Path) -> None:
    """The disk fills as the next model is asked for the rest. The caller gets the whole answer; the record, with both
    attempts and what both cost, waits, and is there once there is room."""
    folder, disk = tmp_path / "records", FaultyDisk(at=1 << 30, times=1 << 40)
    journal = Journal(folder, 0, CLOCK, disk=disk, group_s=0.001, retry_s=(0.001, 0.01))

    def fills(seen: Seen) -> Iterable[Step]:
        disk.at = disk.count + 1
        return goes_on(seen)

    async def main() -> None:
        async with ScriptedUpstream(lambda _: cut_after(5)) as one, ScriptedUpstream(fills) as two:
            async with Gateway(tmp_path / "ws", one.url, two.url, CONTINUE, PREFILL) as gateway:
                gateway.plane.sink = Sinks(journal, gateway.plane.sink)
                got = await gateway.ask("Explain", stream=True)
                assert (got.status, got.whole, text_of(got.body)) == (200, True, ANSWER)
                assert disk.failed.wait(10)
                state = journal.state()
                assert (state.durable, state.lost) == (0, 0)
                assert gateway.settled_nanousd() == gateway.last.cost.settled_nanousd

    run_virtual(main)
    assert list(rows(folder)) == []
    disk.healed.set()
    assert journal.flush(10)
    journal.close()
    (record,) = rows(folder)
    assert [(attempt.why, attempt.outcome) for attempt in record.attempts] == [
        ("first", "dropped"),
        ("continue", "success"),
    ]
    assert record.code is None
    assert record.cost.settled_nanousd
    assert verify(folder).problems == []

"""The records read into an empty store give what the live run had: budgets, objectives and journal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, OTHER_KEY, replaced, write_workspace
from support.live import TRIMTAB, Live, eventually, live, trimtab
from support.records import CLOCK, fill
from support.upstream import Seen, Step, failure, openai
from trimtab.controlplane.records import rows, segments
from trimtab.controlplane.registry import load
from trimtab.controlplane.slo import Engine, objectives
from trimtab.foundations.store.line import frame
from trimtab.surfaces import slo_state
from trimtab.surfaces.kept.replay import counted, spent, state_bytes, written_anew
from trimtab.surfaces.objectives import read_on


def documents(texts: dict[str, str]) -> None:
    """Budgets of a month, and objectives to hold."""
    replaced("tenants/shop.yaml", "period: day", "period: month")(texts)
    texts["tenants/other.yaml"] += "budgets: [{period: month, usd: '3'}]\n"


def replay(workspace: Path, code: int = 0) -> Any:
    return msgspec.json.decode(trimtab("replay", "--json", "--workspace", str(workspace), code=code))


def ask(server: Live, count: int) -> None:
    for number in range(count):
        server.chat(f"Question {number}", key=OTHER_KEY if number % 4 == 3 else KEY, temperature=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace after a run in which upstreams failed, the gateway was killed, and objectives were watched twice."""
    seen = [0]

    def script(request: Seen) -> Iterable[Step]:
        seen[0] += 1
        return failure(500, "broken") if seen[0] % 7 in (0, 1, 2) else openai(request)

    with upstream_aside(script) as url:
        workspace = write_workspace(tmp_path_factory.mktemp("run") / "w", url, url, documents)
        with live(workspace) as server:
            ask(server, 12)
            trimtab("slo", "watch", "--once", "--workspace", str(workspace))
            os.kill(server.gateway_pid(), signal.SIGKILL)
            eventually(lambda: _answers(server))
            ask(server, 8)
            found = replay(workspace)
            assert (found["same"], found["source"]) == (True, "gateway"), found
            trimtab("slo", "watch", "--once", "--workspace", str(workspace))
        yield workspace


def _answers(server: Live) -> bool:
    try:
        return bool(server.request("GET", "/readyz")[0] == 200)
    except OSError:
        return False


def test_all_is_the_same(run: Path) -> None:
    """After the clean stop: budgets to the nano-dollar, objectives and journal to the byte."""
    found = replay(run)
    assert (found["same"], found["source"], found["rewritten"]) == (True, "records", [])
    assert {one["budget"]: one["replayed_nanousd"] > 0 for one in found["balances"]} == {"shop": True, "other": True}
    assert found["objectives"]["replayed"] == found["objectives"]["kept"] is not None
    said = trimtab("replay", "--workspace", str(run))
    assert said.endswith("the same\n")


def test_objectives_are_the_same_to_the_byte_wherever_the_watch_stood(run: Path) -> None:
    """An engine that read on in three steps holds, byte for byte, what one holds that reads the same rows at once."""
    loaded = load(run)
    wanted = objectives(loaded.snapshot.tenancy, loaded.slo)
    assert wanted
    folder, engine = run / "var" / "records", Engine(wanted)
    every = list(rows(folder))
    for stop in (3, 9, len(every)):
        for row in every[:stop]:
            if (row.seq or 0) > engine.after.get(row.worker or 0, 0):
                engine.observe(row)
        assert state_bytes(counted(engine, folder)) == state_bytes(engine)
    assert read_on(engine, folder, lambda damage: None) == 0
    saved = slo_state.decode((run / slo_state.FILE).read_bytes())
    kept = Engine.from_state(wanted, saved.engine)  # from before the gateway said that it stops
    assert msgspec.json.encode(saved.engine) == state_bytes(counted(kept, folder))


def test_spent_is_the_sum_of_rows(run: Path) -> None:
    """Of the period's rows and nothing else, as many times as it is asked."""
    loaded, folder = load(run), run / "var" / "records"
    first = spent(loaded, folder, CLOCK)
    assert msgspec.json.encode(first) == msgspec.json.encode(spent(loaded, folder, CLOCK))
    sums = dict.fromkeys(("shop", "other"), 0)
    for row in rows(folder):
        if row.tenant is not None:
            sums[row.tenant] += row.cost.settled_nanousd or 0
    assert {one.name: one.settled_nanousd for one in first} == sums


def test_what_is_not_the_same_is_said(run: Path, tmp_path: Path) -> None:
    """A count that was changed with its checksum, and rows that somebody took away at the end."""
    trimtab("backup", str(tmp_path / "b.tar"), "--workspace", str(run))
    folder = tmp_path / "again"
    trimtab("restore", str(tmp_path / "b.tar"), str(folder))
    assert replay(folder)["same"]
    path = folder / slo_state.FILE
    whole = path.read_bytes()
    saved = slo_state.decode(whole)
    track = next(iter(saved.engine.tracks.values()))
    at, events, bad, unknown = track.coarse[-1]
    track.coarse[-1] = (at, events + 1, bad, unknown)
    path.write_bytes(slo_state.encode(saved))
    found = replay(folder, code=1)
    assert found["objectives"]["replayed"] != found["objectives"]["kept"]
    assert all(one["replayed_nanousd"] == one["kept_nanousd"] for one in found["balances"])
    path.write_bytes(whole)
    for segment in segments(folder / "var" / "records")[1:]:
        segment.path.unlink()
        segment.seal_path.unlink(missing_ok=True)
    found = replay(folder, code=1)
    assert any(one["replayed_nanousd"] < one["kept_nanousd"] for one in found["balances"])
    assert trimtab("replay", "--workspace", str(folder), code=1).endswith("not the same\n")


def test_a_row_that_is_not_what_it_was_when_written_anew_is_named(tmp_path: Path) -> None:
    """One with a member that this version does not know; the others are the same."""
    fill(tmp_path, 3)
    path = segments(tmp_path)[0].path
    lines = path.read_bytes().splitlines()
    lines[1] = frame(lines[1][9:-1] + b',"more":1}')
    path.write_bytes(b"\n".join([*lines, b""]))
    assert written_anew(tmp_path) == (3, [f"{path.name} line 2"])


def test_decisions_of_a_live_run_are_decided_the_same(run: Path) -> None:
    """By the command; and after a change of policy, what would be decided otherwise is counted, with an example."""
    said = trimtab("replay", "--decisions", "--workspace", str(run))
    assert said.endswith(" 0 decided otherwise\n"), said
    policy = run / "policy.yaml"
    before = policy.read_text()
    policy.write_text(before + "  - {id: mine, at: decide, when: 'true', then: {forbid: ['tier:S']}}\n")
    try:
        said = trimtab("replay", "--decisions", "--since", "1h", "--workspace", str(run), code=1)
    finally:
        policy.write_text(before)
    assert "x rule mine is new, and hits, e.g. rec_" in said
    assert "x variant small-plain might answer, and now was out (tier not allowed)" in said
    assert "--since goes with --decisions" in _refused("replay", "--since", "1h", "--workspace", str(run))


def _refused(*words: str) -> str:
    return subprocess.run([TRIMTAB, *words], capture_output=True, text=True, check=False).stderr

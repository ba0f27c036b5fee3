"""What a gateway has learned of its models outlives it."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from podmodel.pods import passes
from support.aside import upstream_aside
from support.gateway import KEY, replaced, write_workspace
from support.live import TRIMTAB, Live, eventually, live, patient_example
from support.upstream import Delay, Seen, Step, stream, usage
from trimtab.controlplane import records
from trimtab.controlplane.registry import load
from trimtab.core.clock import SystemClock
from trimtab.foundations.podmodel import Fit, Pod
from trimtab.foundations.store import Disk
from trimtab.surfaces.doctor.measured import Measured
from trimtab.surfaces.learned import FOLDER, declarations, read, tiers, write_measured

PATIENT = replaced("tenants/shop.yaml", "e2e_ms: 4000", "e2e_ms: 60000, deadline_ms: 60000")


def pod(seen: Seen) -> Iterable[Step]:
    """40 ms to the first token, then 4 ms for each: long enough that each request teaches."""
    yield Delay(0.04)
    yield from stream(["w "] * 10, usage(20, 10), delay_s=0.004)


def ask(server: Live, number: int) -> str:
    status, headers, _ = server.chat(f"question {number}", key=KEY, model="tier:S", stream=True, temperature=1)
    assert status == 200
    return str(headers["trimtab-record"])


def answers(server: Live) -> bool:
    """Whether somebody serves again."""
    try:
        return int(server.request("GET", "/readyz")[0]) == 200
    except (OSError, http.client.HTTPException):
        return False


def predicted(workspace: Path, record: str) -> dict[str, float]:
    row = records.find(workspace / "var" / "records", record)
    assert row is not None
    return row.predicted


def test_the_first_request_after_a_restart_is_foreseen(tmp_path: Path) -> None:
    """Nothing is foreseen of the very first one, nor of some more. After a clean stop, and after a kill of what was
    started behind it, nothing needs to be learned again. What a broken file says is not believed, and that is said."""
    with upstream_aside(pod) as url:
        workspace = write_workspace(tmp_path, url, url, PATIENT)
        with live(workspace) as server:
            assert predicted(workspace, ask(server, 0)) == {}
            known = next(found for number in range(1, 300) if (found := predicted(workspace, ask(server, number))))
        with live(workspace) as server:
            again = predicted(workspace, ask(server, 301))
            assert eventually(lambda: server.logged("by what was learned before: small"))
            os.kill(server.gateway_pid(), signal.SIGKILL)
            assert eventually(lambda: answers(server))
            restarted = predicted(workspace, ask(server, 302))
        file = workspace / FOLDER / "w0000.json"
        file.write_bytes(file.read_bytes()[:-1])
        with live(workspace) as server:
            assert predicted(workspace, ask(server, 303)) == {}
            assert eventually(lambda: server.logged("w0000.json is ignored: it is damaged"))
    assert 40 <= known["model_ttft_ms"] < 400
    for one in (again, restarted):
        for name in ("model_ttft_ms", "model_itl_ms", "output_tokens", "input_token_length"):
            assert known[name] / 2 < one[name] < known[name] * 2, name


def test_what_the_doctor_measures_is_what_the_gateway_goes_by(tmp_path: Path) -> None:
    """With no gateway beside it, of the real engines: held-out errors of both figures, and a file of those models of
    whom enough was seen."""
    workspace = tmp_path / "workspace"
    patient_example(workspace)
    done = subprocess.run(
        [TRIMTAB, "doctor", "--measure", "--seconds", "12", "--json", "--workspace", str(workspace)],
        capture_output=True,
        check=False,  # it also says what else is not well on a machine that others use, the port for one
        timeout=100,
    )
    measured = msgspec.convert(msgspec.json.decode(done.stdout)["measured"], Measured)
    assert not measured.gateway_runs
    for one in measured.engines:
        for error in one.fitted.held_out:
            assert error.points > 0
            assert 0 <= error.median <= error.p90
    assert measured.kept == [one.engine for one in measured.engines if one.fitted.enough]  # models are named like them
    declared = declarations(load(workspace, SystemClock()))
    found = tiers(read(workspace / FOLDER, Disk()), declared)
    assert list(found) == measured.kept
    for one in measured.engines:
        assert not one.fitted.enough or found[one.engine].fit.pod == one.fitted.pod


def test_a_gateway_foresees_its_first_request_by_what_was_measured(tmp_path: Path) -> None:
    """Where nothing was learned yet: by the measured pace, and by what is assumed of lengths."""
    workspace = tmp_path / "workspace"
    patient_example(workspace)
    measured = Fit(Pod(base_ms=10, sequence_ms=2, held_ms=0.01, prefill_ms=5, prompt_ms=6, attend_ms=0, serial=1))
    for sample in passes(measured.pod, 1, 60):
        measured.observe(sample)
    loaded = load(workspace, SystemClock())
    assert write_measured(loaded, {"small": measured.state(), "medium": measured.state()}, 1) == ["small", "medium"]
    with live(workspace) as server:
        status, headers, _ = server.chat("Tell me of trim tabs.", key="tt-demo-support", stream=True, max_tokens=4)
        assert status == 200
        foreseen = predicted(workspace, headers["trimtab-record"])
    assert foreseen["model_ttft_ms"] == pytest.approx(measured.pod.intake_ms(foreseen["input_token_length"]), rel=0.01)
    assert foreseen["output_tokens"] == 4

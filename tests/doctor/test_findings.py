"""`trimtab doctor` on installations that are not well: each illness is named with its cause and what to do."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.live import TRIMTAB, trimtab
from support.records import CLOCK, fill, row
from trimtab.controlplane.records import Journal
from trimtab.surfaces.doctor.machine import memory_left
from trimtab.surfaces.doctor.packages import MODULES, RETRIEVAL, import_all, packages
from trimtab.surfaces.processes import bundled_model
from trimtab.surfaces.processes.model import FILE

PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def examine(workspace: Path, descriptors: int | None = None) -> tuple[int, dict[str, Any]]:
    """Exit status, and findings by what they are of."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    done = subprocess.run(
        [TRIMTAB, "doctor", "--json", "--workspace", str(workspace)],
        capture_output=True,
        check=False,
        timeout=60,
        preexec_fn=limit,
    )
    told = msgspec.json.decode(done.stdout)
    assert told["ok"] == (done.returncode == 0)
    return done.returncode, {one["what"]: one for one in told["findings"]}


def settings(workspace: Path, old: str, new: str) -> None:
    path = workspace / "trimtab.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def damage(folder: Path) -> None:
    """One byte in the middle of the first row."""
    segment = sorted(folder.glob("*.jsonl"))[0]
    data = bytearray(segment.read_bytes())
    data[60] ^= 1
    segment.write_bytes(data)


def test_a_well_one_is_well(tmp_path: Path) -> None:
    """The example as it is written: nothing to do, also where all is said."""
    trimtab("init", str(tmp_path / "w"))
    settings(tmp_path / "w", "port: ", "port: 0  # ")
    status, found = examine(tmp_path / "w", descriptors=20_000)
    assert status == 0, found
    assert {one["state"] for one in found.values()} == {"ok"}
    assert found.keys() >= {"packages", "python", "disk", "clock", "loopback", "memory", "engine small", "records"}


def test_illnesses_are_told_together(tmp_path: Path) -> None:
    """An open secret, a port that is taken, damaged records, a model that is none, few descriptors, a left socket."""
    workspace = tmp_path / "w"
    trimtab("init", str(workspace))
    (workspace / "var" / "secret").chmod(0o644)
    fill(workspace / "var" / "records", 3)
    damage(workspace / "var" / "records")
    (workspace / "var" / "money").mkdir()
    for mirror in ("000001.a", "000001.b"):
        (workspace / "var" / "money" / mirror).write_bytes(b"not a journal")
    (workspace / "notes.gguf").write_bytes(b"no model" * 100)
    settings(workspace, "model: bundled", "model: notes.gguf")
    with socket.socket(socket.AF_UNIX) as left, socket.create_server(("127.0.0.1", 0)) as other:
        left.bind(str(workspace / "run" / "admin.sock"))
        port = other.getsockname()[1]
        settings(workspace, "port: ", f"port: {port}  # ")
        status, found = examine(workspace, descriptors=1024)
    assert status == 1
    wanted = {
        "var/secret": ("error", "mode 0644", "chmod 600"),
        "records": ("error", "damaged", "Restore the segment"),
        "money": ("error", "000001.", "Restore var/money"),
        "engine small": ("error", "notes.gguf", "Download the file again"),
        f"port {port}": ("error", f"(pid {os.getpid()})", "--port N"),
        "open files": ("warning", "1,024 descriptors", "ulimit -n"),
        "gateway": ("warning", "left admin.sock behind", "trimtab serve"),
    }
    for what, (state, said, fix) in wanted.items():
        one = found[what]
        assert (one["state"], said in one["said"], fix in one["fix"]) == (state, True, True), one
        assert one["cause"]
    said = trimtab("doctor", "--workspace", str(workspace), code=1)
    assert re.search(r"not ok +var/secret: has mode 0644\n +Who reads it .*\n +Do: chmod 600 ", said)


def test_more_of_them(tmp_path: Path) -> None:
    """No secret, a bundled model that is not the one that was published, a clock that went back, records held by a
    process that does not answer."""
    workspace = tmp_path / "w"
    trimtab("init", str(workspace))
    (workspace / "var" / "secret").unlink()
    with bundled_model().open("rb") as model:
        (workspace / FILE).write_bytes(model.read(8 << 20))
    settings(workspace, "model: bundled", f"model: {FILE}")
    journal = Journal(workspace / "var" / "records", 0, CLOCK)
    journal.write(row(t_wall_ns=CLOCK.wall_ns() + 3600 * 10**9))
    journal.close()
    lock = os.open(workspace / "var" / "records" / "w0000.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        status, found = examine(workspace)
    finally:
        os.close(lock)
    assert status == 1
    assert "can't be read" in found["var/secret"]["said"]
    assert "is not the file that was published" in found["engine small"]["said"]
    assert found["order of records"]["state"] == "warning"
    assert "a process holds w0000.lock" in found["gateway"]["said"]


def test_every_direct_dependency_is_looked_at() -> None:
    """Those of pyproject.toml, by the names that they have there."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    named = {re.split(r"[><=; ]", one)[0] for one in project["dependencies"]}
    assert named == MODULES.keys()
    assert len(named) <= 15
    assert {re.split(r"[><=; ]", one)[0] for one in project["optional-dependencies"]["rag"]} == RETRIEVAL.keys()


def test_a_wheel_that_ends_the_interpreter_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each victim is named with how it ended, those behind it are imported all the same."""
    for name, text in {
        "of_another_cpu": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "without_its_library": "raise ImportError('libfoo.so.1: cannot open shared object file')",
        "that_leaves": "import os; os._exit(3)",
        "that_is_well": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failed = import_all(["of_another_cpu", "without_its_library", "that_leaves", "that_is_well", "nowhere"])
    assert failed.pop("nowhere").startswith("ModuleNotFoundError")
    assert failed == {
        "of_another_cpu": "the interpreter is ended by SIGILL",
        "without_its_library": "ImportError libfoo.so.1: cannot open shared object file",
        "that_leaves": "the interpreter ends with status 3",
    }


def test_a_package_that_is_not_there_is_told_with_how_to_get_it() -> None:
    """By name; the others are counted."""
    missing, all_told = packages({"no-such-distribution": "no_such", "click": "click"})
    assert (missing.ok, missing.said) == (False, "is not installed")
    assert "pip install" in (missing.fix or "")
    assert all_told.said == "1 of 2 are installed and import"


def test_a_package_that_few_need_is_missed_without_alarm() -> None:
    """A warning with what it means; where it is there, it counts like the others."""
    missing, all_told = packages({"click": "click"}, {"no-such-distribution": "no_such"})
    assert (missing.state, missing.ok) == ("warning", True)
    assert "2,000 passages" in (missing.cause or "")
    assert all_told.said == "1 of 1 are installed and import"
    (both,) = packages({"click": "click"}, {"msgspec": "msgspec"})
    assert both.said == "2 of 2 are installed and import"


def test_a_container_s_bound_counts(tmp_path: Path) -> None:
    """What it leaves, where that is less than what the system has; no bound is none."""
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert memory_left(tmp_path) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (memory_left(tmp_path) or 0) > 1_000_000

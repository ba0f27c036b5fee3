"""`trimtab serve` where it says no before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from trimtab.cli import cli
from trimtab.cli._serve import PORT_TAKEN, engine_specs
from trimtab.controlplane.registry import Engine, Settings, write_example
from trimtab.surfaces.processes import EngineSpec, listen, share_of_cores, usable_cores


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The example, as `init` writes it."""
    write_example(tmp_path / "shop")
    return tmp_path / "shop"


def test_a_taken_port_ends_with_3_and_says_how_to_choose_another(workspace: Path) -> None:
    """The port and the two ways out are on stderr."""
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(cli, ["serve", "--workspace", str(workspace), "--port", str(port)])
    assert done.exit_code == PORT_TAKEN
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port N" in done.stderr
    assert "server.port in trimtab.yaml" in done.stderr


def test_an_address_that_is_not_ours_ends_with_3(workspace: Path) -> None:
    """A host that this machine does not have is said, not traced."""
    done = CliRunner().invoke(cli, ["serve", "--workspace", str(workspace), "--host", "192.0.2.1", "--port", "0"])
    assert done.exit_code == PORT_TAKEN
    assert "can't listen on 192.0.2.1" in done.stderr


def test_a_broken_workspace_ends_with_1_and_one_problem_a_line(workspace: Path) -> None:
    """Each problem has its own line with file and line; nothing is started."""
    (workspace / "trimtab.yaml").write_text("server:\n  prot: 1\nengines:\n  small:\n    slots: many\n")
    done = CliRunner().invoke(cli, ["serve", "--workspace", str(workspace)])
    assert done.exit_code == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split(" ")[:2] for line in lines[:2]] == [
        ["error:", "trimtab.yaml:2:"],
        ["error:", "trimtab.yaml:5:"],
    ]
    assert lines[-1] == "trimtab: 2 errors keep the workspace from being used"


def test_engines_without_threads_share_the_cores(tmp_path: Path) -> None:
    """Together they never have more threads than cores, and each has one; a container's quota counts."""
    quota = tmp_path / "cpu.max"
    quota.write_text("150000 100000\n")
    assert usable_cores(quota) == min(2, usable_cores(tmp_path / "none"))
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == usable_cores(tmp_path / "none")
    assert [share_of_cores(2, cores) for cores in (1, 2, 3, 8)] == [1, 1, 1, 4]
    settings = Settings(engines={"a": Engine(), "b": Engine()})
    assert [spec.threads for spec in engine_specs(settings)] == [share_of_cores(2, usable_cores())] * 2


def test_engines_are_told_what_the_workspace_declares() -> None:
    """Model, slots, context and threads reach the engine's process as they are written."""
    settings = Settings(engines={"a": Engine(model="m.gguf", slots=3, context=512, threads=2)})
    assert engine_specs(settings) == [EngineSpec(name="a", model="m.gguf", slots=3, context=512, threads=2)]

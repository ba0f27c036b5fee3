"""What is handed to others: the same to the byte whoever builds it, and nothing in it but the package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "package.py"


@pytest.fixture(scope="module")
def package() -> ModuleType:
    """scripts/package.py, which `make package` runs whole."""
    spec = importlib.util.spec_from_file_location("package", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(package: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from two copies with other paths and times; they are compared here."""
    work = tmp_path_factory.mktemp("wheel")
    for name, data in package.twice(work).items():
        (work / name).write_bytes(data)
    return next(work.glob("*.whl"))


def test_a_wheel_has_the_package_and_nothing_else(package: ModuleType, wheel: Path) -> None:
    """No .pth, no tests, no caches, no path of the builder's machine; licence, types, the example; each file's hash."""
    package.look_into(wheel)


def test_a_wheel_is_all_that_init_and_check_need(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the example is written and passes its checks: no file was left behind in the tree."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = "import sys, trimtab; sys.stderr.write(trimtab.__file__); from trimtab.cli import main; main()"
    for arguments in (["init", "--no-model"], ["check", "--strict"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(str(tmp_path / "site"))

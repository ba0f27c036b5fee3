"""Sets of data that benchmarks read: from the folder that `TRIMTAB_DATA` names, or from a file in a set's place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class AbsentError(Exception):
    """A set is not here, or can't be read; the text says which and what would help."""


def folder() -> Path:
    """Of all sets."""
    return Path(os.environ.get("TRIMTAB_DATA", "data"))


def read(name: str, files: Mapping[str, str], given: Mapping[str, str]) -> list[dict[str, Any]]:
    """A set's rows, from Parquet or JSON lines. `files` has its place in the folder, `given` another file. Raises
    AbsentError."""
    path = Path(given.get(name) or folder() / files[name])
    if not path.exists():
        raise AbsentError(f"{name}: {path} is absent (TRIMTAB_DATA names the folder of sets)")
    if path.suffix in (".jsonl", ".ndjson"):
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise AbsentError(f"{name}: {path} is Parquet: pip install pyarrow") from error
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows

"""The lake that a workspace declares, as a table that can be opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.controlplane.lake import Place, need_libraries
from trimtab.controlplane.registry import Lake
from trimtab.core.errors import ConfigError
from trimtab.foundations.config import SecretError, is_reference, resolve_secret

if TYPE_CHECKING:
    from trimtab.controlplane.lake import Table

STAGING = Path("var") / "lake-staging.jsonl"
_LOCK = Path("var") / "lake.lock"


def place_of(lake: Lake, folder: Path) -> Place:
    """Where it lies, with what opens it. Raises ConfigError for a secret that can't be read."""
    if lake.is_local:
        return Place(url=str((folder / lake.url).resolve()))
    options = {}
    for name, value in lake.options.items():
        try:
            options[name] = resolve_secret(value, folder).reveal() if is_reference(value) else value
        except SecretError as error:
            raise ConfigError([f"trimtab.yaml: lake.options.{name}: {error}"]) from error
    return Place(url=lake.url, options=options)


def open_lake(lake: Lake, folder: Path) -> Table:
    """The declared table; nothing is read yet. Raises ConfigError."""
    need_libraries()
    from trimtab.controlplane.lake import Table

    place = place_of(lake, folder)
    return Table(place, None if place.is_local else folder / _LOCK)


__all__ = ["STAGING", "open_lake", "place_of"]

"""What the lake is to its callers: where it lies, what may be wrong with it, and the mark that is kept in it."""

from __future__ import annotations

import importlib.util
from typing import Final, NamedTuple

import msgspec

from trimtab.core.errors import ConfigError, TrimtabError

LIBRARIES: Final = ("deltalake", "duckdb")


class LakeError(TrimtabError):
    """The lake can't do what was asked; the text says what to do."""


class NoLakeError(LakeError):
    """There is no table yet."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the table lies. `url`: an absolute folder, or object storage; `options`: what opens that, secrets too."""

    url: str
    options: dict[str, str] = {}

    @property
    def is_local(self) -> bool:
        return "://" not in self.url

    def __repr__(self) -> str:
        return f"<Place {self.url}>"


class Mark(NamedTuple):
    """How far a worker's rows are in the lake: all up to `seq`, which arrived at `t_wall_ns`. The time is the witness
    that a journal is still the one that was read: where one is deleted numbers begin anew, times do not."""

    seq: int
    t_wall_ns: int


class Size(NamedTuple):
    """Of the table as it is now. `version` counts commits from 0."""

    version: int
    rows: int
    files: int
    bytes: int


def need_libraries() -> None:
    """Raises ConfigError where the extra is not installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        what = " and ".join(missing)
        raise ConfigError([f"the lake needs {what}. Install it: pip install 'trimtab[lake]'"])


__all__ = ["LakeError", "Mark", "NoLakeError", "Place", "Size", "need_libraries"]

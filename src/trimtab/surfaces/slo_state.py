"""The file in which the watch of objectives goes on after a restart: what the engine has counted, what was said last.

Version 2 is one line behind its CRC, so that a changed digit is found; version 1 was bare JSON without a number. Both
are read, the newest is written.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab.controlplane.slo import EngineState
from trimtab.controlplane.slo.notices import Told
from trimtab.core.errors import NewerVersionError, TrimtabError
from trimtab.foundations.store.line import frame, unframe

VERSION: Final = 2
FILE: Final = "var/slo/state.json"
LOCK: Final = "var/slo/lock"


class SloStateError(TrimtabError):
    """The file is damaged: it is made anew from the records."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Between two runs."""

    engine: EngineState
    told: dict[str, Told]


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    version: int


class _File(Saved, frozen=True, kw_only=True):
    version: int = VERSION


def version_of(data: bytes) -> int:
    """Raises SloStateError for what is no such file."""
    if data.startswith(b"{"):
        return 1
    try:
        return msgspec.json.decode(_body(data), type=_Versioned).version
    except msgspec.MsgspecError as error:
        raise SloStateError(f"{FILE} is whole, and no state of objectives") from error


def decode(data: bytes) -> Saved:
    """Raises SloStateError, NewerVersionError."""
    version = version_of(data)
    if version > VERSION:
        raise NewerVersionError(FILE, version, VERSION)
    try:
        return msgspec.json.decode(data if version == 1 else _body(data), type=Saved)
    except msgspec.MsgspecError as error:
        raise SloStateError(f"{FILE} can't be read: {error}") from error


def encode(saved: Saved, version: int = VERSION) -> bytes:
    if version == 1:
        return msgspec.json.encode(Saved(engine=saved.engine, told=saved.told))
    return frame(msgspec.json.encode(_File(engine=saved.engine, told=saved.told)))


def _body(data: bytes) -> bytes:
    body = unframe(data)
    if body is None:
        raise SloStateError(f"{FILE} is damaged")
    return body


__all__ = ["FILE", "LOCK", "VERSION", "Saved", "SloStateError", "decode", "encode", "version_of"]

"""How a gateway logs; decided once by `trimtab serve`, handed to its children in their environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

FORMAT: Final = "TRIMTAB_LOG_FORMAT"
LEVEL: Final = "TRIMTAB_LOG_LEVEL"
ACCESS: Final = "TRIMTAB_ACCESS_LOG"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`access`: which requests get a line of their own; `errors` are those that ended with a 5xx code."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["errors", "all"] = "errors"

    def environment(self) -> dict[str, str]:
        """As a child process is told."""
        return {FORMAT: self.format, LEVEL: self.level, ACCESS: self.access}

    @classmethod
    def told(cls, environ: Mapping[str, str] = os.environ) -> LogSettings:
        """As this process was told by its parent; the defaults where it was not."""
        given = {"format": environ.get(FORMAT), "level": environ.get(LEVEL), "access": environ.get(ACCESS)}
        try:
            return msgspec.convert({name: value for name, value in given.items() if value}, cls)
        except msgspec.ValidationError:
            return cls()


__all__ = ["ACCESS", "FORMAT", "LEVEL", "LogSettings"]

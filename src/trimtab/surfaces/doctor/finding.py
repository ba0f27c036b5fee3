"""What the doctor says of one thing."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "warning", "error"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`what` was looked at, `said` what is there. Where that is not well: `cause`, why it matters, and `fix`."""

    what: str
    said: str
    state: State = "ok"
    cause: str | None = None
    fix: str | None = None

    @property
    def ok(self) -> bool:
        return self.state != "error"


def good(what: str, said: str) -> Finding:
    return Finding(what=what, said=said)


def warning(what: str, said: str, cause: str, fix: str) -> Finding:
    return Finding(what=what, said=said, state="warning", cause=cause, fix=fix)


def error(what: str, said: str, cause: str, fix: str) -> Finding:
    return Finding(what=what, said=said, state="error", cause=cause, fix=fix)


__all__ = ["Finding", "State", "error", "good", "warning"]

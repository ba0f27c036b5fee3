"""What is wrong with a document, as one line that says where, what, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding. `line` counts from 1; None where the finding has no line (a missing file)."""

    file: str
    line: int | None = None
    path: Path = ()
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        field = f"{render(self.path)}: " if self.path else ""
        tail = f" {self.hint}" if self.hint else ""
        stop = "" if self.message.endswith((".", "?", "!")) else "."
        return f"{where}: {field}{self.message}{stop}{tail}"


def render(path: Path) -> str:
    """`channels.web.keys[3].id`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that keep a document from being used."""
    return [problem for problem in problems if problem.severity == "error"]

"""Workspaces for tests: the shipped example in a folder of its own, and edits of it by text."""

from __future__ import annotations

from pathlib import Path

from trimtab.controlplane.registry import examine, write_example
from trimtab.foundations.config import Problem


class Sandbox:
    """A copy of the example that a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "workspace"
        write_example(self.folder)

    def replace(self, file: str, old: str, new: str, count: int = 1) -> Sandbox:
        """Replace a text that must be there (all of them for count -1)."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, count))
        return self

    def write(self, file: str, text: str) -> Sandbox:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def append(self, file: str, text: str) -> Sandbox:
        with (self.folder / file).open("a") as handle:
            handle.write(text)
        return self

    def problems(self) -> list[Problem]:
        return examine(self.folder)[1]

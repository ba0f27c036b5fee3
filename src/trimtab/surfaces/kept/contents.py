"""What of a workspace goes into a backup, in which order, and how each is read while a gateway writes it.

The order is what makes it consistent, for a gateway can't be held still:

1. documents and the audit log, under the workspace's lock, so that no command is in the middle of a change;
2. money, as one balance: later records only add to it;
3. what was made of records (SLO state, pace of models), then the records: they hold all that the parts before refer to.
   Newest segments first, because retention deletes oldest ones first: what is missing then is missing from the
   beginning;
4. captured texts, which refer to records, then their keys.

Files that are appended to are cut at a line's end, those that are replaced whole are whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trimtab.controlplane.records import Segment, segments
from trimtab.controlplane.records.roots import roots
from trimtab.controlplane.records.segment import tail
from trimtab.controlplane.registry import SETTINGS_FILE, locked, no_workspace
from trimtab.core.errors import ConfigError
from trimtab.foundations.store import Journal
from trimtab.surfaces.kept.archive import Head, Writer

VAR: Final = Path("var")
MONEY: Final = VAR / "money"
RECORDS: Final = VAR / "records"
KEYS: Final = VAR / "keys"
TEXTS: Final = VAR / "texts"
AUDIT: Final = VAR / "audit"
_LINES: Final = (".jsonl", ".texts")
"""Of what is appended to, line by line."""
_RUNNING: Final = re.compile(r"lock|.+\.(lock|new)")
"""Names in `var` of what tells of a running process."""
_HALF: Final = re.compile(r"\..+\.new")
"""Of a document that is being written."""
_NO_DOCUMENTS: Final = frozenset({VAR, Path("run"), Path(".git")})


class Contents:
    """One pass over a workspace, by one call of each method in the order in which they stand here."""

    def __init__(self, folder: Path, writer: Writer, *, keys: bool) -> None:
        """Raises ConfigError where the folder is no workspace."""
        if not (folder / SETTINGS_FILE).is_file():
            raise ConfigError([str(no_workspace(folder))])
        self._folder, self._writer, self._keys = folder, writer, keys
        self.heads: dict[int, Head] = {}
        self.problems: list[str] = []
        """What is damaged in the workspace itself; it is in the backup as it is."""

    def documents(self) -> None:
        with locked(self._folder):
            self._tree(Path(), _NO_DOCUMENTS)
            self._tree(AUDIT)

    def money(self) -> None:
        """Raises JournalDamagedError, JournalDiskError."""
        _, files = Journal.copy(self._folder / MONEY)
        for name, data in files.items():
            self._writer.add(f"{MONEY}/{name}", data, 0o600)

    def beside(self) -> None:
        """All of `var/` that has no rule of its own."""
        self._tree(VAR, frozenset({MONEY, RECORDS, KEYS, TEXTS, AUDIT}))

    def records(self) -> None:
        """Raises OSError."""
        folder = self._folder / RECORDS
        for segment in sorted({*segments(folder), *roots(folder)}, reverse=True):
            self._segment(segment)

    def texts(self) -> None:
        self._tree(TEXTS)
        if self._keys:
            self._tree(KEYS)

    def _segment(self, segment: Segment) -> None:
        """What says that it is closed is read first: its rows then change no more."""
        closed = [self._small(path) for path in (segment.seal_path, segment.root_path)]
        for path in (segment.torn_path, segment.gone_path):
            self._small(path)
        size = None
        if segment.worker not in self.heads:  # the newest that has rows
            end = tail(segment)
            if end.problem is not None:
                self.problems.append(str(end.problem))
            if end.last:
                self.heads[segment.worker] = Head(end.seq, end.last, segment.path.name)
            size = None if any(closed) else end.size
        try:
            self._file(segment.path, size)
        except FileNotFoundError:  # retention says so before it deletes
            self._small(segment.gone_path)

    def _small(self, path: Path) -> bool:
        """Whether it is there."""
        name = path.relative_to(self._folder).as_posix()
        if name in self._writer.members:
            return True
        try:
            data, mode = path.read_bytes(), path.stat().st_mode
        except FileNotFoundError:
            return False
        self._writer.add(name, data, mode & 0o777)
        return True

    def _tree(self, below: Path, skip: frozenset[Path] = frozenset()) -> None:
        kept = VAR in (below, *below.parents)
        for path in _files(self._folder, below, skip, _RUNNING if kept else _HALF):
            try:
                self._file(path, _lines_end(path) if kept and path.suffix in _LINES else None)
            except FileNotFoundError:
                continue  # replaced or erased meanwhile; an index that is not whole is built anew

    def _file(self, path: Path, size: int | None) -> None:
        """Its first `size` bytes; None: all that it has when it is opened."""
        with path.open("rb") as file:
            told = os.fstat(file.fileno())
            name = path.relative_to(self._folder).as_posix()
            self._writer.add_stream(name, file, told.st_size if size is None else size, told.st_mode & 0o777)


def _files(
    folder: Path, below: Path, skip: frozenset[Path], but: re.Pattern[str], above: frozenset[Path] = frozenset()
) -> Iterator[Path]:
    """Plain files, by name; links are followed, in no circle."""
    real = (folder / below).resolve()
    if real in above or not real.is_dir():
        return
    for path in sorted((folder / below).iterdir()):
        inner = path.relative_to(folder)
        if inner in skip or but.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from _files(folder, inner, skip, but, above | {real})
        elif path.is_file():
            yield path


def _lines_end(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65_536)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


__all__ = ["AUDIT", "KEYS", "MONEY", "RECORDS", "TEXTS", "VAR", "Contents"]

"""A mirrored, append-only journal for what must not be lost: what it has acknowledged, it finds again, or says that it
can't.

A generation is two files, `NNNNNN.a` and `NNNNNN.b`, of the same lines (mirror.py has the format and what can be told
of damage). States: *open* (appends go to the newest generation) and *refused* (a write or a sync failed: nobody knows
what the disk holds, so these files get no more; a checkpoint begins new ones). After a failed sync the kernel may call
lost pages clean, so no file is ever synced again after it failed once.

A generation begins in one way, for a checkpoint and for a start alike: both files are written and synced beside their
names, renamed, the folder is synced, and only then the older generations are deleted. So opening never repairs a file
in place: it reads, and begins a new generation with all that it found. A crash in between leaves the old files as they
were, or the new `.a` or `.b` or both, which hold the same.

They hold the same because a number is given once. Within a process a refused one is skipped. A start counts on from
the names that it sees, and it sees a refused generation no more whose deletion a power failure may yet undo: so it
first syncs the folder, and what is not seen is not there.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.foundations.store.disk import Disk, staged
from trimtab.foundations.store.mirror import JournalDamagedError, Mirror, Problem, encode, read, reconcile, root

__all__ = ["Found", "Journal", "JournalDamagedError", "JournalDiskError", "Problem"]

_FILE = re.compile(r"(\d{6,})\.[ab](\.new)?")
_COPY_TRIES, _COPY_PAUSE_S = 50, 0.02
_log = logging.getLogger(__name__)


class JournalDiskError(TrimtabError):
    """The disk refuses, and what was to be written counts as not written. After a restart it may be there all the same:
    whole, never in part."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal held when it was opened. `new`: no journal was there. `payloads`: all that was acknowledged since
    the last checkpoint, which comes first, in order; behind it perhaps one group whose append was never answered.
    `problem`: what was wrong with one mirror; it is made good."""

    new: bool
    payloads: list[bytes]
    problem: Problem | None


class _Files(NamedTuple):
    """The generation that is written: two open files, and the digest that its next line carries."""

    generation: int
    fds: tuple[int, int]
    prev: str


class Journal:
    """Blocking; call from worker threads (any number: one at a time gets in). One process holds a folder at a time."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Use `Journal.open`."""
        self._folder, self._disk = folder, disk
        self._guard = threading.Lock()
        self._files: _Files | None = None
        self._newest = 0  # the highest generation that ever had a name
        self._refused: str | None = None
        self._closed = False
        disk.make_folder(folder)
        self._lock_fd = disk.lock(folder / "lock", "writes this journal")
        try:
            self.found = self._open()
        except BaseException:
            disk.close(self._lock_fd)
            raise

    @classmethod
    def open(cls, folder: Path, disk: Disk | None = None) -> Journal:
        """Find what is durable (`found`), and go on behind it; the folder is made if there is none.

        Raises JournalDamagedError if acknowledged lines may be missing (nothing was changed then), BusyError while
        another process has the folder open, JournalDiskError if the disk can't be read or written.
        """
        try:
            return cls(folder, disk or Disk())
        except OSError as error:
            raise JournalDiskError(f"the journal in {folder} can't be opened: {error}") from error

    @staticmethod
    def peek(folder: Path, disk: Disk | None = None) -> list[bytes]:
        """What `open` would find, for a reader while nobody has it open: nothing is written, nothing is locked. Empty
        where there is no journal. Raises JournalDamagedError, JournalDiskError."""
        disk = disk or Disk()
        try:
            generations = _generations(disk, folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalDiskError(f"the journal in {folder} can't be read: {error}") from error
        return _found(disk, folder, generations)[0] if generations else []

    @staticmethod
    def copy(folder: Path, disk: Disk | None = None) -> tuple[list[bytes], dict[str, bytes]]:
        """What was acknowledged before the call, and the files of a journal at rest that holds just this, by name; for
        a reader while another process has it open. Neither where there is no journal. Raises JournalDamagedError,
        JournalDiskError.

        Two files that are appended to can't be read at one instant: what then looks like damage is read again, and is
        damage if it stays.
        """
        for _ in range(_COPY_TRIES):
            try:
                payloads = Journal.peek(folder, disk)
                break
            except JournalDamagedError:
                threading.Event().wait(_COPY_PAUSE_S)
        else:
            payloads = Journal.peek(folder, disk)
        data, _ = encode(payloads, root(1))
        return payloads, {path.name: data for path in _paths(folder, 1)} if payloads else {}

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"refused: {self._refused}" if self._refused else "open"
        return f"<Journal {self._folder} generation {self._newest} {state}>"

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write the payloads as one group to both mirrors and sync them; durable when this returns. None is nothing.

        Raises JournalDiskError if the disk refuses, now or at an earlier append since the last checkpoint; ValueError
        for a payload with a newline.
        """
        if not payloads:
            return
        with self._guard:
            self._writable()
            if self._files is None:
                self._begin(payloads)
                return
            data, prev = encode(list(payloads), self._files.prev)
            try:
                for fd in self._files.fds:  # one mirror at a time: while one is at risk, the other is not
                    self._disk.append(fd, data)
                    self._disk.sync(fd)
            except OSError as error:
                raise self._refuse(error) from error
            self._files = self._files._replace(prev=prev)

    def checkpoint(self, payload: bytes) -> None:
        """Put `payload` in place of all before it: a new generation that begins with it, durable when this returns.

        Raises JournalDiskError if the disk refuses. What was there before then still counts, and may be appended to
        unless the new files might be seen already; a later checkpoint makes good any refusal.
        """
        with self._guard:
            if self._closed:
                raise JournalDiskError(f"the journal in {self._folder} is closed")
            self._begin([payload])

    def close(self) -> None:
        """Give the folder back. All that was acknowledged is durable already."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._drop()
            self._disk.close(self._lock_fd)

    def _open(self) -> Found:
        generations = _generations(self._disk, self._folder)
        self._newest = generations[-1] if generations else 0
        self._disk.sync_folder(self._folder)  # or what was refused and deleted could come back, under our next number
        if not generations:
            return Found(new=True, payloads=[], problem=None)
        payloads, problem = _found(self._disk, self._folder, generations)
        if problem is not None:
            _log.log(logging.WARNING if problem.crash else logging.ERROR, "journal: %s", problem)
        self._begin(payloads)
        return Found(new=False, payloads=payloads, problem=problem)

    def _begin(self, payloads: Sequence[bytes]) -> None:
        """A new generation with this first group. Call with the guard held. Raises JournalDiskError."""
        generation = self._newest + 1
        data, prev = encode(list(payloads), root(generation))
        paths, fds = _paths(self._folder, generation), list[int]()
        seen = False
        try:
            for path in paths:
                fds.append(self._disk.stage(path, data))
            seen = True
            for path in paths:
                self._disk.publish(path)
            self._disk.sync_folder(self._folder)
        except OSError as error:
            for fd in fds:
                self._close(fd)
            self._forget([*map(staged, paths), *paths])
            if not seen:
                raise self._error(error) from error
            self._newest = generation  # a name is used once: what it may stand for must not get a second meaning
            raise self._refuse(error) from error
        self._drop()
        self._files, self._newest, self._refused = _Files(generation, (fds[0], fds[1]), prev), generation, None
        self._sweep()

    def _refuse(self, error: OSError) -> JournalDiskError:
        self._refused = str(error)
        self._drop()
        return self._error(error)

    def _error(self, error: OSError) -> JournalDiskError:
        rest = "; it takes nothing but a checkpoint now" if self._refused else ""
        return JournalDiskError(f"the journal in {self._folder} could not be written: {error}{rest}")

    def _writable(self) -> None:
        if self._closed:
            raise JournalDiskError(f"the journal in {self._folder} is closed")
        if self._refused is not None:
            raise JournalDiskError(
                f"the journal in {self._folder} takes nothing but a checkpoint since the disk refused: {self._refused}"
            )

    def _sweep(self) -> None:
        """Delete what the newest generation stands for. What can't be deleted waits for the next one."""
        try:
            names = self._disk.names(self._folder)
        except OSError:
            return
        matches = filter(None, map(_FILE.fullmatch, names))
        self._forget(self._folder / match[0] for match in matches if int(match[1]) < self._newest)

    def _forget(self, paths: Iterable[Path]) -> None:
        """What is left lying does no harm: a name is used once, and the newest generation counts."""
        for path in sorted(paths):
            try:
                self._disk.remove(path)
            except OSError as error:
                _log.warning("journal: %s can't be deleted: %s", path, error)

    def _drop(self) -> None:
        files, self._files = self._files, None
        for fd in files.fds if files else ():
            self._close(fd)

    def _close(self, fd: int) -> None:
        """What was acknowledged is synced: an error now changes nothing."""
        with suppress(OSError):
            self._disk.close(fd)


def _generations(disk: Disk, folder: Path) -> list[int]:
    """Those that have a file, oldest first. Raises OSError."""
    matches = map(_FILE.fullmatch, disk.names(folder))
    return sorted({int(match[1]) for match in matches if match and not match[2]})


def _paths(folder: Path, generation: int) -> tuple[Path, Path]:
    return folder / f"{generation:06d}.a", folder / f"{generation:06d}.b"


def _found(disk: Disk, folder: Path, generations: list[int]) -> tuple[list[bytes], Problem | None]:
    """What the newest generation holds. Raises JournalDamagedError, JournalDiskError."""
    newest = generations[-1]
    a, b = (_read(disk, path, newest) for path in _paths(folder, newest))
    try:
        return reconcile(a, b, begun=len(generations) > 1 or newest == 1)
    except JournalDamagedError as damage:
        refused = a if a.error is not None else b
        if refused.error is None:
            raise
        text = f"the disk refuses {refused.path} ({refused.error.strerror}), and without it: {damage}"
        raise JournalDiskError(text) from refused.error


def _read(disk: Disk, path: Path, generation: int) -> Mirror:
    """A mirror that the disk refuses is a damaged one: the other is there for that."""
    try:
        return read(path, disk.read(path), generation)
    except FileNotFoundError:
        return read(path, None, generation)
    except OSError as error:
        return read(path, None, generation, error)

"""A disk in memory that fails, stops or loses its power when it is told to.

What a program sees (the cache) and what survives (the platter) are kept apart. A sync moves one to the other; a sync
that fails leaves the pages clean and the platter without them, as Linux does. A later sync of that file would say that
all is well: here it is a failed test.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from trimtab.foundations.store import BusyError, Disk
from trimtab.foundations.store.disk import staged

_ERRORS = ((errno.ENOSPC, "No space left on device"), (errno.EIO, "Input/output error"))


class PowerOff(BaseException):
    """The process is gone in the middle of an operation."""


class File:
    """Bytes as they are seen, as they are on the platter, and what is between the two."""

    def __init__(self) -> None:
        self.cache = bytearray()
        self.platter = bytearray()
        self.dirty: list[tuple[int, int]] = []
        self.refused = False

    def refuse(self) -> None:
        self.dirty.clear()
        self.refused = True

    def sync(self) -> None:
        assert not self.refused, "synced again after a sync that failed"
        for start, end in self.dirty:
            self.platter.extend(bytes(max(0, end - len(self.platter))))
            self.platter[start:end] = self.cache[start:end]
        self.dirty.clear()

    def lose(self, choose: Callable[[int], int]) -> None:
        """Keep any beginning of what was not synced; what is behind it is not there, or zeros."""
        spans = self.dirty
        kept = choose(sum(end - start for start, end in spans))
        zeros = choose(1)
        for start, end in spans:
            now = min(kept, end - start)
            kept -= now
            upto = end if zeros else start + now
            if upto > start:
                self.platter.extend(bytes(max(0, upto - len(self.platter))))
                self.platter[start : start + now] = self.cache[start : start + now]
        self.cache = bytearray(self.platter)
        self.dirty = []


class MemoryDisk(Disk):
    """Operation number `at` (from 1) and `times` - 1 after it fail; `late`: after they were done, not before. At
    operation `off` the process ends, half way through it."""

    def __init__(self, at: int = 0, times: int = 1, *, late: bool = False, off: int = 0) -> None:
        self.at, self.times, self.late, self.off = at, times, late, off
        self.count = 0
        self.failed = False
        self.seen: dict[str, File] = {}
        self.durable: dict[str, File] = {}
        self.entries: list[tuple[str, str, File | None]] = []  # changes of names since the folder was synced
        self.open: dict[int, File] = {}
        self.locks: dict[int, Path] = {}
        self.next = 3

    # What a test does to it

    def heal(self) -> None:
        """Nothing fails any more."""
        self.times = self.off = 0

    def kill(self) -> None:
        """The process is gone, the machine goes on."""
        self.open.clear()
        self.locks.clear()

    def lose_power(self, choose: Callable[[int], int]) -> None:
        """Any part of what was not synced is lost: `choose(n)` gives 0 to n."""
        self.kill()
        for gone, name, file in self.entries:
            if choose(1):
                self.durable.pop(gone, None)
                if file is not None:
                    self.durable[name] = file
        self.entries = []
        self.seen = dict(self.durable)
        for file in {id(file): file for file in self.seen.values()}.values():
            file.lose(choose)

    def files(self) -> dict[str, bytes]:
        return {name: bytes(file.cache) for name, file in sorted(self.seen.items())}

    @classmethod
    def of(cls, files: dict[str, bytes]) -> MemoryDisk:
        """A disk that holds these files, synced."""
        disk = cls()
        for name, data in files.items():
            file = File()
            file.cache, file.platter = bytearray(data), bytearray(data)
            disk.seen[name] = disk.durable[name] = file
        return disk

    # What the journal does to it

    def _do(self, act: Callable[[], None], half: Callable[[], None] = lambda: None) -> None:
        """One operation; `half` is what of it may be done when it does not succeed."""
        self.count += 1
        if self.count == self.off:
            half()
            raise PowerOff
        fails = self.at <= self.count < self.at + self.times
        if not fails or self.late:
            act()
        else:
            half()
        if fails:
            self.failed = True
            raise OSError(*_ERRORS[self.count % 2])

    def make_folder(self, folder: Path) -> None:
        self._do(lambda: None)

    def lock(self, path: Path, doing: str) -> int:
        if path in self.locks.values():
            raise BusyError(f"{path}: another process {doing}; stop it first")
        self._do(lambda: None)
        self.next += 1
        self.locks[self.next] = path
        return self.next

    def names(self, folder: Path) -> list[str]:
        self._do(lambda: None)
        return list(self.seen)

    def read(self, path: Path) -> bytes:
        self._do(lambda: None)
        if path.name not in self.seen:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return bytes(self.seen[path.name].cache)

    def append(self, fd: int, data: bytes) -> None:
        file = self.open[fd]

        def write(part: bytes) -> None:
            start = len(file.cache)
            file.cache += part
            file.dirty.append((start, len(file.cache)))

        self._do(lambda: write(data), lambda: write(data[: len(data) // 2]))

    def sync(self, fd: int) -> None:
        file = self.open[fd]
        stopped = self.count + 1 == self.off  # power is gone: nobody has cleaned the pages
        self._do(file.sync, (lambda: None) if stopped else file.refuse)

    def close(self, fd: int) -> None:
        self.open.pop(fd, None)
        self.locks.pop(fd, None)

    def sync_folder(self, folder: Path) -> None:
        def act() -> None:
            self.durable, self.entries = dict(self.seen), []

        self._do(act)

    def stage(self, path: Path, data: bytes) -> int:
        beside, file = staged(path), File()

        def create() -> None:
            self.seen[beside.name] = file
            self.entries.append((beside.name, beside.name, file))

        self._do(create)
        self.next += 1
        fd = self.next
        self.open[fd] = file
        self.append(fd, data)
        self.sync(fd)
        return fd

    def publish(self, path: Path) -> None:
        def rename() -> None:
            file = self.seen.pop(staged(path).name)
            self.seen[path.name] = file
            self.entries.append((staged(path).name, path.name, file))

        self._do(rename)

    def remove(self, path: Path) -> None:
        def act() -> None:
            if self.seen.pop(path.name, None) is not None:
                self.entries.append((path.name, path.name, None))

        self._do(act)

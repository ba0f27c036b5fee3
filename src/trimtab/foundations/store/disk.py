"""The one door to the disk for what must survive a crash, so that a test can fail its N-th operation or its power."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from trimtab.core.errors import TrimtabError

_LOOK_S = 0.05
"""Between two looks at a lock that another process holds."""


class BusyError(TrimtabError):
    """Another process holds the lock of these files."""


class Disk:
    """Plain POSIX files; every method raises OSError."""

    def make_folder(self, folder: Path) -> None:
        """The folder and those above it, each entry synced: a crash can't take the folder with all that is in it."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self.sync_folder(folder.parent)

    def lock(self, path: Path, doing: str) -> int:
        """Hold the file's lock until the number that comes back is closed, or the process ends. Raises BusyError if
        another holds it; `doing` says in its message what that one does."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise BusyError(f"{path}: another process {doing}; stop it first") from None
        return fd

    @contextmanager
    def held(self, path: Path, doing: str, wait_s: float = 0.0) -> Iterator[None]:
        """As `lock`, for as long as the block runs; the folder is made where there is none. `wait_s`: who holds it is
        waited for, in this thread, about so long."""
        self.make_folder(path.parent)
        for _ in range(int(wait_s / _LOOK_S)):
            try:
                fd = self.lock(path, doing)
                break
            except BusyError:
                Event().wait(_LOOK_S)
        else:
            fd = self.lock(path, doing)
        try:
            yield
        finally:
            os.close(fd)

    def names(self, folder: Path) -> list[str]:
        """Names in the folder, in no order."""
        return [path.name for path in folder.iterdir()]

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def create(self, path: Path) -> int:
        """A new file, open for appending; its folder's entry is synced too, or a crash could lose the whole file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.sync_folder(path.parent)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def reopen(self, path: Path, size: int) -> int:
        """Open for appending what is there, cut to `size` bytes."""
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def append(self, fd: int, data: bytes) -> None:
        """All of `data`, or an error with any part of it written."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def sync_folder(self, folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def stage(self, path: Path, data: bytes) -> int:
        """Write and sync a new file beside `path`, to be put in its place by `publish`; it stays open for appending."""
        beside = staged(path)
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.append(fd, data)
            os.fsync(fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def publish(self, path: Path) -> None:
        """Give the staged file its name; durable once the folder is synced."""
        staged(path).replace(path)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def put(self, path: Path, data: bytes) -> None:
        """A small file, whole and durable or not there at all."""
        self.close(self.stage(path, data))
        self.publish(path)
        self.sync_folder(path.parent)


def staged(path: Path) -> Path:
    """Where a file stands before it is whole."""
    return path.with_name(path.name + ".new")

"""The one door to the disk, so that a test can fail its N-th operation."""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """Plain POSIX files; every method raises OSError."""

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

    def put(self, path: Path, data: bytes) -> None:
        """A small file, whole and durable or not there at all."""
        beside = path.with_name(path.name + ".new")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self.append(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        beside.replace(path)
        self.sync_folder(path.parent)

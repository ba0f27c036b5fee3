"""Changing a document: under a lock, comments kept, verified before it is written, atomic, and on the audit log."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from trimtab.controlplane.registry import audit
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError, TrimtabError
from trimtab.foundations.config import DocumentError, Reader, read_text

T = TypeVar("T")
LOCK = "run/lock"


class EditError(TrimtabError):
    """The edit was not made; nothing has changed."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the workspace's lock; waits for another holder. Freed by the kernel if the holder dies."""
    path = folder / LOCK
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def change(
    folder: Path,
    file: str,
    reader: Reader[T],
    edit: Callable[[str, T], str],
    verify: Callable[[T, T], bool],
    *,
    action: str,
    subject: str,
    clock: Clock,
    told: audit.Told | None = None,
    begin: str | None = None,
) -> T:
    """Rewrite `file` by `edit`, and give its new value. The caller holds the lock. `told` goes into the audit row.
    `begin`: the text to be edited where there is no such file yet, which is then made; for a document that may lack.

    `verify(before, after)` must hold of the documents as read, or nothing is written: an edit that lands in the wrong
    place is a defect, never a damaged workspace. Raises ConfigError if the file is broken already, EditError else.
    """
    absent = begin is not None and not (folder / file).exists()
    text, before = _read(folder, file, reader, begin if absent else None)
    changed = edit(text, before)
    try:
        after, problems = reader.read(changed, file)
    except DocumentError as error:
        raise EditError(f"{file} has a shape that can't be edited here ({error}); edit it by hand") from None
    if problems or after is None:
        raise EditError(f"the edit would break {file}: {problems[0]}")
    if not verify(before, after):
        raise EditError(f"{file} has a shape that can't be edited here; edit it by hand")

    def note() -> None:
        old, new = b"" if absent else text.encode(), changed.encode()
        audit.append(folder, clock, action=action, subject=subject, file=file, before=old, after=new, told=told)

    _write(folder, file, changed.encode(), note)
    return after


def _read(folder: Path, file: str, reader: Reader[T], begin: str | None) -> tuple[str, T]:
    try:
        text = read_text(folder / file, file) if begin is None else begin
        value, problems = reader.read(text, file)
    except DocumentError as error:
        raise ConfigError([str(error.problem)]) from None
    if value is None:
        raise ConfigError([str(problem) for problem in problems])
    return text, value


def _write(folder: Path, file: str, after: bytes, note: Callable[[], None]) -> None:
    """New bytes beside the old, synced; then the audit row; then the rename. Links are followed, the mode is kept; a
    new file has the mode that the process gives its files."""
    target = (folder / file).resolve()
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(after)
            handle.flush()
            os.fsync(handle.fileno())
        note()
        fresh.replace(target)
    except OSError as error:
        raise EditError(f"{file} can't be written: {error.strerror}; nothing has changed") from error
    finally:
        fresh.unlink(missing_ok=True)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

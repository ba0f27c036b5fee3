"""The audit log: one hash-chained JSON line for each change of a workspace, under `var/audit/`. Never a secret.

`prev` is blake2b-128 of the line before (its line end left out), so that a changed, removed or inserted row shows.
Rows are written under the workspace's lock and synced before the change itself: a change without its row can't be.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.core.clock import Clock
from trimtab.core.errors import TrimtabError

FILE = "var/audit/audit.jsonl"
VERSION: Final = 1
"""Of a row."""
_FIRST = "0" * 32


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a change was about, for people: the value that was there, the one that is (null: none), and why."""

    was: Any = None
    now: Any = None
    reason: str = ""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who changed what: `before` and `after` are blake2b-128 of the file's bytes."""

    seq: int
    time: str
    actor: str
    action: str
    subject: str
    file: str
    before: str
    after: str
    prev: str
    v: int = 1
    """Version of its layout; left out where it is 1."""
    told: Told | None = None
    """Of a budget, an event or a rotated key; created and revoked keys have nothing to tell beyond the subject."""


class AuditError(TrimtabError):
    """The log has been changed, or a row of it is damaged."""


def append(
    folder: Path,
    clock: Clock,
    *,
    action: str,
    subject: str,
    file: str,
    before: bytes,
    after: bytes,
    told: Told | None = None,
) -> AuditRow:
    """Write and sync one row. The caller holds the workspace's lock. A torn last line (a crash) is set aside first."""
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    seq, prev = _end(path)
    wall = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    row = AuditRow(
        seq=seq + 1,
        time=wall.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        actor=actor(),
        action=action,
        subject=subject,
        file=file,
        before=digest(before),
        after=digest(after),
        prev=prev,
        told=told,
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as handle:
        handle.write(msgspec.json.encode(row) + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    return row


def rows(folder: Path) -> Iterator[AuditRow]:
    """Every row, checked. Raises AuditError naming the first line that does not follow from the one before."""
    path = folder / FILE
    if not path.exists():
        return
    prev, seq = _FIRST, 0
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            row = msgspec.json.decode(line, type=AuditRow)
        except msgspec.MsgspecError:
            raise AuditError(f"{FILE}:{number}: is no audit row") from None
        _known(row)
        if row.prev != prev or row.seq != seq + 1:
            raise AuditError(f"{FILE}:{number}: does not follow from the line before: the log has been changed")
        prev, seq = digest(line), row.seq
        yield row


def _end(path: Path) -> tuple[int, str]:
    """(seq, hash) of the last whole row."""
    if not path.exists():
        return 0, _FIRST
    raw = path.read_bytes()
    whole = raw.rfind(b"\n") + 1
    if whole != len(raw):
        with path.with_suffix(".torn").open("ab") as aside:
            aside.write(raw[whole:] + b"\n")
        os.truncate(path, whole)
    lines = raw[:whole].split(b"\n")
    if len(lines) < 2:
        return 0, _FIRST
    try:
        row = msgspec.json.decode(lines[-2], type=AuditRow)
    except msgspec.MsgspecError:
        raise AuditError(f"{FILE}: the last line is no audit row; move the file away to begin another") from None
    _known(row)
    return row.seq, digest(lines[-2])


def _known(row: AuditRow) -> None:
    """Raises AuditError for a row of a newer Trimtab: nothing is written behind it."""
    if row.v > VERSION:
        raise AuditError(f"{FILE}: row {row.seq} is of version {row.v}, of a newer Trimtab; this one knows {VERSION}")


def digest(data: bytes) -> str:
    """As rows name the bytes of a file, and the row before."""
    return blake2b(data, digest_size=16).hexdigest()


def actor() -> str:
    """The operating system's user; the number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid:{os.getuid()}"

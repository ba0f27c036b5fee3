"""What reviews have decided: questions in `golden/reviewed.jsonl`, and on the audit log who took in or dismissed which
record. A record is decided once.

A question is its data subject's text. `forget` takes it out of every golden file, and names what it can't tell about.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.controlplane.evaluate.golden import ANSWERS, FOLDER, Question, Reviewed, read_line
from trimtab.controlplane.registry import audit, locked
from trimtab.core.clock import Clock, instant_text
from trimtab.core.errors import TrimtabError
from trimtab.foundations.store import Disk

FILE: Final = f"{FOLDER}/reviewed.jsonl"
_ACCEPT, _DISMISS, _FORGET = "golden.accept", "golden.dismiss", "golden.forget"


class ReviewError(TrimtabError):
    """The review was not taken; nothing has changed."""


class Forgotten(msgspec.Struct, frozen=True):
    """How many questions were taken out; `problems`: lines that may be of the same person, and stay."""

    questions: int
    problems: list[str]


def decided(folder: Path) -> frozenset[str]:
    """Records that were reviewed. Raises AuditError."""
    rows = [row for row in audit.rows(folder) if row.action in (_ACCEPT, _DISMISS, _FORGET)]
    found = {row.subject for row in rows if row.action != _FORGET}
    last = next((row for row in reversed(rows) if row.file == FILE and row.action != _DISMISS), None)
    if last is not None and last.action == _ACCEPT and last.before == audit.digest(_bytes(folder / FILE)):
        found.discard(last.subject)  # a crash came between its row and its line
    return frozenset(found)


def reviewed_now(clock: Clock, record: str, subject: str) -> Reviewed:
    """By who calls, now."""
    return Reviewed(by=audit.actor(), at=instant_text(clock.wall_ns()), record=record, subject=subject)


def accept(folder: Path, question: Question, clock: Clock) -> None:
    """Write it behind the others. Raises ReviewError, AuditError, OSError."""
    assert question.reviewed is not None, "it comes from a review"
    line = msgspec.json.encode(question)
    try:
        read_line(line)
    except msgspec.DecodeError as error:
        raise ReviewError(f"that would be no question: {error}") from None
    path = folder / FILE
    with locked(folder):
        _once(folder, question.reviewed.record)
        before = _bytes(path)
        ending = b"" if not before or before.endswith(b"\n") else b"\n"
        after = before + ending + line + b"\n"
        audit.append(
            folder, clock, action=_ACCEPT, subject=question.reviewed.record, file=FILE, before=before, after=after
        )
        _put(path, after)


def dismiss(folder: Path, record: str, why: str, clock: Clock) -> None:
    """It is listed no more. Raises ReviewError, AuditError, OSError."""
    with locked(folder):
        _once(folder, record)
        told = audit.Told(reason=why)
        audit.append(folder, clock, action=_DISMISS, subject=record, file=FILE, before=b"", after=b"", told=told)


def forget(folder: Path, tenant: str, subjects: Collection[str], clock: Clock) -> Forgotten:
    """Take out every question that came from these data subjects (none: from all) of the tenant. The caller holds the
    workspace's lock. Raises AuditError, OSError."""
    count, problems = 0, list[str]()
    for path in sorted((folder / FOLDER).glob("*.jsonl")):
        name = f"{FOLDER}/{path.name}"
        before = path.read_bytes()
        kept, gone = [], 0
        for line in before.splitlines(keepends=True):
            theirs = _theirs(line, tenant, subjects)
            gone += theirs is True
            if theirs is not True:
                kept.append(line)
            if theirs is None:
                problems.append(f"{name}:{len(kept)}: this line can't be read, and may hold what is to be erased")
        if gone:
            after = b"".join(kept)
            told = audit.Told(now={"questions": gone})
            audit.append(
                folder, clock, action=_FORGET, subject=tenant, file=name, before=before, after=after, told=told
            )
            _put(path, after)
        count += gone
    if count:
        (folder / ANSWERS).unlink(missing_ok=True)  # what was answered may repeat what was asked
    return Forgotten(count, problems)


def _theirs(line: bytes, tenant: str, subjects: Collection[str]) -> bool | None:
    """None: a line that names a review, but not in a way that can be understood."""
    if b'"reviewed"' not in line:
        return False
    try:
        fields: Any = msgspec.json.decode(line)
        reviewed = fields.get("reviewed")
        if reviewed is None or fields["tenant"] != tenant:
            return False
        subject = msgspec.convert(reviewed, Reviewed).subject
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, AttributeError):
        return None
    return not subjects or subject in subjects


def _once(folder: Path, record: str) -> None:
    if record in decided(folder):
        raise ReviewError(f"{record} was reviewed already: `grep {record} {audit.FILE}` says by whom")


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _put(path: Path, data: bytes) -> None:
    disk = Disk()
    disk.make_folder(path.parent)
    disk.put(path, data)


__all__ = ["FILE", "Forgotten", "ReviewError", "accept", "decided", "dismiss", "forget", "reviewed_now"]

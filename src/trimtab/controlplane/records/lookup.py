"""One record by its id, a part of its id, or `last`: newest segments first, for `explain`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from trimtab.controlplane.records.segment import CorruptSegment, Segment, segments, since
from trimtab.core.errors import TrimtabError
from trimtab.core.ids import arrival_ns
from trimtab.core.record import Record
from trimtab.foundations.store.line import unframe

_POLL_S = 0.05
_LONGEST_NS = 3600 * 1_000_000_000
"""From a request's arrival to its row, at the most."""
_decode = msgspec.json.Decoder(Record).decode


class RecordNotFoundError(TrimtabError):
    """No row, or more than one, answers to the name; the text says what was searched."""


def find(folder: Path, record_id: str, timeout_s: float = 2.0) -> Record | None:
    """The request row with exactly this id; None for what is no id, too. Waits up to `timeout_s` for it: rows reach the
    disk in groups. Only segments of about the time in the id are read: what is old is found as soon as what is new.

    Raises CorruptSegment if the row is there but damaged.
    """
    try:
        at_ns = arrival_ns(record_id)
    except ValueError:
        return None
    pause = threading.Event()
    for number in range(max(1, round(timeout_s / _POLL_S)) + 1):
        if number:
            pause.wait(_POLL_S)
        for segment in since(segments(folder), at_ns):
            if segment.wall_ns > at_ns + _LONGEST_NS:
                continue
            for row in _matches(segment, b'"id":"%b"' % record_id.encode()):
                if row.id == record_id and row.kind == "request":
                    return row
    return None


def look_up(folder: Path, name: str, timeout_s: float = 2.0) -> Record:
    """The request row that `name` means: an id (`rec_`, `chatcmpl-` or bare), a beginning of one that is unique, or
    `last`. Raises RecordNotFoundError."""
    if name == "last":
        newest = last(folder)
        if newest is None:
            raise RecordNotFoundError(f"no request is recorded in {_searched(folder)}. Ask something: trimtab chat")
        return newest
    prefix = "rec_" + name.removeprefix("rec_").removeprefix("chatcmpl-").upper()
    matches = _wait(folder, prefix, timeout_s)
    if not matches:
        raise RecordNotFoundError(f"no record's id begins with {prefix} in {_searched(folder)}, waited {timeout_s:g} s")
    if len(matches) > 1:
        some = ", ".join(sorted(row.id for row in matches)[:5])
        raise RecordNotFoundError(f"{prefix} is the beginning of {len(matches)} records: {some}; give more of the id")
    return matches[0]


def last(folder: Path) -> Record | None:
    """The request row that arrived last among the newest segments of all workers."""
    newest: Record | None = None
    workers: set[int] = set()
    for segment in _newest_first(folder):
        if segment.worker in workers:
            continue
        row = _last_row(segment)
        if row is not None:
            workers.add(segment.worker)
            if newest is None or row.t_wall_ns > newest.t_wall_ns:
                newest = row
    return newest


def related(folder: Path, record: Record) -> list[Record]:
    """Rows that say more of this one later (`of` = its id): adjust, lost, verdict, shadow, in order of writing."""
    found = [
        row
        for segment in since(segments(folder), record.t_wall_ns)
        for row in _matches(segment, b'"of":"%b"' % record.id.encode())
        if row.of == record.id
    ]
    return sorted(found, key=lambda row: (row.worker or 0, row.seq or 0))


def _wait(folder: Path, prefix: str, timeout_s: float) -> list[Record]:
    tries = max(1, round(timeout_s / _POLL_S))
    pause = threading.Event()
    for _ in range(tries):
        matches = _requests(folder, prefix)
        if matches:
            return matches
        pause.wait(_POLL_S)
    return _requests(folder, prefix)


def _requests(folder: Path, prefix: str) -> list[Record]:
    """Request rows whose id begins so; a whole id stops at the first."""
    found: dict[str, Record] = {}
    needle = b'"id":"' + prefix.encode()
    for segment in _newest_first(folder):
        for row in _matches(segment, needle):
            if row.kind == "request" and row.id.startswith(prefix):
                found[row.id] = row
        if prefix in found:
            break
    return list(found.values())


def _newest_first(folder: Path) -> list[Segment]:
    return sorted(segments(folder), key=lambda segment: segment.wall_ns, reverse=True)


def _matches(segment: Segment, needle: bytes) -> Iterator[Record]:
    """Rows whose line holds `needle`; only those are checked and decoded."""
    data = _bytes(segment)
    at = data.find(needle)
    while at >= 0:
        start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        if end < 0:
            return  # still being written
        body = unframe(data[start:end])
        if body is None:
            raise CorruptSegment(segment.path, data.count(b"\n", 0, start) + 1, "is damaged")
        yield _decode(body)
        at = data.find(needle, end)


def _last_row(segment: Segment) -> Record | None:
    data = _bytes(segment)
    end = data.rfind(b"\n")
    while end > 0:
        start = data.rfind(b"\n", 0, end) + 1
        body = unframe(data[start:end])
        row = _decode(body) if body is not None else None
        if row is not None and row.kind == "request":
            return row
        end = start - 1
    return None


def _bytes(segment: Segment) -> bytes:
    """None of a segment that retention has deleted meanwhile."""
    try:
        return segment.path.read_bytes()
    except FileNotFoundError:
        return b""


def _searched(folder: Path) -> str:
    found = segments(folder)
    if not found:
        return f"{folder} (it has no segments)"
    return f"{folder} ({len(found)} segment{'s' if len(found) > 1 else ''})"

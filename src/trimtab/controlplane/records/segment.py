"""Segment files: their names, their order, and what can be told of one without decoding its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from trimtab.controlplane.records import line as lines
from trimtab.core.errors import NewerVersionError, TrimtabError
from trimtab.foundations.store.line import digest, unframe

_CLOCK_STEP_NS = 3600 * 1_000_000_000  # how far a wall clock may be set back without a segment being passed over
_NAME = re.compile(r"w(\d{4})-s(\d{15})-t(\d{19})\.jsonl")


class Segment(NamedTuple):
    """A segment by its name. Names sort as (worker, first seq, wall ns of opening)."""

    worker: int
    first_seq: int
    wall_ns: int
    path: Path

    @property
    def seal_path(self) -> Path:
        return self.path.with_suffix(".seal")

    @property
    def torn_path(self) -> Path:
        return self.path.with_suffix(".torn")

    @property
    def root_path(self) -> Path:
        """Its signed root, once it is closed."""
        return self.path.with_suffix(".sig")

    @property
    def gone_path(self) -> Path:
        """The signed word that retention has deleted it."""
        return self.path.with_suffix(".gone")


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """Written beside a segment at a clean stop: the end that it must still have when it is read."""

    size: int
    seq: int
    last: str


class _End(msgspec.Struct, frozen=True):
    """Of a signed root, what a seal would say."""

    size: int
    last: int
    tail: str


class _Rooted(msgspec.Struct, frozen=True):
    says: _End


_root = msgspec.json.Decoder(_Rooted).decode


class CorruptSegment(TrimtabError):  # noqa: N818 (the name that callers know it by)
    """A segment does not hold what was written: `line` counts from 1."""

    def __init__(self, file: Path, line: int, what: str) -> None:
        super().__init__(f"{file.name} line {line}: {what}")
        self.file, self.line, self.what = file, line, what


def name(worker: int, first_seq: int, wall_ns: int) -> str:
    return f"w{worker:04d}-s{first_seq:015d}-t{wall_ns:019d}.jsonl"


def segments(folder: Path, worker: int | None = None) -> list[Segment]:
    """All segments in order; an absent folder has none, other files are left alone."""
    if not folder.is_dir():
        return []
    found = (named(path) for path in folder.iterdir())
    return sorted(one for one in found if one is not None and worker in (None, one.worker))


def named(path: Path) -> Segment | None:
    """The segment that a path names; None: another file."""
    match = _NAME.fullmatch(path.name)
    return Segment(int(match[1]), int(match[2]), int(match[3]), path) if match else None


def read_seal(segment: Segment) -> Seal | None:
    """The seal, if the segment was closed, or what its signed root says in a seal's place (whether the signature is
    true is for `verify`). One that can't be read counts as none."""
    try:
        return msgspec.json.decode(segment.seal_path.read_bytes(), type=Seal)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        root = _root(segment.root_path.read_bytes()).says
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return Seal(size=root.size, seq=root.last, last=root.tail)


def since(found: list[Segment], since_wall_ns: int) -> list[Segment]:
    """Segments that may hold rows that arrived at or after that time: a row arrives before it is written, so all that
    precede the opening of another are older than that."""
    kept = []
    for index, segment in enumerate(found):
        after = found[index + 1] if index + 1 < len(found) else None
        if after is None or after.worker != segment.worker or after.wall_ns + _CLOCK_STEP_NS > since_wall_ns:
            kept.append(segment)
    return kept


def behind(found: list[Segment], seqs: Mapping[int, int]) -> list[Segment]:
    """Segments that may hold rows behind these numbers, by worker; all of a worker that is not named."""
    kept = []
    for index, segment in enumerate(found):
        after = found[index + 1] if index + 1 < len(found) else None
        if after is None or after.worker != segment.worker or after.first_seq > seqs.get(segment.worker, 0) + 1:
            kept.append(segment)
    return kept


class Raw(NamedTuple):
    """One line as it stands on disk. `whole`: it ends in a newline."""

    number: int
    offset: int
    data: bytes
    whole: bool


def raw_lines(path: Path) -> Iterator[Raw]:
    """Lines without their newline, streamed; none of a segment that retention has deleted meanwhile."""
    offset = 0
    try:
        opened = path.open("rb")
    except FileNotFoundError:
        return
    with opened as file:
        for number, data in enumerate(file, 1):
            whole = data.endswith(b"\n")
            yield Raw(number, offset, data[:-1] if whole else data, whole)
            offset += len(data)


class Tail(NamedTuple):
    """Where a worker's journal goes on: after `seq`, chained to `last`; `cut` bytes from `size` on are a torn end."""

    seq: int
    last: str
    size: int
    cut: int
    problem: CorruptSegment | None


def tail(segment: Segment) -> Tail:
    """Read a segment to its end.

    An end that is no whole line is torn: a crash may do that to the last group. Anything unreadable that has readable
    rows after it was damaged later: it stays, is named, and the chain goes on behind it. Raises NewerVersionError for a
    row of another Trimtab's: nothing is written behind it.
    """
    seq, last, size = segment.first_seq - 1, "", 0
    bad: Raw | None = None
    problem: CorruptSegment | None = None
    end = 0
    for raw in raw_lines(segment.path):
        end = raw.offset + len(raw.data) + raw.whole
        body = unframe(raw.data) if raw.whole else None
        link = lines.link(body) if body is not None else None
        if link is None:
            bad = bad or raw
            continue
        if link.v > lines.VERSION:
            raise NewerVersionError(segment.path.name, link.v, lines.VERSION)
        if bad is not None:
            problem = problem or CorruptSegment(segment.path, bad.number, "damaged, with whole rows after it")
            bad = None
        seq, last, size = link.seq, digest(raw.data), end
    sealed = read_seal(segment)
    if sealed is not None and (sealed.size, sealed.seq, sealed.last) != (end, seq, last):
        what = f"was closed with {sealed.size} bytes up to row {sealed.seq}, has {size} readable up to row {seq}"
        return Tail(max(seq, sealed.seq), sealed.last, end, 0, CorruptSegment(segment.path, 0, what))
    return Tail(seq, last, size, end - size, problem)

"""Reading records back, streamed and checked.

Nothing damaged is ever served: not a line whose CRC fails, not a row that the chain does not lead to, nor one behind a
segment that ends too early. By default the first such thing is raised; with `on_corrupt` it is told and reading goes
on behind it, which is what an account of money wants: the rest still counts.

A cut at exactly a row's end of a segment that was neither closed nor followed by another is what a crash leaves, and
can't be told from one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from trimtab.controlplane.records import line as lines
from trimtab.controlplane.records.proof import Proof, prove
from trimtab.controlplane.records.segment import (
    CorruptSegment,
    Raw,
    Segment,
    behind,
    raw_lines,
    read_seal,
    segments,
    since,
)
from trimtab.core.record import Record
from trimtab.foundations.signature import PublicKey
from trimtab.foundations.store.line import digest, unframe

OnCorrupt = Callable[[CorruptSegment], None]

_decode = msgspec.json.Decoder(Record).decode


class Report(msgspec.Struct, kw_only=True):
    """What `verify` found. `missing`: numbers that no row has, although the chain is whole across them: rows that the
    journal itself lost while its disk refused; `proof`: what the signatures come to."""

    segments: int = 0
    rows: int = 0
    missing: int = 0
    problems: list[str] = []
    proof: Proof = msgspec.field(default_factory=Proof)


def rows(
    folder: Path, *, worker: int | None = None, verify: bool = True, on_corrupt: OnCorrupt | None = None
) -> Iterator[Record]:
    """Every row (of this worker), one worker after another, each in `seq` order. Raises CorruptSegment unless
    `on_corrupt` takes it.

    `verify=False` checks each row's CRC and leaves out the chain between rows.
    """
    return _Scan(segments(folder, worker), verify, on_corrupt).rows()


def query(
    folder: Path,
    *,
    kinds: Collection[str] | None = None,
    tenant: str | None = None,
    since_wall_ns: int = 0,
    after: Mapping[int, int] | None = None,
    on_corrupt: OnCorrupt | None = None,
) -> Iterator[Record]:
    """Rows of these kinds and this tenant that arrived at or after `since_wall_ns`, and of a worker that `after` has,
    behind that number; segments that are older as a whole are not opened."""
    after = after or {}
    kept = behind(since(segments(folder), since_wall_ns), after)
    for row in _Scan(kept, True, on_corrupt).rows():
        if row.t_wall_ns < since_wall_ns or (row.seq or 0) <= after.get(row.worker or 0, 0):
            continue
        if (kinds is None or row.kind in kinds) and tenant in (None, row.tenant):
            yield row


def verify(folder: Path, keys: Sequence[PublicKey] = ()) -> Report:
    """Read everything and say all that is wrong. With `keys` signatures are checked, and every closed segment must have
    one. Raises OSError."""
    report = Report()
    found = segments(folder)
    scan = _Scan(found, True, lambda corrupt: report.problems.append(str(corrupt)))
    report.segments = len(found)
    report.rows = sum(1 for _ in scan.rows())
    report.missing = scan.missing
    report.proof = prove(folder, keys, lambda corrupt: report.problems.append(str(corrupt)))
    return report


class _Scan:
    """One pass over segments in order. `_last`: digest of the row before, None where there is none to compare with."""

    def __init__(self, found: list[Segment], verify: bool, on_corrupt: OnCorrupt | None) -> None:
        self._found, self._verify, self._on_corrupt = found, verify, on_corrupt
        self._last: str | None = None
        self._seq = 0
        self.missing = 0

    def rows(self) -> Iterator[Record]:
        worker = None
        for index, segment in enumerate(self._found):
            if segment.worker != worker:
                worker, self._last, self._seq = segment.worker, None, segment.first_seq - 1
            newest = index + 1 == len(self._found) or self._found[index + 1].worker != worker
            yield from self._segment(segment, newest)

    def _segment(self, segment: Segment, newest: bool) -> Iterator[Record]:
        seal = read_seal(segment) if self._verify else None
        size, number, damaged = 0, 0, False
        for raw in raw_lines(segment.path):
            number = raw.number
            if not raw.whole and newest and seal is None:
                return  # being written right now, or torn by a crash that nobody has repaired yet
            size += len(raw.data) + raw.whole
            row = self._row(segment, raw)
            damaged = damaged or row is None
            if row is not None:
                yield row
        if number == 0 and not segment.path.exists():
            self._last = None  # deleted by retention meanwhile
            return
        if seal is not None and not damaged and (seal.size, seal.seq, seal.last) != (size, self._seq, self._last):
            self._tell(segment, number + 1, f"was closed with {seal.size} bytes up to row {seal.seq}, has {size}")

    def _row(self, segment: Segment, raw: Raw) -> Record | None:
        body = unframe(raw.data) if raw.whole else None
        link = lines.link(body) if body is not None else None
        if body is None or link is None:
            self._last = None
            self._tell(segment, raw.number, "is damaged" if raw.whole else "ends in the middle of a row")
            return None
        what = self._follows(link, segment, raw) if self._verify else None
        self._last, self._seq = digest(raw.data), link.seq
        if what is not None:
            self._tell(segment, raw.number, what)
        if link.v > lines.VERSION:
            self._tell(
                segment, raw.number, f"is of version {link.v}, of a newer Trimtab; this one reads {lines.VERSION}"
            )
            return None
        try:
            return _decode(body)
        except msgspec.MsgspecError as error:
            self._tell(segment, raw.number, f"is no record of this version: {error}")
            return None

    def _follows(self, link: lines.Link, segment: Segment, raw: Raw) -> str | None:
        """What is wrong with this row's place in the chain; None: nothing."""
        gap = link.seq - self._seq - 1
        if self._last is None:
            if raw.number == 1 and link.seq != segment.first_seq:
                return f"rows {segment.first_seq} to {link.seq - 1} are gone"
            if link.seq == 1 and link.prev != lines.GENESIS:
                return "is not the beginning that it says it is"
            return None
        if link.prev != self._last or gap < 0:
            return f"row {link.seq} does not follow row {self._seq}: rows were cut, added or moved"
        self.missing += gap
        return None

    def _tell(self, segment: Segment, number: int, what: str) -> None:
        corrupt = CorruptSegment(segment.path, number, what)
        if self._on_corrupt is None:
            raise corrupt
        self._on_corrupt(corrupt)

"""What becomes of closed segments: each gets its signed root, and is deleted once all of it is older than retention.

One thread, the journal's. A disk that refuses costs nothing but time: roots wait, and are written at the next call.

Why roots are made from what the writer has hashed as it wrote, and not from the file: a root made from the file would
vouch for whatever somebody has put there. Only what an earlier start left unsigned is read, and its root says `late`.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trimtab.controlplane.records import line as lines
from trimtab.controlplane.records.roots import Gone, Root, digest_of, new_digest, read_file, roots, signed
from trimtab.controlplane.records.segment import Segment, raw_lines, segments
from trimtab.core.clock import Clock
from trimtab.foundations.signature import SigningKey
from trimtab.foundations.store.disk import Disk
from trimtab.foundations.store.line import digest, unframe

_DAY_NS: Final = 86_400 * 1_000_000_000
_CLOCK_STEP_NS: Final = 3600 * 1_000_000_000  # how far a wall clock may be set back without rows deleted too early
_log = logging.getLogger(__name__)


class _When(msgspec.Struct):
    t_wall_ns: int


_when = msgspec.json.Decoder(_When).decode


class Closed(NamedTuple):
    """A segment that nothing is written to any more: its last row, size, the digests of its last line and of it all."""

    segment: Segment
    last: int
    size: int
    tail: str
    file: str


class Keeper:
    """See the module. Without `signer` nothing is signed; without `days` nothing is deleted.

    Raises OSError if the folder can't be read; a disk that refuses to be written to is told in the log.
    """

    def __init__(
        self, folder: Path, worker: int, clock: Clock, disk: Disk, signer: SigningKey | None, days: int | None
    ) -> None:
        self._folder, self._worker, self._clock, self._disk = folder, worker, clock, disk
        self._signer, self._days = signer, days
        self._before = ""
        self._waiting: deque[tuple[Path, bytes]] = deque()
        self._said: set[str] = set()
        self._looked: tuple[Segment, int] | None = None
        if signer is not None:
            self._catch_up()

    @property
    def signs(self) -> bool:
        return self._signer is not None

    def closed(self, closed: Closed, *, late: bool = False) -> None:
        """Sign a segment. Its root is on the disk after the next `settle`."""
        if self._signer is None:
            return
        root = Root(
            segment=closed.segment.path.name,
            key=self._signer.id,
            at_ns=self._clock.wall_ns(),
            first=closed.segment.first_seq,
            last=closed.last,
            size=closed.size,
            tail=closed.tail,
            file=closed.file,
            before=self._before,
            late=late,
        )
        data = signed(root, self._signer)
        self._before = digest_of(data)
        self._waiting.append((closed.segment.root_path, data))

    def settle(self) -> bool:
        """Write the roots that wait, oldest first; False: the disk does not take them now."""
        try:
            while self._waiting:
                self._disk.put(*self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            self._say("signed roots wait, the disk refuses them", error)
            return False
        self._said.clear()
        return True

    def retire(self) -> None:
        """Delete segments whose rows are all older than retention: oldest first, never the newest, which says where
        numbers and chain go on."""
        if self._days is None:
            return
        oldest_ns = self._clock.wall_ns() - self._days * _DAY_NS - _CLOCK_STEP_NS
        found = segments(self._folder, self._worker)
        for segment, after in pairwise(found):
            try:
                # rows arrive before they are written, so all are older than the next file, which is the cheaper test
                if after.wall_ns > oldest_ns and (segment.wall_ns > oldest_ns or self._newest_ns(segment) > oldest_ns):
                    return
                self._retire(segment, self._days)
            except OSError as error:
                self._say(f"{segment.path.name} is past its retention and can't be deleted", error)
                return

    def _newest_ns(self, segment: Segment) -> int:
        """When its newest row arrived: of a segment after which nothing came for long. Read once."""
        if self._looked is None or self._looked[0] != segment:
            bodies = (unframe(raw.data) for raw in raw_lines(segment.path))
            self._looked = segment, max((_arrival(body) for body in bodies if body is not None), default=0)
        return self._looked[1]

    def _retire(self, segment: Segment, days: int) -> None:
        """The word that it is gone first: a crash between the two leaves the rows, and the next call finds them."""
        if self._signer is not None:
            told = segment.root_path.read_bytes() if segment.root_path.exists() else b""
            gone = Gone(
                segment=segment.path.name,
                key=self._signer.id,
                at_ns=self._clock.wall_ns(),
                root=digest_of(told) if told else "",
                days=days,
            )
            self._disk.put(segment.gone_path, signed(gone, self._signer))
        self._disk.remove(segment.torn_path)
        self._disk.remove(segment.seal_path)
        self._disk.remove(segment.path)
        self._disk.sync_folder(self._folder)
        _log.info("records: %s is deleted, all of it is older than %d days", segment.path.name, days)

    def _catch_up(self) -> None:
        """Sign what stands behind the newest root: a crash, or a start without a key, left it. What is damaged, or does
        not follow, stays unsigned, and `verify` names it from then on."""
        done = roots(self._folder, self._worker)
        last = ""
        for segment in reversed(done):
            if segment.root_path.exists():
                self._before = digest_of(segment.root_path.read_bytes())
                root = read_file(segment.root_path, Root)
                last = root.says.tail if root is not None else ""
                break
        names = {segment.path.name for segment in done}
        newest = done[-1] if done else None
        for segment in segments(self._folder, self._worker):
            if segment.path.name in names or (newest is not None and segment < newest):
                continue
            closed = sound(segment, last)
            last = ""
            if closed is None:
                _log.error("records: %s is damaged or does not follow; it is not signed", segment.path.name)
            elif closed.size:
                self.closed(closed, late=True)
                last = closed.tail
        self.settle()

    def _say(self, what: str, error: OSError) -> None:
        """Once, until the disk takes something again."""
        if what not in self._said:
            self._said.add(what)
            _log.error("records: %s: %s", what, error)


def _arrival(body: bytes) -> int:
    try:
        return _when(body).t_wall_ns
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def sound(segment: Segment, before: str) -> Closed | None:
    """A segment read to its end; None: a line of it is damaged or does not follow the one before, or its first row not
    the line `before` (empty: not known)."""
    state, size, last, seq = new_digest(), 0, before, segment.first_seq - 1
    for raw in raw_lines(segment.path):
        body = unframe(raw.data) if raw.whole else None
        link = lines.link(body) if body is not None else None
        if link is None or link.seq <= seq or (last and link.prev != last):
            return None
        last, seq = digest(raw.data), link.seq
        state.update(raw.data + b"\n")
        size += len(raw.data) + 1
    return Closed(segment, seq, size, last, state.hexdigest())


__all__ = ["Closed", "Keeper", "sound"]

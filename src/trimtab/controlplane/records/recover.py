"""What a journal finds of its worker's past when it opens."""

from __future__ import annotations

import logging
from pathlib import Path

from trimtab.controlplane.records.segment import Segment, Tail, segments, tail
from trimtab.foundations.store.disk import Disk

_log = logging.getLogger(__name__)


def recover(folder: Path, worker: int, disk: Disk) -> Tail:
    """Where numbers and chain go on. A torn end is cut off; its bytes stay beside the segment in a `.torn` file.

    Raises OSError if the folder can't be read or repaired.
    """
    for segment in reversed(segments(folder, worker)):
        found = tail(segment)
        if found.problem is not None:
            _log.error("records: %s; it is left as it is, new rows go to a new segment", found.problem)
        if found.cut:
            _cut(segment, found, disk)
        if found.last:
            return found
    return Tail(seq=0, last="", size=0, cut=0, problem=None)


def _cut(segment: Segment, found: Tail, disk: Disk) -> None:
    with segment.path.open("rb") as file:
        file.seek(found.size)
        disk.put(segment.torn_path, file.read())
    disk.close(disk.reopen(segment.path, found.size))
    _log.warning(
        "records: the end of %s was torn, %d bytes after row %d moved to %s",
        segment.path.name,
        found.cut,
        found.seq,
        segment.torn_path.name,
    )

"""A workspace's objectives, with an engine that has read its records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trimtab.controlplane.records import CorruptSegment, query
from trimtab.controlplane.slo import KINDS, Engine, Objective

OnCorrupt = Callable[[CorruptSegment], None]


def replayed(objectives: list[Objective], folder: Path, now_ns: int, on_corrupt: OnCorrupt) -> Engine:
    """An engine for these objectives with all rows of `folder` that their windows reach."""
    engine = Engine(objectives)
    engine.trim(now_ns)
    since_ns = now_ns - max((one.window.kept_ns for one in objectives), default=0)
    for row in query(folder, kinds=KINDS, since_wall_ns=since_ns, on_corrupt=on_corrupt):
        engine.observe(row)
    return engine


def read_on(engine: Engine, folder: Path, on_corrupt: OnCorrupt) -> int:
    """Count what was written since; how many rows."""
    count = 0
    for row in query(folder, after=dict(engine.after), on_corrupt=on_corrupt):
        engine.observe(row)
        count += 1
    return count

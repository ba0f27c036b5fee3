"""What the process itself tells: under the names that every Prometheus client library uses."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trimtab.controlplane.metrics import of_gateway as f
from trimtab.controlplane.metrics.text import sample

_STAT: Final = Path("/proc/self/stat")
_STATM: Final = Path("/proc/self/statm")
_BOOTED: Final = Path("/proc/stat")


def process() -> Iterator[str]:
    """Processor, memory, descriptors, garbage collector. What the system does not tell (no /proc) is left out."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield f.CPU.head + sample(f.CPU, (), used.ru_utime + used.ru_stime)
    yield f.MAX_FDS.head + sample(f.MAX_FDS, (), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield f.GC.head
    for generation, told in enumerate(gc.get_stats()):
        yield sample(f.GC, (str(generation),), told["collections"])
    try:
        fields = _STAT.read_text().rpartition(")")[2].split()
        rss = resident_bytes()
        started = _boot_s() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except (OSError, ValueError, IndexError):
        return
    yield f.RSS.head + sample(f.RSS, (), rss)
    yield f.FDS.head + sample(f.FDS, (), descriptors)
    yield f.STARTED.head + sample(f.STARTED, (), started)


def resident_bytes() -> int:
    """Of this process, pages of files included. Raises OSError where the system does not tell (no /proc)."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _boot_s() -> int:
    line = next(line for line in _BOOTED.read_text().splitlines() if line.startswith("btime "))
    return int(line.split()[1])


__all__ = ["process", "resident_bytes"]

"""How much memory is used, and how much there may be: this process's, and its container's.

What counts of a container (cgroup v2) is what the kernel can't take back by itself: `memory.current` without file pages
and what it could free of its own. Before it ends a process it takes those, so a big file that was read is no danger.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from trimtab.controlplane.metrics import resident_bytes

MIB: Final = 1 << 20
_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_RECLAIMABLE: Final = frozenset({"active_file", "inactive_file", "slab_reclaimable"})


class Bound(NamedTuple):
    """A limit in bytes, what is used of it now, and who set it."""

    limit_bytes: int
    used_bytes: Callable[[], int]
    source: str


def bounds(declared_mib: int | None, root: Path = _ROOT, own: Path = _OWN) -> list[Bound]:
    """The declared limit of this process, and that of every cgroup v2 around it that has one; none: nothing bounds it.

    Both are kept: a container ends us at its own limit, whatever the workspace says, and it counts engines, too.
    """
    found = [] if declared_mib is None else [Bound(declared_mib * MIB, resident_bytes, "memory_limit_mib")]
    return [*found, *_container(root, own)]


def give_back() -> None:
    """Have the C library return to the system what has been freed; nothing where it can't (musl)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _container(root: Path, own: Path) -> Iterator[Bound]:
    try:
        place = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    inside = root / place.strip("/")
    for folder in (inside, *inside.parents):
        if not folder.is_relative_to(root):
            return
        try:
            limit = int((folder / "memory.max").read_text())
            used = _used(folder)
            used()
        except (OSError, ValueError):  # no limit here ("max"), or the root, which has none
            continue
        yield Bound(limit, used, "container")


def _used(folder: Path) -> Callable[[], int]:
    def used() -> int:
        pairs = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        reclaimable = sum(int(number) for name, number in pairs if name in _RECLAIMABLE)
        return max(0, int((folder / "memory.current").read_text()) - reclaimable)

    return used


__all__ = ["MIB", "Bound", "bounds", "give_back"]

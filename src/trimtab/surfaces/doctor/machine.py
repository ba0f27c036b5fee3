"""The machine: interpreter, cores, memory, disk, descriptors, clock, loopback. Each a figure and what it has to be."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.surfaces.doctor.finding import Finding, error, good, warning
from trimtab.surfaces.processes import usable_cores

LEAST_PYTHON: Final = (3, 11)
LEAST_DISK: Final = 1 << 30
LEAST_DESCRIPTORS: Final = 10_500
"""10,000 idle connections of callers, those to upstreams, files, and some room."""
_MIB: Final = 1 << 20
_SKEW_S: Final = 5
_CGROUP: Final = Path("/sys/fs/cgroup")
_RELEASED_S: Final = 1_790_000_000  # no clock that is right says less: this version did not exist then


def machine(workspace: Path, clock: Clock, descriptors: int | None = None) -> Iterator[Finding]:
    """Everything that needs no workspace that can be loaded. `descriptors`: the soft limit, else this process's."""
    yield _python()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield good("machine", f"{platform.machine()}, {usable_cores()} cores, {memory:.1f} GiB of memory")
    yield _disk(workspace)
    yield _descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0] if descriptors is None else descriptors)
    yield _clock(workspace, clock)
    yield loopback()


def memory_left(cgroup: Path = _CGROUP) -> int | None:
    """Bytes that processes may still take: what the system says, and what the container's bound leaves."""
    left = None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        left = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass  # another system
    try:
        bound = int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text())
        left = bound if left is None else min(left, bound)
    except (OSError, ValueError):
        pass  # no bound
    return left


def loopback() -> Finding:
    """Whether this machine reaches itself: engines listen on 127.0.0.1 alone."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(2)
            with socket.create_connection(server.getsockname(), timeout=2):
                server.accept()[0].close()
    except OSError as problem:
        cause = "Gateway and engines talk over 127.0.0.1."
        return error("loopback", f"can't be reached: {problem}", cause, "Bring it up: ip link set lo up")
    return good("loopback", "127.0.0.1 can be reached")


def _python() -> Finding:
    said = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.version_info < LEAST_PYTHON or platform.python_implementation() != "CPython":
        return error("python", said, "Wheels are built for CPython 3.11 or later.", "Make a venv with python3.11.")
    return good("python", said)


def _disk(workspace: Path) -> Finding:
    folder = next((one for one in (workspace, *workspace.absolute().parents) if one.is_dir()), Path("/"))
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / 2**30:.1f} GiB free for records and indexes"
    if usage.free < LEAST_DISK:
        cause = "Records that the disk refuses wait in memory, and are lost beyond 16,384."
        return error(
            "disk", said, cause, f"Make room on the disk of {folder}, or move old segments of var/records away."
        )
    return good("disk", said)


def _descriptors(limit: int) -> Finding:
    endless = limit == resource.RLIM_INFINITY
    said = "no limit" if endless else f"{limit:,} descriptors"
    if endless or limit >= LEAST_DESCRIPTORS:
        return good("open files", said)
    cause = f"Each connection takes one: about {max(0, limit - 500):,} callers can stay connected, not 10,000."
    return warning("open files", said, cause, "ulimit -n 20000 before the start, or LimitNOFILE=20000 in its unit.")


def _clock(workspace: Path, clock: Clock) -> Finding:
    now_s = clock.wall_ns() / NS_PER_S
    if now_s < _RELEASED_S:
        cause = "Keys expire, budgets turn and records are ordered by this clock."
        return error("clock", "is far in the past", cause, "Set it, and keep it by NTP (timedatectl set-ntp true).")
    folder = workspace if workspace.is_dir() and os.access(workspace, os.W_OK) else Path(tempfile.gettempdir())
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            skew_s = abs(os.fstat(file.fileno()).st_mtime - now_s)
    except OSError:
        return good("clock", "is plausible")
    if skew_s > _SKEW_S:
        cause = f"The file server of {folder} is {skew_s:.0f} s away from this machine."
        return warning("clock", "disagrees with the disk's", cause, "Keep both by NTP.")
    return good("clock", "is plausible, and agrees with the disk's")


def mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"


__all__ = ["LEAST_DESCRIPTORS", "loopback", "machine", "memory_left", "mib"]

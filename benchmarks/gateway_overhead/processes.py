"""Child processes of the benchmark: started on a core of their own, measured from outside, ended on every way out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Cores:
    """Where processes run: the gateway alone on one core; mock, load and this process on another."""

    gateway: int
    rest: int

    @property
    def is_split(self) -> bool:
        return self.gateway != self.rest


@dataclass(frozen=True)
class Usage:
    """Of a process and its descendants."""

    cpu_s: float
    pss_mb: float
    """Resident, shared pages counted in part."""
    largest_rss_mb: float
    """Resident set of the largest single process."""


def cores() -> Cores:
    """The first two cores that this process may use; one and the same where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(gateway=allowed[0], rest=allowed[min(1, len(allowed) - 1)])


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    command: Sequence[str], core: int | None, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process on a core (None: on all that this one has), in a session of its own; it gets SIGTERM should this
    process be killed."""
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=pinned(core),
        )


def pinned(core: int | None) -> Callable[[], None]:
    """For `preexec_fn`: run on this core, if one is named, and end with the benchmark."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))

    return prepare


def stop(process: subprocess.Popen[bytes], grace_s: float = 8) -> None:
    """SIGTERM, after the grace SIGKILL; then what is left of its descendants, by their own ids."""
    family = [one for one in _family(process.pid) if one != process.pid]
    born = {pid: _birth(pid) for pid in family}
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    end = time.monotonic() + 1  # descendants of a gateway that ended in good order are on their way out
    while time.monotonic() < end and any(_birth(pid) == birth for pid, birth in born.items()):
        time.sleep(0.02)
    for pid, birth in born.items():
        if birth is not None and _birth(pid) == birth:  # not another process of the same number
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running(
    command: Sequence[str], core: int | None, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A started process that is ended with the block."""
    process = start(command, core, log, env, cwd)
    try:
        yield process
    finally:
        stop(process)


def usage(pid: int) -> Usage:
    """CPU and memory of a process and its descendants, as /proc tells them. CPU has the resolution of a tick."""
    cpu_s = pss_mb = largest_mb = 0.0
    for one in _family(pid):
        fields = _stat(one)
        if fields is None:
            continue
        cpu_s += (int(fields[11]) + int(fields[12])) * TICK_S
        rss_mb = _kib(Path(f"/proc/{one}/status"), "VmRSS:") / 1024
        largest_mb = max(largest_mb, rss_mb)
        pss_mb += _kib(Path(f"/proc/{one}/smaps_rollup"), "Pss:") / 1024 or rss_mb
    return Usage(cpu_s=cpu_s, pss_mb=pss_mb, largest_rss_mb=largest_mb)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its descendants."""
    found = [fields for one in _family(pid) if (fields := _stat(one)) is not None]
    return sum(int(fields[11]) + int(fields[12]) for fields in found) * TICK_S


def wait_idle(pid: int, limit_s: float) -> bool:
    """Wait until the process does next to nothing, so that one scenario's rest is not charged to the next."""
    end = time.monotonic() + limit_s
    before = cpu_s(pid)
    while time.monotonic() < end:
        time.sleep(0.2)
        now = cpu_s(pid)
        if now - before <= 3 * TICK_S:
            return True
        before = now
    return False


def stolen_ticks() -> tuple[int, int]:
    """(ticks that the hypervisor took, all ticks) since the machine's start."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return int(fields[7]), sum(map(int, fields))


def end_on_signals() -> None:
    """SIGTERM, SIGHUP and Ctrl-C end the program through every `finally`; a second one can't cut that short."""

    def leave(number: int, _frame: object) -> None:
        for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (1: parent, 11 and 12: CPU ticks, 19: time of birth)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def _birth(pid: int) -> str | None:
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else fields[19]


def _kib(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)

"""mock.c and load.c, compiled when first needed, and what `load` reports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
BIN = HERE / "bin"


class CannotRunError(Exception):
    """The benchmark can't run here; the message says what is missing."""


class Series(msgspec.Struct, frozen=True):
    """Microseconds, exact order statistics."""

    n: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class LoadResult(msgspec.Struct, frozen=True):
    """One line of `load`; load.c says what each means."""

    sent: int
    ok: int
    late: int
    err: int
    unfinished: int
    secs: float
    rps: float
    chunks: int
    chunks_s: float
    streams: int
    mb_s: float
    error: str
    lat: Series | None = None
    ttft: Series | None = None
    gap: Series | None = None
    transit: Series | None = None

    @property
    def answered(self) -> int:
        return self.ok + self.late

    @property
    def failed(self) -> int:
        return self.err + self.unfinished


def compiled(name: str) -> Path:
    """`bin/NAME`, made from NAME.c where that is newer. Raises CannotRunError without Linux or a compiler."""
    source, binary = HERE / f"{name}.c", BIN / name
    if sys.platform != "linux":
        raise CannotRunError("this benchmark needs Linux: mock.c and load.c use epoll, the measuring reads /proc")
    if binary.is_file() and binary.stat().st_mtime >= source.stat().st_mtime:
        return binary
    compiler = next(
        (found for one in (os.environ.get("CC"), "cc", "gcc", "clang") if one and (found := shutil.which(one))), None
    )
    if compiler is None:
        raise CannotRunError("no C compiler found (cc, gcc, clang, or CC); on Debian: apt-get install gcc libc6-dev")
    BIN.mkdir(exist_ok=True)
    fresh = BIN / f".{name}.{os.getpid()}"
    try:
        done = subprocess.run(
            [compiler, "-O2", "-o", str(fresh), str(source), "-lm"], capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise CannotRunError(f"{compiler} can't compile {source.name}:\n{done.stderr.strip()}")
        fresh.replace(binary)  # two benchmarks at once: each sees a whole file
    finally:
        fresh.unlink(missing_ok=True)
    return binary

"""How soon each command says something, and how soon it is done: `python scripts/first_output.py [--workspace DIR]`.

Milliseconds from the start of the process to the first byte on a terminal, less what `python -c pass` takes on the same
machine in the same minute; medians of nine. Behind a pipe progress is silent: there the last column counts. Without a
workspace the example is used, in a folder of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRIMTAB = Path(sys.executable).with_name("trimtab")
BUDGET_MS = 100
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("--version",),
    ("chek",),
    ("check",),
    ("explain",),
    ("report",),
    ("erase", "--tenant", "hr", "--yes"),
    ("backup", os.devnull),
    ("restore", os.devnull),
    ("migrate",),
    ("replay",),
    ("budget",),
    ("budget", "history"),
    ("budget", "set", "hr", "--period", "day", "--usd", "5"),
    ("budget", "grant", "hr", "--usd", "0", "--until", "1h", "--reason", "x"),
    ("slo",),
    ("slo", "availability"),
    ("slo", "gate"),
    ("slo", "export", "--openslo", os.devnull),
    ("slo", "watch", "--once"),
    ("lake",),
    ("query", "SELECT 1"),
    ("features",),
    ("features", "at"),
    ("features", "drift"),
    ("features", "materialise"),
    ("event",),
    ("event", "start", "x", "--raise", "assistant=critical", "--for", "0s"),
    ("event", "stop", "x"),
    ("engine",),
    ("keys",),
    ("keys", "rotate", "key_0000000000000000"),
    ("policy",),
    ("policy", "test"),
    ("policy", "lint"),
    ("index",),
    ("doctor",),
    ("eval", "--only", "none-begins-so"),
    ("golden",),
    ("golden", "accept", "last", "--true", "x"),
    ("golden", "dismiss", "last", "--why", "x"),
    ("chat", "x", "--channel", "none"),
    ("try", "bind"),
    ("serve", "--port", "0"),
)


def run(command: list[str], *, end: bool) -> tuple[float, float]:
    """(first byte, end) in ms, on a terminal of its own. Not `end`: interrupted after the first byte."""
    ours, theirs = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    with contextlib.suppress(OSError):  # nothing was said: the far end is closed
        os.read(ours, 1)
    first = time.perf_counter() - began
    if not end:
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(OSError):
        while os.read(ours, 65536):
            pass
    process.wait()
    os.close(ours)
    return 1000 * first, 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        workspace = given.workspace or Path(name) / "workspace"
        if given.workspace is None:
            subprocess.run([TRIMTAB, "init", workspace], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([TRIMTAB, "index", "build", "--workspace", workspace], check=True, stdout=subprocess.DEVNULL)
        bare = statistics.median(run([sys.executable, "-c", "pass"], end=True)[1] for _ in range(9))
        print(f"python -c pass: {bare:.0f} ms")
        print(f"{'FIRST MS':>8}  {'END MS':>7}  COMMAND")
        late = 0
        for words in COMMANDS:
            command = [str(TRIMTAB), *words]
            if not words[0].startswith("-"):
                command += ["--workspace", str(workspace)]
            times = [run(command, end=words[0] != "serve") for _ in range(9)]
            first, end = (statistics.median(one) - bare for one in zip(*times, strict=True))
            late += first > BUDGET_MS
            told = "-" if words[0] == "serve" else f"{end:.0f}"
            print(f"{first:8.0f}  {told:>7}  trimtab {' '.join(words)}{'' if first <= BUDGET_MS else '  LATE'}")
        print(f"{len(COMMANDS) - late} of {len(COMMANDS)} within {BUDGET_MS} ms of the interpreter's start")


if __name__ == "__main__":
    main()

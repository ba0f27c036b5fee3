"""The gateway child with ballast: it holds as many MiB of memory as the file `ballast` of its workspace says.

Started in the real gateway's place by `support.ballast_serve`.
"""

from __future__ import annotations

import mmap
import sys
import threading
from pathlib import Path

from trimtab.surfaces.processes import gateway

FILE, HELD = "ballast", "ballast.held"
_MIB = 1 << 20


def _hold(file: Path) -> None:
    """For ever; `ballast.held` says how much it is. Each MiB is mapped by itself and written to, so that it counts, and
    counts no more once it is let go."""
    held: list[mmap.mmap] = []
    pause = threading.Event()
    while not pause.wait(0.02):
        try:
            wanted = int(file.read_text())
        except (OSError, ValueError):
            continue
        while len(held) < wanted:
            one = mmap.mmap(-1, _MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            one.write(b"x" * _MIB)
            held.append(one)
        while len(held) > wanted:
            held.pop().close()
        file.with_name(HELD).write_text(str(len(held)))


if __name__ == "__main__":
    workspace = Path(sys.argv[sys.argv.index("--workspace") + 1])
    threading.Thread(target=_hold, args=(workspace / FILE,), daemon=True).start()
    gateway.main()

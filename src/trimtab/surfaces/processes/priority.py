"""Work that nobody waits for gives way to requests on the same machine."""

from __future__ import annotations

import os
import threading
from typing import Final

LEVEL: Final = 10
"""A tenth of the share of who has level 0, where both want a core (sched(7))."""


def step_back() -> None:
    """This thread, and those that it starts, run at `LEVEL` from now on. Only Linux counts it by thread; elsewhere
    nothing is done."""
    if hasattr(os, "sched_getaffinity"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEVEL)


__all__ = ["LEVEL", "step_back"]

"""The control child: the control plane's loops, beside the gateways. `python -m ... --control FD`.

It serves nobody: without it requests are answered as before. It takes 20 MB until the workspace has something for it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from trimtab.surfaces.controlling import Controlling
from trimtab.surfaces.logs import LogSettings, set_up
from trimtab.surfaces.processes.channel import ChildEnd


def main() -> None:
    arguments = argparse.ArgumentParser(prog="trimtab-control")
    arguments.add_argument("--control", type=int, required=True)
    arguments.add_argument("--workspace", type=Path, required=True)
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all: the supervisor decides
    ChildEnd(given.control).listen(lambda _: None)  # its end is ours
    asyncio.run(_run(given.workspace))


async def _run(workspace: Path) -> None:
    set_up("control", LogSettings.told())
    running = asyncio.ensure_future(Controlling(workspace).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()

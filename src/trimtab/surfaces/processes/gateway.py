"""The gateway child's entry: descriptors by arguments, then `compose.run_gateway` on uvloop."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from trimtab.core.errors import ConfigError
from trimtab.surfaces.logs import LogSettings, set_up
from trimtab.surfaces.processes.channel import Broken, GatewayControl

Body: TypeAlias = Callable[[Path, socket.socket, GatewayControl], Awaitable[None]]
"""`run_gateway(workspace, listen, control)`: serves until a Drain has come, says Drained, and ends with End."""


def main(body: Body | None = None) -> None:
    """Run the gateway; ends the process with 0 after a drain, 1 if the workspace is broken."""
    arguments = argparse.ArgumentParser(prog="trimtab-gateway")
    arguments.add_argument("--control", type=int, required=True)
    arguments.add_argument("--listen", type=int, required=True)
    arguments.add_argument("--workspace", type=Path, required=True)
    arguments.add_argument("--worker", type=int, default=0)
    arguments.add_argument("--workers", type=int, default=1)
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all: the supervisor decides
    role = "gateway" if given.workers == 1 else f"gateway {given.worker}"
    log = set_up(role, LogSettings.told(), aside=True)
    listen = socket.socket(fileno=given.listen)
    listen.set_inheritable(False)
    listen.setblocking(False)
    with asyncio.Runner(loop_factory=_loop) as runner:
        status = runner.run(_run(body, given, listen))
    log.close()
    sys.exit(status)


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _run(body: Body | None, given: argparse.Namespace, listen: socket.socket) -> int:
    control = GatewayControl(given.control, given.worker, given.workers)
    try:
        await (body or _composed())(given.workspace, listen, control)
    except ConfigError as error:
        control.send(Broken(problems=error.problems))
        return 1
    return 0


def _composed() -> Body:
    """Found by name and late: the composition root itself imports this package's messages."""
    run_gateway: Body = importlib.import_module("trimtab.surfaces.compose").run_gateway
    return run_gateway


if __name__ == "__main__":
    main()

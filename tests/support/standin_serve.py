"""`serve` over the stand-ins: a real supervisor in a process of its own, so that it can be killed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from trimtab.core.errors import ConfigError
from trimtab.surfaces.processes import EngineSpec, Supervisor, listen_together


def main() -> None:
    """Arguments: a workspace, and NAME=MODEL for each engine. Prints the lines meant for a person."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("engines", nargs="*")
    arguments.add_argument("--real-engines", action="store_true")
    arguments.add_argument("--gateways", type=int, default=1)
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    specs = [EngineSpec(name=e.partition("=")[0], model=e.partition("=")[2], threads=1) for e in given.engines]
    modules = {"gateway_module": "support.standin_gateway"}
    if not given.real_engines:
        modules["engine_module"] = "support.standin_engine"

    async def run() -> int:
        sockets = listen_together("127.0.0.1", 0, given.gateways)
        supervisor = Supervisor(
            given.workspace, sockets, specs, lambda line: print(line, flush=True), control_module=None, **modules
        )
        return await supervisor.run()

    try:
        sys.exit(asyncio.run(run()))
    except ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""`trimtab serve` over `support.ballast_gateway`: the same command line, supervisor and log, another child."""

from __future__ import annotations

from functools import partial

from trimtab.cli import main
from trimtab.surfaces import processes

if __name__ == "__main__":
    processes.Supervisor = partial(processes.Supervisor, gateway_module="support.ballast_gateway")  # type: ignore[misc]
    main()

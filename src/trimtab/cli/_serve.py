"""`trimtab serve`: the supervisor in the foreground. What it says to a person goes to stdout, its log to stderr."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from trimtab.cli._common import begins, workspace_option

if TYPE_CHECKING:
    from trimtab.controlplane.registry import Settings
    from trimtab.controlplane.registry.documents import Engine
    from trimtab.surfaces.processes import EngineSpec, SpeculationSpec

PORT_TAKEN: Final = 3


@click.command(short_help="Start the gateway and its engines.")
@workspace_option
@click.option("--host", help="Address to listen on. Default: server.host of trimtab.yaml.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. Default: server.port of trimtab.yaml.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    envvar="TRIMTAB_LOG_FORMAT",
    help="Log on stderr; auto: text on a terminal, else a JSON object a line.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="TRIMTAB_LOG_LEVEL",
    help="The least that is logged.",
)
@click.option(
    "--access-log",
    type=click.Choice(["errors", "all"]),
    default="errors",
    show_default=True,
    envvar="TRIMTAB_ACCESS_LOG",
    help="Requests with a log line of their own: those that ended with a 5xx code, or all.",
)
def serve(
    workspace: Path, host: str | None, port: int | None, log_format: str, log_level: str, access_log: str
) -> None:
    """Serve a workspace until Ctrl-C or SIGTERM, which drain; a second one stops at once.

    Exit codes: 0 after a clean stop, 1 if the workspace is broken, 3 if the address can't be had, 130 or 143 where a
    second signal cut the drain short.
    """
    begins(f"Starting {workspace}: gateway and engines, a few seconds; the first time indexes, too.")
    import asyncio

    import msgspec

    from trimtab.controlplane.registry import load
    from trimtab.surfaces.logs import LogSettings, set_up
    from trimtab.surfaces.processes import Supervisor

    if log_format == "auto":
        log_format = "text" if sys.stderr.isatty() else "json"
    log = msgspec.convert({"format": log_format, "level": log_level, "access": access_log}, LogSettings)
    settings = load(workspace).settings
    server = settings.server
    sockets = _listen(host or server.host, server.port if port is None else port, server.workers)
    set_up("supervisor", log)
    engines, environment = engine_specs(settings), log.environment()
    supervisor = Supervisor(workspace.resolve(), sockets, engines, click.echo, environment=environment)
    sys.exit(asyncio.run(supervisor.run()))


class AddressError(click.ClickException):
    """The address can't be had."""

    exit_code = PORT_TAKEN


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    from trimtab.surfaces.processes import PortTakenError, listen_together

    try:
        return listen_together(host, port, count)
    except PortTakenError as error:
        hint = "Choose another: trimtab serve --port N, or server.port in trimtab.yaml"
        raise AddressError(f"{error}. {hint}") from error
    except OSError as error:
        hint = "Name an address of this machine: trimtab serve --host ADDRESS, or server.host in trimtab.yaml"
        raise AddressError(f"can't listen on {host} port {port}: {error.strerror or error}. {hint}") from error


def engine_specs(settings: Settings) -> list[EngineSpec]:
    """The engines of trimtab.yaml as their processes are told of them; who declares no threads has a share of cores."""
    from trimtab.surfaces.processes import EngineSpec, share_of_cores, usable_cores

    share = share_of_cores(len(settings.engines), usable_cores())
    return [
        EngineSpec(
            name=name,
            model=engine.model,
            slots=engine.slots,
            context=engine.context,
            threads=engine.threads or share,
            pass_tokens=engine.pass_tokens,
            speculation=_speculation(engine),
        )
        for name, engine in settings.engines.items()
    ]


def _speculation(engine: Engine) -> SpeculationSpec | None:
    from trimtab.surfaces.processes import SpeculationSpec

    terms = engine.speculation
    return None if terms is None else SpeculationSpec(match=terms.match, tokens=terms.tokens, model=terms.model)

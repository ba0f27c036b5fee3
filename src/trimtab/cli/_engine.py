"""trimtab engine: the embedded engines of a running gateway, for trying what happens without one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from trimtab.cli._common import busy, emit, json_option, table, unknown, workspace_option
from trimtab.cli._group import Group

_ENDS: Final = {"start": "ready", "stop": "stopped"}
_WAIT_S: Final = 60.0
_POLL_S: Final = 0.1


@click.group(cls=Group, default="show", short_help="Show, stop and start embedded engines.")
def engine() -> None:
    """Show, stop and start the embedded engines of a running gateway. Without COMMAND: show."""


@engine.command(short_help="Show the engines and where they serve.")
@workspace_option
@json_option
def show(workspace: Path, as_json: bool) -> None:
    """Show each engine: its state, where it serves, how often it was started again."""
    rows = _engines(workspace)
    if as_json:
        emit({"engines": rows})
        return
    head = ("ENGINE", "STATE", "ADDRESS", "RESTARTS")
    table(head, [(row["name"], row["state"], row["url"] or "-", str(row["restarts"])) for row in rows])


@engine.command(short_help="Stop an engine; its requests go to the next plan.")
@click.argument("name")
@workspace_option
@json_option
def stop(name: str, workspace: Path, as_json: bool) -> None:
    """Stop the engine NAME until it is started again, by `engine start` or with the gateway."""
    _ask(name, "stop", workspace, as_json)


@engine.command(short_help="Start an engine that was stopped.")
@click.argument("name")
@workspace_option
@json_option
def start(name: str, workspace: Path, as_json: bool) -> None:
    """Start the engine NAME, and wait until it serves."""
    _ask(name, "start", workspace, as_json)


def _ask(name: str, verb: str, workspace: Path, as_json: bool) -> None:
    """Exit code 1 where the engine is not there a minute later."""
    import threading

    from trimtab.surfaces.server.ask import ask

    known = [row["name"] for row in _engines(workspace)]
    if name not in known:
        raise unknown(name, known, "engine", "NAME")
    ask(workspace, "POST", f"/engines/{name}/{verb}")
    pause = threading.Event()
    with busy(f"Waiting for engine {name}"):
        for _ in range(round(_WAIT_S / _POLL_S)):
            row = next(one for one in _engines(workspace) if one["name"] == name)
            if row["state"] == _ENDS[verb]:
                break
            pause.wait(_POLL_S)
    if as_json:
        emit(row)
    else:
        click.echo(f"{name}: {row['state']}")
    if row["state"] != _ENDS[verb]:
        sys.exit(1)


def _engines(workspace: Path) -> list[dict[str, Any]]:
    """Raises NotRunningError."""
    from trimtab.surfaces.server.ask import ask

    found: list[dict[str, Any]] = ask(workspace, "GET", "/state")["engines"]
    return found

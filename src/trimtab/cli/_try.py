"""trimtab try STAGE: JSON lines in, what the stage makes of each out."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from trimtab.cli._common import OneOf, begins, workspace_option

if TYPE_CHECKING:
    from trimtab.surfaces.trying import Try

_STAGES = ("bind", "guard_in", "classify", "decide", "route", "retrieve", "guard_out")


@click.command(name="try", short_help="Run one stage on JSON lines, without a gateway.")
@click.argument("stage", metavar="STAGE", type=OneOf(_STAGES, "stage"))
@click.argument("file", type=click.File("rb"), default="-")
@workspace_option
def try_(stage: str, file: IO[bytes], workspace: Path) -> None:
    """Run STAGE on the lines of FILE (default: standard input) and print a line for each.

    STAGE is one of bind, guard_in, classify, decide, route, retrieve, guard_out.

    In: {"id", "tenant", "channel", "text"} or with "messages" in place of "text"; for guard_out also "answer", what a
    model would have said. Out: {"id", STAGE: what the record would hold}, or "error". Limits and budgets are not
    looked at, nothing is recorded, no model is asked.
    """
    begins(f"Reading {workspace}; indexes that are not there are built first.")
    import asyncio

    from trimtab.surfaces.trying import Trial

    async def run() -> None:
        import msgspec

        trial = await Trial.open(workspace)
        for number, raw in enumerate(file, 1):
            if raw.strip():
                line = _read(raw, number)
                click.echo(msgspec.json.encode({"id": line.id, **await trial.run(stage, line)}))

    asyncio.run(run())


def _read(raw: bytes, number: int) -> Try:
    import msgspec

    from trimtab.foundations.config import unknown_field
    from trimtab.surfaces.trying import Try

    try:
        line = msgspec.json.decode(raw, type=Try)
    except msgspec.ValidationError as error:
        raise click.ClickException(f"line {number}: {unknown_field(error, Try)}") from error
    except msgspec.DecodeError as error:
        raise click.ClickException(f"line {number}: {error}") from error
    if not line.messages and line.text is None:
        raise click.ClickException(f"line {number}: needs `text` or `messages`")
    return line

"""`trimtab restore`: a backup into a new folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import any_workspace_option, busy, counted, emit, json_option
from trimtab.core.clock import instant_text

if TYPE_CHECKING:
    from trimtab.surfaces.kept.restore import Restored


@click.command(short_help="Put a backup into a new folder, and verify it.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@any_workspace_option
@click.option(
    "--close-periods",
    is_flag=True,
    help="Count all that is left of running budget periods as in doubt: nothing is spent twice.",
)
@json_option
def restore(file: Path, folder: Path | None, workspace: Path, close_periods: bool, as_json: bool) -> None:
    """Put what `trimtab backup` wrote to FILE into FOLDER (default: the workspace folder), which must be new or empty,
    and verify all of it.

    What was spent after the backup was made is unknown to it. Exit code 1: the file is damaged, and nothing was
    restored; or what it holds was damaged already when it was made, and is there as it was.
    """
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.kept.restore import restore as put_back

    folder = folder or workspace
    with busy(f"restoring {folder}"):
        done = put_back(file, folder, SystemClock(), close_periods=close_periods)
    if as_json:
        emit(_told(done, folder))
    else:
        _say(done, folder)
    if done.problems:
        sys.exit(1)


def _say(done: Restored, folder: Path) -> None:
    manifest, found = done.manifest, done.records
    click.echo(f"{counted(len(manifest.members), 'file')} in {folder}, as of {instant_text(manifest.made_ns)}")
    click.echo(f"{found.rows:,} rows in {counted(found.segments, 'segment')}")
    for problem in done.problems:
        click.echo(f"damaged: {problem}")
    for line in done.differs:
        click.echo(f"differs: {line}")
    if done.closed:
        click.echo(f"{counted(done.closed, 'budget')} closed until their periods end; trimtab budget grant opens one")
    click.echo("ok" if not done.problems else f"not ok: {counted(len(done.problems), 'problem')}")


def _told(done: Restored, folder: Path) -> dict[str, object]:
    manifest = done.manifest
    return {
        "folder": str(folder),
        "made_ns": manifest.made_ns,
        "trimtab": manifest.trimtab,
        "machine": manifest.machine,
        "keys": manifest.keys,
        "heads": manifest.heads,
        "files": len(manifest.members),
        "records": done.records,
        "problems": done.problems,
        "differs": done.differs,
        "closed": done.closed,
    }


__all__ = ["restore"]

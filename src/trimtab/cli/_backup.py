"""`trimtab backup`: all that a workspace keeps, in one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import busy, counted, emit, json_option, workspace_option

if TYPE_CHECKING:
    from trimtab.surfaces.kept.backup import BackedUp


@click.command(short_help="Write all that a workspace keeps to one file, while it serves.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--without-keys", is_flag=True, help="Leave out what opens captured texts: nobody can read them from it.")
@workspace_option
@json_option
def backup(file: Path, without_keys: bool, workspace: Path, as_json: bool) -> None:
    """Write documents, records, money and all else that the workspace keeps to FILE: a tar, gzipped if it ends in .gz.

    A gateway may go on serving. The file holds var/secret and, unless told otherwise, the keys of captured texts: keep
    it where those may be. Exit code 1: something in the workspace itself is damaged; it is in the file as it is.
    """
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.kept.backup import back_up

    with busy(f"backing up {workspace}"):
        done = back_up(workspace, file, SystemClock(), keys=not without_keys)
    if as_json:
        emit({"file": str(file), **_told(done)})
    else:
        click.echo(f"{counted(len(done.manifest.members), 'file')} in {file}, {done.bytes:,} bytes")
        click.echo(f"sha256 {done.sha256}")
        for worker, head in done.manifest.heads.items():
            click.echo(f"records of worker {worker} up to row {head.seq:,}, {head.digest}")
        if not done.flushed:
            click.echo("trimtab: the gateway has rows in memory that are not in it: its disk refuses", err=True)
        for problem in done.problems:
            click.echo(f"damaged: {problem}", err=True)
    if done.problems:
        sys.exit(1)


def _told(done: BackedUp) -> dict[str, object]:
    manifest = done.manifest
    return {
        "sha256": done.sha256,
        "bytes": done.bytes,
        "files": len(manifest.members),
        "made_ns": manifest.made_ns,
        "keys": manifest.keys,
        "heads": manifest.heads,
        "flushed": done.flushed,
        "problems": done.problems,
    }


__all__ = ["backup"]

"""trimtab index: what answers are retrieved from."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trimtab.cli._common import busy, emit, json_option, table, unknown, workspace_option
from trimtab.cli._group import Group


@click.group(cls=Group, default="status", short_help="Build the indexes of corpora, and show how they are.")
def index() -> None:
    """Build the indexes of a workspace's corpora, and show how they are. Without COMMAND: status."""


@index.command(short_help="Embed what has changed in the corpora.")
@click.argument("names", nargs=-1)
@workspace_option
@click.option("--anew", is_flag=True, help="Embed everything again, not only what has changed.")
@json_option
def build(names: tuple[str, ...], workspace: Path, anew: bool, as_json: bool) -> None:
    """Build the indexes of NAMES (default: all corpora that channels use). A running gateway takes them by itself."""
    with busy(f"Reading {workspace}"):
        import asyncio

        from trimtab.core.clock import SystemClock
        from trimtab.foundations.embed import create_embedder
        from trimtab.surfaces.indexes import ready

        clock = SystemClock()
        embedder = create_embedder("nano", clock)
        wanted = _wanted(workspace, names)
    made = []
    for name in wanted:
        with _Progress(name, quiet=as_json) as progress:
            stored = asyncio.run(ready(workspace, name, embedder, clock, progress.step, anew=anew))
        made.append({"name": name, "index": stored.id, "passages": len(stored.passages)})
        if not as_json:
            click.echo(f"{name}: {len(stored.passages):,} passages, {stored.id}")
    if as_json:
        emit({"indexes": made})
    elif not made:
        click.echo("No channel declares a corpus.")


@index.command(short_help="Show which indexes fit their documents.")
@workspace_option
@json_option
def status(workspace: Path, as_json: bool) -> None:
    """Show each corpus and whether its index fits; exit code 1 if one does not."""
    with busy(f"Reading {workspace}"):
        from trimtab.core.clock import SystemClock
        from trimtab.foundations.embed import create_embedder
        from trimtab.surfaces import indexes

        embedder = create_embedder("nano", SystemClock())
        rows = [indexes.status(workspace, name, embedder.name) for name in _wanted(workspace, ())]
    if as_json:
        emit({"indexes": rows})
    else:
        lines = [
            (row.name, row.state, f"{row.documents:,}", f"{row.passages:,}", " ".join(row.languages), row.index or "-")
            for row in rows
        ]
        table(("CORPUS", "STATE", "DOCUMENTS", "PASSAGES", "LANGUAGES", "INDEX"), lines)
    if any(row.state != "ready" for row in rows):
        sys.exit(1)


def _wanted(workspace: Path, names: tuple[str, ...]) -> list[str]:
    from trimtab.controlplane.registry import load
    from trimtab.surfaces.indexes import used

    known = used(load(workspace).snapshot.tenancy)
    for name in names:
        if name not in known:
            raise unknown(name, known, "corpus of a channel", "NAMES")
    return list(names) or known


class _Progress:
    """A bar on a terminal's stderr; nothing anywhere else."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task = self._progress.add_task(name, total=None)

    def step(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

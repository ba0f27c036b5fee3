"""`trimtab migrate`: the files of a workspace in the versions of another layout."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trimtab.cli._common import emit, json_option, table, workspace_option


@click.command(short_help="Take kept files up or down to another version.")
@click.option("--to", "layout", type=int, help="The layout (default: the newest that this Trimtab knows).")
@click.option("--check", is_flag=True, help="Only say what would be changed; exit code 1 if anything would.")
@workspace_option
@json_option
def migrate(layout: int | None, check: bool, workspace: Path, as_json: bool) -> None:
    """Take what a workspace keeps to another layout, with the gateway stopped.

    Up is never needed to start: this Trimtab reads what older ones wrote. Down is, before an older one takes over. A
    file of a newer Trimtab is refused, and never written over. docs/reference/files.md lists files and versions.
    """
    from trimtab.surfaces.kept.layouts import LAYOUT, OLDEST
    from trimtab.surfaces.kept.layouts import migrate as take

    layout = LAYOUT if layout is None else layout
    if not OLDEST <= layout <= LAYOUT:
        known = ", ".join(str(one) for one in range(OLDEST, LAYOUT + 1))
        raise click.BadParameter(f"there is no layout {layout}; this Trimtab knows {known}", param_hint="--to")
    changes = take(workspace, layout, check=check)
    if as_json:
        emit({"layout": layout, "checked": check, "changes": changes})
    elif changes:
        rows = [(one.file, str(one.version), str(one.wanted)) for one in changes]
        table(("FILE", "IS" if check else "WAS", "WOULD BE" if check else "IS"), rows)
    else:
        click.echo(f"Nothing to do: all is of layout {layout}, or of every layout.")
    if check and changes:
        sys.exit(1)


__all__ = ["migrate"]

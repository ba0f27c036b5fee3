"""trimtab check: everything that is wrong with a workspace, at once."""

from __future__ import annotations

from pathlib import Path

import click

from trimtab.cli._common import any_workspace_option, busy, counted, emit, json_option, rows, styled, tell


@click.command(short_help="Check a workspace, and say what is wrong by file and line.")
@any_workspace_option
@click.option("--strict", is_flag=True, help="Warnings count as problems.")
@json_option
def check(workspace: Path, strict: bool, as_json: bool) -> None:
    """Read every document, check them against each other, and run the policy's own tests.

    Exit code 1 if anything keeps the workspace from being served (with --strict: if there is any finding).
    """
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.registry import examine
        from trimtab.foundations.config import errors

        loaded, problems = examine(workspace)
    count = len(errors(problems))
    passed = loaded is not None and not (strict and problems)
    if as_json:
        names = loaded.snapshot.names if loaded else None
        emit({"ok": passed, "errors": count, "warnings": len(problems) - count, "problems": rows(problems),
              "snapshots": names})  # fmt: skip
    else:
        tell(problems)
        summary = f"{counted(count, 'error')}, {counted(len(problems) - count, 'warning')}"
        if loaded:
            tenancy, release = loaded.snapshot.tenancy, loaded.snapshot.release
            channels = sum(len(tenant.channels) for tenant in tenancy.tenants.values())
            summary += (
                f"; {counted(len(tenancy.tenants), 'tenant')}, {counted(channels, 'channel')}, "
                f"{counted(len(tenancy.keys), 'key')}, {counted(len(release.variants), 'variant')}; {release.id}"
            )
        click.echo(f"{styled('ok', 'green') if passed else styled('not ok', 'red')}: {summary}")
    if not passed:
        raise SystemExit(1)

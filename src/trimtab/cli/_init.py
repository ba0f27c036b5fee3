"""trimtab init: a workspace to start from."""

from __future__ import annotations

from pathlib import Path

import click

from trimtab.cli._common import any_workspace_option, emit, json_option


@click.command(short_help="Write an example workspace.")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@any_workspace_option
@click.option("--schemas", is_flag=True, help="Only rewrite the JSON Schemas of an existing workspace.")
@click.option("--fetch-model", is_flag=True, help="Also download the bundled model (94 MB), if it is not installed.")
@json_option
def init(folder: Path | None, workspace: Path, schemas: bool, fetch_model: bool, as_json: bool) -> None:
    """Write an example workspace into FOLDER (default: the workspace folder), which must be new or empty.

    The example has three tenants on embedded models. It starts at once: trimtab serve --workspace FOLDER.
    """
    from trimtab.controlplane.registry import SETTINGS_FILE, write_example, write_schemas

    folder = folder or workspace
    if schemas:
        if not (folder / SETTINGS_FILE).is_file():
            raise click.ClickException(f"{folder} is no workspace: it has no {SETTINGS_FILE}")
        files = write_schemas(folder)
    else:
        files = write_example(folder)
    model = _fetch() if fetch_model else None
    if as_json:
        emit({"workspace": str(folder), "files": files, "model": model})
        return
    click.echo(f"{len(files)} files in {folder}")
    if not schemas:
        click.echo(f"Check it:  trimtab check --workspace {folder}")
        click.echo(f"Start it:  trimtab serve --workspace {folder}")


def _fetch() -> str:
    from trimtab.surfaces.processes import ModelMissingError, bundled_model, fetch_model

    try:
        return str(bundled_model())
    except ModelMissingError:
        return str(fetch_model(lambda line: click.echo(line, err=True)))

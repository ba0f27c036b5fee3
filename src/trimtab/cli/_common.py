"""What all commands share: the workspace option, machine output, findings on the screen."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from trimtab.foundations.config import Problem

_FIGURE = re.compile(r"-?[\d,.]+%?|-")
F = TypeVar("F", bound=Callable[..., Any])


def workspace_option(function: F) -> F:
    """`--workspace DIR`, else TRIMTAB_WORKSPACE, else ./workspace; handed on as a Path."""
    return click.option(
        "--workspace",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("workspace"),
        envvar="TRIMTAB_WORKSPACE",
        show_default="./workspace",
        help="The workspace folder (or TRIMTAB_WORKSPACE).",
    )(function)


def json_option(function: F) -> F:
    """`--json`: one JSON object on stdout, for machines."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")(function)


def emit(value: Any) -> None:
    """One JSON object with a line end."""
    import msgspec

    click.echo(msgspec.json.encode(value, enc_hook=repr))


def colours() -> bool:
    """Whether the output is a terminal that wants colours (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def styled(text: str, colour: str) -> str:
    return click.style(text, fg=colour) if colours() else text


def tell(problems: Iterable[Problem]) -> None:
    """Findings a line each; warnings first, so that what must be mended stands last, beside the prompt."""
    for problem in sorted(problems, key=lambda one: one.severity != "warning"):
        warns = problem.severity == "warning"
        click.echo(f"{styled('warning' if warns else 'error', 'yellow' if warns else 'red')}: {problem}")


def rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Findings for machines."""
    from trimtab.foundations.config import render

    return [
        {
            "severity": problem.severity,
            "file": problem.file,
            "line": problem.line,
            "field": render(problem.path),
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in problems
    ]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, figures to the right; no frames, so that it can be cut and searched."""
    columns = range(len(head))
    widths = [max(len(row[column]) for row in (head, *lines)) for column in columns]
    figures = [bool(lines) and all(_FIGURE.fullmatch(row[column]) for row in lines) for column in columns]
    for row in (head, *lines):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, figures, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())

"""What all commands share: the workspace option, machine output, findings on the screen."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from trimtab.foundations.config import Problem

_FIGURE = re.compile(r"-?[\d,.]+%?|-")
_SETTINGS = "trimtab.yaml"
F = TypeVar("F", bound=Callable[..., Any])


def workspace_option(function: F) -> F:
    """`--workspace DIR`, else TRIMTAB_WORKSPACE, else this folder if it is a workspace, else ./workspace; handed on as
    a Path. A folder that is no workspace ends the command here, with the same words for every command."""
    return _workspace(need_workspace)(function)


def records_option(function: F) -> F:
    """As `workspace_option`, for what reads records alone: those of a workspace whose documents are gone will do."""
    return _workspace(_need_records)(function)


def any_workspace_option(function: F) -> F:
    """As `workspace_option`, for what makes a workspace, or says itself what is wrong with it."""
    return _workspace(lambda folder: folder)(function)


def _workspace(check: Callable[[Path], Path]) -> Callable[[F], F]:
    return click.option(
        "--workspace",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        default=_default_workspace,
        callback=lambda ctx, param, folder: check(folder),
        envvar="TRIMTAB_WORKSPACE",
        help="The workspace: DIR, else TRIMTAB_WORKSPACE, else this folder if it is one, else ./workspace.",
    )


def _default_workspace() -> Path:
    return Path() if Path(_SETTINGS).is_file() else Path("workspace")


def need_workspace(folder: Path) -> Path:
    """The folder. Raises ConfigError where it is no workspace, with the nearest one, or how to make one."""
    if not (folder / _SETTINGS).is_file():
        from trimtab.controlplane.registry import no_workspace
        from trimtab.core.errors import ConfigError

        raise ConfigError([str(no_workspace(folder))])
    return folder


def _need_records(folder: Path) -> Path:
    return folder if (folder / "var" / "records").is_dir() else need_workspace(folder)


def names(text: str, known: Iterable[str], kind: str, option: str) -> list[str]:
    """`a,b` as a list, each one of `known`. Raises click.BadParameter with the nearest of them."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    for name in found:
        if name not in known:
            raise unknown(name, known, kind, option)
    return found


def unknown(name: str, known: Iterable[str], kind: str, option: str) -> click.BadParameter:
    """There is no such thing; what was meant, or what there is."""
    from trimtab.foundations.config import did_you_mean

    return click.BadParameter(f"there is no {kind} {name!r}. {did_you_mean(name, known)}".rstrip(), param_hint=option)


class OneOf(click.Choice[str]):
    """A choice that tells the nearest of its words; `kind` names what is chosen."""

    def __init__(self, words: Sequence[str], kind: str) -> None:
        super().__init__(words)
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            raise unknown(str(value), self.choices, self._kind, self._kind.upper())
        return str(value)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"It is one of {', '.join(self.choices)}."


def begins(line: str) -> None:
    """A first line for who looks: on a terminal's stderr, which elsewhere is left to what goes wrong."""
    if sys.stderr.isatty():
        click.echo(line, err=True)


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """A line on a terminal's stderr at once, gone when the work is done; nothing anywhere else."""
    if not sys.stderr.isatty():
        yield
        return
    click.echo(f"{doing} ...", err=True, nl=False)
    try:
        yield
    finally:
        click.echo("\r\033[K", err=True, nl=False)


def json_option(function: F) -> F:
    """`--json`: one JSON object on stdout, for machines; also where the command fails."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")(function)


def memory_option(function: F) -> F:
    """`--memory`: what DuckDB may take."""
    option = click.option(
        "--memory",
        default=1024,
        show_default=True,
        type=click.IntRange(min=64),
        metavar="MIB",
        help="The most that reading the lake may take.",
    )
    return option(function)


def records_of(workspace: Path) -> Path:
    """The folder of records, once the running gateway, if there is one, has written down what it answered."""
    from contextlib import suppress

    from trimtab.core.errors import TrimtabError
    from trimtab.surfaces.server.ask import ask

    with suppress(TrimtabError):  # none runs, or it has no time for us: the files are as they are
        ask(workspace, "POST", "/records/flush")
    return workspace / "var" / "records"


class TakenUp(NamedTuple):
    """Whether a running gateway serves a change that was just written; `problem`: why the one that runs does not."""

    live: bool
    problem: str | None = None


def taken_up(workspace: Path) -> TakenUp:
    """Have the running gateway, if there is one, load the workspace now; it would by itself, a moment later."""
    from trimtab.core.errors import TrimtabError
    from trimtab.surfaces.server.ask import NotRunningError, ask

    try:
        ask(workspace, "POST", "/reload")
    except NotRunningError:
        return TakenUp(live=False)
    except TrimtabError as error:
        return TakenUp(live=False, problem=str(error))
    return TakenUp(live=True)


def tell_taken_up(found: TakenUp, *, err: bool = False) -> None:
    """For people, on stdout or (`err`) stderr; ends the command with 1 where a gateway runs on with what was."""
    if found.problem is not None:
        click.echo(f"trimtab: written, but the running gateway does not take it up: {found.problem}", err=True)
        sys.exit(1)
    said = "In force: the running gateway has taken it up."
    click.echo(said if found.live else "No gateway runs: it is in force from the next start on.", err=err)


class Change(Protocol):
    """Something declared that a command has changed, or found as it was to be."""

    @property
    def file(self) -> Any: ...
    @property
    def changed(self) -> bool: ...
    @property
    def before(self) -> Any: ...
    @property
    def after(self) -> Any: ...
    @property
    def warnings(self) -> Sequence[Problem]: ...


def tell_change(done: Change, named: Mapping[str, Any], said: str, workspace: Path, as_json: bool) -> None:
    """What was changed (`named`: of what, with --json; `said`: for people), what deserves a look, and whether it is in
    force; exit code 1 where a gateway runs on with what was."""
    found = taken_up(workspace)
    if as_json:
        told = {"file": done.file, "changed": done.changed, "before": done.before, "after": done.after}
        emit({**named, **told, "live": found.live, "problem": found.problem, "warnings": rows(done.warnings)})
        sys.exit(1 if found.problem else 0)
    click.echo(said)
    for problem in done.warnings:
        click.echo(f"{styled('warning', 'yellow')}: {problem}", err=True)
    tell_taken_up(found)


def moment(text: str, option: str) -> str:
    """A time as documents write it, given as one or as a span from now. Raises click.BadParameter."""
    from datetime import datetime

    from trimtab.core.clock import NS_PER_S, SystemClock, instant_text, span_s

    if (span := span_s(text)) is not None:
        return instant_text(SystemClock().wall_ns() + span * NS_PER_S)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 30m, 24h, 7d, or a time like 2027-01-31T00:00:00Z"
        raise click.BadParameter(f"{text!r} is no time: {hint}", param_hint=option) from None
    if time.tzinfo is None:
        hint = f"write {time.isoformat()}Z for UTC, or end it with an offset like +01:00"
        raise click.BadParameter(f"{text!r} says no time zone: {hint}", param_hint=option)
    return time.isoformat().replace("+00:00", "Z")


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


def inert(text: str) -> str:
    """Control characters are shown, not obeyed; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def counted(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

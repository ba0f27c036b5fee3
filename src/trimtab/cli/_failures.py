"""What the command line says when it can't do as asked: one way for every command, on stderr, the cause last.

With `--json` the same is one JSON object on stdout: `{"ok": false, "error": {"kind", "message", "problems"}}`.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

import click

from trimtab.foundations.config.typos import nearest

NO: Final = 1
"""The answer is no: problems found, not there, refused, failed."""
USAGE: Final = 2
"""The command line can't be understood."""
INTERRUPTED: Final = 128 + signal.SIGINT
UNREAD: Final = 128 + signal.SIGPIPE
"""Who read the output has left (`| head -1`)."""

Kind = Literal["usage", "workspace", "system", "failed", "interrupted"]


class UnreadError(Exception):
    """Nobody reads the output any more."""


class Failure(NamedTuple):
    """`head` goes before the message for people; `problems` are the findings of a broken workspace, one line each."""

    kind: Kind
    code: int
    message: str
    head: str = ""
    problems: tuple[str, ...] = ()


def failure(error: BaseException, args: Sequence[str]) -> Failure | None:
    """What an error means to the caller; None for one that is a defect of ours, and keeps its traceback."""
    from trimtab.core.errors import ConfigError, TrimtabError

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return Failure("usage", USAGE, "name a command", head=f"{error.format_message()}\n\n")
    if isinstance(error, click.UsageError):
        return _usage(error, args)
    if isinstance(error, click.ClickException):
        return Failure("failed", error.exit_code, error.format_message())
    if isinstance(error, UnreadError):
        return Failure("interrupted", UNREAD, "")
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure("interrupted", INTERRUPTED, "interrupted")
    if isinstance(error, ConfigError):
        return Failure("workspace", NO, "\n".join(error.problems), problems=tuple(error.problems))
    if isinstance(error, TrimtabError):
        return Failure("failed", NO, str(error))
    if isinstance(error, OSError):
        return _system(error)
    return None


def tell(found: Failure, *, as_json: bool) -> None:
    """Findings first, then what is above them, then the message: the last line is what to read first."""
    if found.code == UNREAD:
        _let_go_of_stdout()
        return
    with suppress(OSError):  # what can't be written is still said by the exit code
        lines = found.problems if len(found.problems) > 1 else ()
        click.echo(found.head + "".join(f"error: {line}\n" for line in lines), err=True, nl=False)
        summary = f"{len(lines)} errors keep the workspace from being used" if lines else found.message
        click.echo(f"trimtab: {summary}", err=True)
    if as_json:
        import msgspec

        error = {"kind": found.kind, "message": found.message, "problems": found.problems}
        with suppress(OSError):
            click.echo(msgspec.json.encode({"ok": False, "error": error}))
    if found.kind == "system":
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """What is left in the buffer of an output that can't be written would fail again at the interpreter's end."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError, AttributeError):  # not a real file: a test's
        return


def _usage(error: click.UsageError, args: Sequence[str]) -> Failure:
    ctx = error.ctx
    message = error.format_message()
    if ctx is not None and isinstance(error, click.NoSuchOption):
        message = _no_option(error.option_name, ctx, args)
    elif ctx is not None and isinstance(error, click.exceptions.NoSuchCommand):
        message = _no_command(error.command_name, ctx)
    head = ""
    if ctx is not None:
        head = f"{ctx.get_usage()}\nAll options: {ctx.command_path} --help\n"
    return Failure("usage", USAGE, message, head)


def _no_command(name: str, ctx: click.Context) -> str:
    assert isinstance(ctx.command, click.Group)
    return f"there is no command {name!r}. {_meant(name, ctx.command.list_commands(ctx))}"


def _meant(name: str, known: Iterable[str]) -> str:
    """As for keys; a list of commands or options is short enough to be told whole."""
    names = list(known)
    found = nearest(name, names)
    return f"Did you mean {found}?" if found else f"There are: {', '.join(names)}."


def _no_option(name: str, ctx: click.Context, args: Sequence[str]) -> str:
    """`-json` is parsed as the short option -j; what was typed is looked up, not what was parsed."""
    typed = name
    if not name.startswith("--"):
        typed = next((arg for arg in args if arg.startswith(name) and not arg.startswith("--")), name)
    typed = typed.partition("=")[0]
    known = [option for param in ctx.command.get_params(ctx) for option in param.opts if option.startswith("--")]
    bare = {option.removeprefix("--"): option for option in known}
    if isinstance(ctx.command, click.Group):
        return f"{ctx.command_path} takes no {typed}. Write options last: {ctx.command_path} COMMAND {typed}"
    found = nearest(typed.lstrip("-"), bare)
    hint = f"Did you mean {bare[found]}?" if found else f"There are: {', '.join(known)}."
    return f"there is no option {typed}. {hint}"


_HINTS = {
    errno.EACCES: "Run it as the owner of the files, or change their mode.",
    errno.EPERM: "Run it as the owner of the files, or change their mode.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.ENOSPC: "The disk is full: free some space.",
    errno.EDQUOT: "The disk quota is used up: free some space.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
}


def _system(error: OSError) -> Failure:
    """A file or disk that refuses: which, why, and what helps."""
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    words = error.strerror or str(error) or type(error).__name__
    hint = _HINTS.get(error.errno or 0, "")
    return Failure("system", NO, f"{place}{words}. {hint}".rstrip())


__all__ = ["INTERRUPTED", "NO", "UNREAD", "USAGE", "Failure", "failure", "tell"]

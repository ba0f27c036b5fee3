"""Groups of commands: a mistyped one is answered by the nearest, and every failure is told in one way."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

import click

from trimtab.cli._failures import UnreadError, failure, tell


class Group(click.Group):
    """`default`: the command that is meant where none is named (`trimtab budget` is `trimtab budget show`)."""

    def __init__(self, *args: Any, default: str | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (not args[0].startswith("-") or not set(args).isdisjoint(self.list_commands(ctx)))
        if self._default and not named and set(args).isdisjoint(ctx.help_option_names):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but without its guess at what was meant."""
        if not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise click.exceptions.NoSuchCommand(args[0], ctx=ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, but for a reader that has left: click would make that exit code 1 of its own accord."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise UnreadError from error

    def main(  # type: ignore[override]  # it never returns, whatever the mode
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **settings: Any
    ) -> Never:
        """Run the command and exit. What can be expected to fail is told without a traceback; `_failures` says how."""
        given = list(sys.argv[1:] if args is None else args)
        settings["standalone_mode"] = False
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by who started it (`>&-`)
                setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end
        try:
            code = super().main(given, "trimtab", **settings)
        except Exception as error:
            found = failure(error, given)
            if found is None:
                raise
            code = found.code
            tell(found, as_json="--json" in given)
        sys.exit(code if isinstance(code, int) else 0)

"""The command line. Commands are imported when they are called, so that `trimtab --help` costs an interpreter start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from trimtab.cli._group import Group

COMMANDS: dict[str, str] = {
    "init": "trimtab.cli._init:init",
    "serve": "trimtab.cli._serve:serve",
    "check": "trimtab.cli._check:check",
    "chat": "trimtab.cli._chat:chat",
    "explain": "trimtab.cli._explain:explain",
    "report": "trimtab.cli._report:report",
    "erase": "trimtab.cli._erase:erase",
    "backup": "trimtab.cli._backup:backup",
    "restore": "trimtab.cli._restore:restore",
    "migrate": "trimtab.cli._migrate:migrate",
    "replay": "trimtab.cli._replay:replay",
    "budget": "trimtab.cli._budget:budget",
    "slo": "trimtab.cli._slo:slo",
    "lake": "trimtab.cli._lake:lake",
    "query": "trimtab.cli._query:query",
    "features": "trimtab.cli._features:features",
    "event": "trimtab.cli._event:event",
    "engine": "trimtab.cli._engine:engine",
    "doctor": "trimtab.cli._doctor:doctor",
    "eval": "trimtab.cli._eval:evaluate",
    "golden": "trimtab.cli._golden:golden",
    "try": "trimtab.cli._try:try_",
    "keys": "trimtab.cli._keys:keys",
    "policy": "trimtab.cli._policy:policy",
    "index": "trimtab.cli._index:index",
}
"""Name to `module:function`; a command is imported when it is called."""

SUMMARIES: dict[str, str] = {
    "init": "Write an example workspace.",
    "serve": "Start the gateway and its engines.",
    "check": "Check a workspace, and say what is wrong by file and line.",
    "chat": "Chat with a channel; path, contract, cost and trace under each answer.",
    "explain": "Show why a request was answered as it was.",
    "report": "Counts, latency, attainment, tokens and money from the records.",
    "erase": "Make kept texts of a tenant or a data subject unreadable.",
    "backup": "Write all that a workspace keeps to one file, while it serves.",
    "restore": "Put a backup into a new folder, and verify it.",
    "migrate": "Take kept files up or down to another version.",
    "replay": "Make budgets, objectives and decisions anew from records, and compare.",
    "budget": "Show, set and add to budgets; who spent them, and when.",
    "slo": "Objectives, their budgets and alerts; export and import.",
    "lake": "Records as Delta tables: take in, compact, erase.",
    "query": "Ask the lake, in SQL.",
    "features": "Figures of past requests: publish, look up, join.",
    "event": "Raise the priority classes of channels for a while.",
    "engine": "Show, stop and start embedded engines.",
    "doctor": "Look over machine, workspace, gateway and records.",
    "eval": "Ask the golden set, and say what was wrong, with its bound.",
    "golden": "Turn feedback into questions of the golden set.",
    "try": "Run one stage on JSON lines, without a gateway.",
    "keys": "Create, list, rotate and revoke API keys.",
    "policy": "Test, lint and show the policy.",
    "index": "Build the indexes of corpora, and show how they are.",
}
"""What --help lists, so that it need not import what it lists."""


class Root(Group):
    """Resolves commands by COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command), f"{target} is not a command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="trimtab", message="trimtab %(version)s")
def cli() -> None:
    """An SLO-governed AI gateway: every request carries a contract for latency, quality and cost.

    Exit codes: 0 fine, 1 the answer is no (problems found, not there, refused), 2 the command line can't be understood,
    3 (serve) the address can't be had; 130 stopped by Ctrl-C, 141 nobody reads the output any more.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the `trimtab` command. The process is its own: what nobody waits for gives way to a gateway."""
    if (sys.argv[1:] if args is None else args)[:1] in (["lake"], ["features"]):
        from trimtab.surfaces.processes.priority import step_back

        step_back()
    cli.main(args)


__all__ = ["COMMANDS", "SUMMARIES", "cli", "main"]

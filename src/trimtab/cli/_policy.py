"""trimtab policy: the rules, their own tests, and what is doubtful about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import (
    any_workspace_option,
    busy,
    counted,
    emit,
    json_option,
    need_workspace,
    rows,
    styled,
    tell,
    workspace_option,
)
from trimtab.cli._group import Group

if TYPE_CHECKING:
    from trimtab.dataplane.policy import PolicyDocument, Tables


@click.group(cls=Group, default="show", short_help="Test, lint and show the policy.")
def policy() -> None:
    """Test, lint and show the policy of a workspace. Without COMMAND: show."""


@policy.command(short_help="Run the tests that the policy's rules carry.")
@workspace_option
@json_option
def test(workspace: Path, as_json: bool) -> None:
    """Run the tests that the policy's rules carry; exit code 1 if one fails."""
    with busy(f"Testing {workspace}"):
        from trimtab.dataplane.policy import run_tests

        outcomes = run_tests(_read(workspace), _tables(workspace))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        emit({"ok": not failed, "tests": outcomes})
    else:
        for outcome in outcomes:
            mark = styled("pass", "green") if outcome.passed else styled("FAIL", "red")
            click.echo(f"{mark}  {outcome.rule}: {outcome.test}{f' -- {outcome.message}' if outcome.message else ''}")
        click.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} tests pass")
    if failed:
        raise SystemExit(1)


@policy.command(short_help="Find rules that are wrong, doubtful or untested.")
@workspace_option
@json_option
def lint(workspace: Path, as_json: bool) -> None:
    """Find rules that are wrong, never hit, always hit, overlap or have no tests; exit code 1 for errors."""
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.registry import POLICY_FILE, examine
        from trimtab.foundations.config import errors

        _read(workspace)
        _, problems = examine(workspace)
    found = [problem for problem in problems if problem.file == POLICY_FILE]
    if as_json:
        emit({"ok": not errors(found), "problems": rows(found)})
    else:
        tell(found)
        count = len(errors(found))
        click.echo(f"{counted(count, 'error')}, {counted(len(found) - count, 'warning')}")
        if not found and errors(problems):
            click.echo("Other documents have errors, which hide findings here: run trimtab check.", err=True)
    if errors(found):
        raise SystemExit(1)


@policy.command(short_help="Show the rules, or what conditions may read.")
@any_workspace_option
@click.option("--variables", is_flag=True, help="Show what conditions may read, and which effects each stage has.")
@json_option
def show(workspace: Path, variables: bool, as_json: bool) -> None:
    """Show the rules in the order in which they are looked at, or (--variables) what conditions may read."""
    with busy(f"Reading {workspace}"):
        from trimtab.dataplane.policy import VARIABLES, VERSION, compile_policy, reference

        compiled = None if variables else compile_policy(_read(need_workspace(workspace)), _tables(workspace))
    if compiled is None:
        if as_json:
            emit({"version": VERSION, "variables": {at: list(table.values()) for at, table in VARIABLES.items()}})
        else:
            click.echo(reference(), nl=False)
        return
    ordered = [one.rule for at in VARIABLES for one in compiled.rules(at)]
    if as_json:
        emit({"rules": ordered})
        return
    for rule in ordered:
        click.echo(f"{rule.at}  {styled(rule.id, 'cyan')}  priority {rule.priority}")
        click.echo(f"    when  {rule.when}")
        click.echo(f"    then  {_flow(rule.then)}")


def _read(workspace: Path) -> PolicyDocument:
    """The policy alone: its rules can be tested while other documents are broken."""
    from trimtab.controlplane.registry import read_policy

    return read_policy(workspace)


def _tables(workspace: Path) -> Tables:
    """What conditions may read there, its features included."""
    from trimtab.controlplane.registry import read_features
    from trimtab.dataplane.policy import tables_with

    return tables_with(read_features(workspace).features)


def _flow(then: Any) -> str:
    import msgspec

    return ", ".join(
        f"{key}: {msgspec.json.encode(value).decode()}" for key, value in msgspec.to_builtins(then).items()
    )

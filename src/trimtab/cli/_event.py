"""trimtab event: raise the priority classes of channels for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import busy, emit, json_option, moment, table, tell_change, unknown, workspace_option
from trimtab.cli._group import Group
from trimtab.core.clock import span_s

if TYPE_CHECKING:
    from trimtab.controlplane.registry import EventChange
    from trimtab.core.contract import PriorityName
    from trimtab.core.events import Event

_STATES = ("running", "coming", "past")


@click.group(cls=Group, default="list", short_help="Raise the priority classes of channels for a while.")
def event() -> None:
    """Start, stop and list events: while one runs, its channels are of a higher priority class than they declare.
    Without COMMAND: list."""


@event.command(short_help="Begin an event now.")
@click.argument("name")
@click.option(
    "--raise",
    "raises",
    metavar="CHANNEL=CLASS",
    multiple=True,
    required=True,
    help="A channel, or TENANT/CHANNEL, and its class: critical, interactive or standard. May be given more than once.",
)
@click.option("--for", "span", metavar="SPAN", help="How long it runs: 90s, 30m, 2h or 3d.")
@click.option("--until", metavar="TIME", help="When it ends: a span from now, or a time like 2027-01-31T00:00:00Z.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@workspace_option
@json_option
def start(
    name: str,
    raises: tuple[str, ...],
    span: str | None,
    until: str | None,
    reason: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """Begin the event NAME now, in events.yaml. Without --for or --until it runs until it is stopped.

    A channel without its tenant is that channel of every tenant. The whole workspace is checked first: what `trimtab
    check` would refuse is not written. The change is on the audit log, and a running gateway takes it up at once.
    """
    wanted = _raises(raises)
    ends = _ends(span, until)
    with busy(f"Checking {workspace}"), _named():
        from trimtab.controlplane.registry import start_event

        done = start_event(workspace, name, wanted, until=ends, reason=reason)
    _tell(done, workspace, as_json)


@event.command(short_help="End a running event now.")
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@workspace_option
@json_option
def stop(name: str, reason: str, workspace: Path, as_json: bool) -> None:
    """End the event NAME now. It stays in events.yaml, so that records which name it can be understood.

    Checked, audited and taken up as by `start`. One that has ended already is left as it is.
    """
    with busy(f"Checking {workspace}"), _named():
        from trimtab.controlplane.registry import stop_event

        done = stop_event(workspace, name, reason=reason)
    _tell(done, workspace, as_json)


@event.command("list", short_help="Show events: running, coming and past.")
@workspace_option
@json_option
def list_(workspace: Path, as_json: bool) -> None:
    """Show the events of the workspace: those that run, then those to come, then those that have ended, the last one
    first."""
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.registry import load, state_of
        from trimtab.core.clock import SystemClock, instant_ns

        clock = SystemClock()
        now_ns = clock.wall_ns()
        found = [(state_of(one, now_ns), one) for one in load(workspace, clock).snapshot.tenancy.events]
        begins = {one.name: instant_ns(one.begins) * (-1 if state == "past" else 1) for state, one in found}
        found.sort(key=lambda row: (_STATES.index(row[0]), begins[row[1].name]))
    if as_json:
        emit({"events": [_fields(state, one) for state, one in found]})
        return
    if not found:
        click.echo("No events. Begin one: trimtab event start NAME --raise CHANNEL=CLASS")
        return
    lines = [(one.name, state, one.begins, one.ends or "until stopped", _words(one)) for state, one in found]
    table(("EVENT", "STATE", "FROM", "TO", "RAISES"), lines)


def _raises(given: Iterable[str]) -> dict[str, PriorityName]:
    """Channels with their classes. Raises click.BadParameter."""
    from typing import get_args

    from trimtab.core.contract import PriorityName

    classes: tuple[PriorityName, ...] = get_args(PriorityName)
    found: dict[str, PriorityName] = {}
    for text in given:
        channel, equals, priority = text.partition("=")
        if not channel or not equals:
            raise click.BadParameter(f"{text!r}: write CHANNEL=CLASS, like chat=critical", param_hint="--raise")
        one = next((one for one in classes if one == priority), None)
        if one is None:
            raise unknown(priority, classes, "priority class", "--raise")
        if channel in found:
            raise click.BadParameter(f"{channel} is raised twice: keep one of the two", param_hint="--raise")
        found[channel] = one
    return found


def _ends(span: str | None, until: str | None) -> str | None:
    """When an event ends. Raises click.BadParameter, click.UsageError."""
    if span is None:
        return None if until is None else moment(until, "--until")
    if until is not None:
        raise click.UsageError("say how long it runs by --for SPAN, or when it ends by --until TIME, not both")
    if span_s(span) is None:
        raise click.BadParameter(f"{span!r} is no span: write 90s, 30m, 2h or 3d", param_hint="--for")
    return moment(span, "--for")


@contextmanager
def _named() -> Iterator[None]:
    """A name that stands for nothing is a command line that can't be understood, as everywhere."""
    from trimtab.core.errors import TrimtabError

    try:
        yield
    except TrimtabError as error:
        from trimtab.controlplane.registry import UnknownChannelError, UnknownEventError

        if isinstance(error, UnknownEventError):
            raise unknown(error.name, error.known, "event", "NAME") from None
        if isinstance(error, UnknownChannelError):
            raise unknown(error.name, error.known, "channel", "--raise") from None
        raise


def _tell(done: EventChange, workspace: Path, as_json: bool) -> None:
    said = f"{done.name}: {_terms(done.after)}{'' if done.changed else ' already; nothing is changed'}."
    tell_change(done, {"event": done.name}, said, workspace, as_json)


def _terms(one: Event) -> str:
    return f"{_words(one)} from {one.begins} {f'to {one.ends}' if one.ends else 'until it is stopped'}"


def _words(one: Event) -> str:
    return ", ".join(f"{channel}={priority}" for channel, priority in one.raises.items())


def _fields(state: str, one: Event) -> dict[str, Any]:
    return {"name": one.name, "state": state, "from": one.begins, "to": one.ends, "raise": one.raises}

"""Events: started and stopped in events.yaml. What `check` would refuse is not written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from trimtab.controlplane.registry.audit import Told
from trimtab.controlplane.registry.checks.events import has_ended
from trimtab.controlplane.registry.documents import EVENTS, SETTINGS, EventsDocument, no_workspace
from trimtab.controlplane.registry.edit import EditError, change, locked
from trimtab.controlplane.registry.load import load
from trimtab.controlplane.registry.proposal import warnings_of
from trimtab.controlplane.registry.timelines import channels_of
from trimtab.core.clock import Clock, SystemClock, instant_ns
from trimtab.core.contract import PriorityName
from trimtab.core.errors import ConfigError
from trimtab.core.events import Event
from trimtab.core.tenancy import Tenant
from trimtab.foundations.config import Problem, Reader, append_item, did_you_mean, put_field

State = Literal["running", "coming", "past"]

_READER: Reader[list[Event]] = Reader(EventsDocument)
_BEGIN = """\
# yaml-language-server: $schema=.schema/events.json
#
# Events: while one runs, its channels have at least the priority class that it says. `trimtab event start` and `stop`
# write here too; what has ended stays, so that a record which names an event can be understood.

[]
"""
"""What a new events.yaml says above its first event."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventChange(msgspec.Struct, frozen=True, kw_only=True):
    """What was done. `before` and `after` are equal where nothing was: it stood so already."""

    name: str
    file: str = EVENTS
    before: Event | None
    after: Event
    warnings: tuple[Problem, ...] = ()
    """What `check` says now and did not say before."""

    @property
    def changed(self) -> bool:
        return self.before != self.after


class UnknownEventError(EditError):
    """There is no event of this name; `known`: those that there are."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no event {name!r}. {did_you_mean(name, known)}".rstrip())
        self.name, self.known = name, known


class UnknownChannelError(EditError):
    """No channel has this name; `known`: what may be raised."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no channel {name!r}. {did_you_mean(name, known)}".rstrip())
        self.name, self.known = name, known


def state_of(event: Event, wall_ns: int) -> State:
    """Whether it runs at this instant, is to come, or has ended."""
    if has_ended(event, wall_ns):
        return "past"
    return "running" if instant_ns(event.begins) <= wall_ns else "coming"


def start(
    folder: Path,
    name: str,
    raises: Mapping[str, PriorityName],
    *,
    until: str | None = None,
    reason: str = "",
    clock: Clock | None = None,
) -> EventChange:
    """Begin an event now; `until`: when it ends by itself. One that runs with the same terms is left as it is. Raises
    UnknownChannelError, EditError, ConfigError; nothing is written then."""
    clock = clock or SystemClock()
    _need(folder)
    with locked(folder):
        now_ns = clock.wall_ns()
        tenancy = load(folder, clock).snapshot.tenancy
        _known(raises, tenancy.tenants)
        if until is not None and instant_ns(until) <= now_ns:
            raise EditError(f"an event until {until} would have ended already")
        there = next((event for event in tenancy.events if event.name == name), None)
        if there is not None and state_of(there, now_ns) == "running":
            if (there.raises, there.ends) == (dict(raises), until):
                return EventChange(name=name, before=there, after=there)
            hint = f"Stop it first by trimtab event stop {name}, then start another, or edit {EVENTS}"
            raise EditError(f"the event {name} runs already, with other terms. {hint}")
        if there is not None and state_of(there, now_ns) == "coming":
            raise EditError(f"the event {name} is to begin at {there.begins}: edit its from in {EVENTS}")
        if there is not None:
            free = _free(name, {event.name for event in tenancy.events})
            raise EditError(f"there was an event {name}, which ended at {there.ends}. Name this one e.g. {free}")
        event = Event(name=name, begins=_time(now_ns), ends=until, raises=dict(raises))

        def edit(text: str) -> str:
            return append_item(text, (), _item(event))

        return _write(folder, None, event, edit, [*tenancy.events, event], "event.start", reason, clock)


def stop(folder: Path, name: str, *, reason: str = "", clock: Clock | None = None) -> EventChange:
    """End a running event now; it stays in the document. One that has ended is left as it is. Raises
    UnknownEventError, EditError, ConfigError; nothing is written then."""
    clock = clock or SystemClock()
    _need(folder)
    with locked(folder):
        now_ns = clock.wall_ns()
        events = list(load(folder, clock).snapshot.tenancy.events)
        index = next((index for index, event in enumerate(events) if event.name == name), None)
        if index is None:
            raise UnknownEventError(name, [event.name for event in events])
        event = events[index]
        if (state := state_of(event, now_ns)) == "past":
            return EventChange(name=name, before=event, after=event)
        if state == "coming":
            hint = f"Delete it from {EVENTS}, or move its from"
            raise EditError(f"the event {name} does not run: it is to begin at {event.begins}. {hint}")
        ends = _time(max(now_ns, instant_ns(event.begins) + 1_000_000))
        events[index] = stopped = msgspec.structs.replace(event, ends=ends)

        def edit(text: str) -> str:
            return put_field(text, (index, "to"), ends)

        return _write(folder, event, stopped, edit, events, "event.stop", reason, clock)


def _write(
    folder: Path,
    before: Event | None,
    after: Event,
    edit: Callable[[str], str],
    wanted: list[Event],
    action: str,
    reason: str,
    clock: Clock,
) -> EventChange:
    warnings: list[Problem] = []

    def checked(text: str, _: list[Event]) -> str:
        changed = edit(text)
        warnings.extend(warnings_of(folder, EVENTS, changed, clock))
        return changed

    told = Told(was=None if before is None else _item(before), now=_item(after), reason=reason)
    change(
        folder,
        EVENTS,
        _READER,
        checked,
        lambda _, new: new == wanted,
        action=action,
        subject=after.name,
        clock=clock,
        told=told,
        begin=_BEGIN,
    )
    return EventChange(name=after.name, before=before, after=after, warnings=tuple(warnings))


def _need(folder: Path) -> None:
    if not (folder / SETTINGS).is_file():
        raise ConfigError([str(no_workspace(folder))])


def _known(raises: Mapping[str, PriorityName], tenants: Mapping[str, Tenant]) -> None:
    for target in raises:
        if not channels_of(target, tenants):
            places = [(tenant, channel) for tenant, one in tenants.items() for channel in one.channels]
            plain = sorted({channel for _, channel in places})
            raise UnknownChannelError(target, plain + [f"{tenant}/{channel}" for tenant, channel in places])


def _free(name: str, taken: set[str]) -> str:
    """A name that no event has: the next in a row of its own."""
    number = 2
    while (found := f"{name[:60]}-{number}") in taken:
        number += 1
    return found


def _time(wall_ns: int) -> str:
    """As documents write it, to the millisecond."""
    time = _EPOCH + timedelta(milliseconds=wall_ns // 1_000_000)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _item(event: Event) -> Any:
    """As documents write it, what is not set left out."""
    return msgspec.to_builtins(event)

"""Events to timelines: for each channel, worked out once, what is raised when; a request then looks up one instant.

Events may overlap, and one may name a channel in two ways. At each instant the highest class that any of them names
counts, and only where it is higher than the declared one, so that an event never lowers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trimtab.core.clock import instant_ns
from trimtab.core.contract import Priority, PriorityName
from trimtab.core.events import Event, Raise, Timeline
from trimtab.core.tenancy import Tenant


class _Span(NamedTuple):
    begin_ns: int
    end_ns: int | None
    priority: PriorityName
    event: str


def timelines(events: Sequence[Event], tenants: Mapping[str, Tenant]) -> dict[tuple[str, str], Timeline]:
    """By (tenant, channel), those alone that are raised at any time. Names that stand for nothing, which `check` takes
    in events that have ended, raise nothing. The documents must have passed `check` otherwise."""
    spans: dict[tuple[str, str], list[_Span]] = {}
    for event in events:
        begin_ns, end_ns = instant_ns(event.begins), None if event.ends is None else instant_ns(event.ends)
        for target, priority in event.raises.items():
            for place in channels_of(target, tenants):
                if Priority[priority] < Priority[declared(tenants, *place)]:
                    spans.setdefault(place, []).append(_Span(begin_ns, end_ns, priority, event.name))
    return {place: _timeline(found) for place, found in spans.items()}


def channels_of(target: str, tenants: Mapping[str, Tenant]) -> list[tuple[str, str]]:
    """(tenant, channel) of each channel that `TENANT/CHANNEL` or `CHANNEL` stands for."""
    tenant, slash, channel = target.rpartition("/")
    within: Iterable[Tenant | None] = (tenants.get(tenant),) if slash else tenants.values()
    return [(one.id, channel) for one in within if one is not None and channel in one.channels]


def declared(tenants: Mapping[str, Tenant], tenant: str, channel: str) -> PriorityName:
    """The class of a channel while nothing is raised."""
    return tenants[tenant].channels[channel].priority or tenants[tenant].priority


def _timeline(spans: list[_Span]) -> Timeline:
    """One step at each instant at which a span begins or ends and the outcome changes."""
    changes: dict[int, list[tuple[int, bool]]] = {}
    for index, span in enumerate(spans):
        changes.setdefault(span.begin_ns, []).append((index, True))
        if span.end_ns is not None:
            changes.setdefault(span.end_ns, []).append((index, False))
    begins: list[int] = []
    raises: list[Raise | None] = []
    running: dict[int, _Span] = {}
    for instant, changed in sorted(changes.items()):
        for index, begun in changed:
            if begun:
                running[index] = spans[index]
            else:
                del running[index]
        now = _raise(list(running.values()))
        if not raises or now != raises[-1]:
            begins.append(instant)
            raises.append(now)
    return Timeline(tuple(begins), tuple(raises))


def _raise(running: list[_Span]) -> Raise | None:
    if not running:
        return None
    highest = min(running, key=lambda span: Priority[span.priority]).priority
    return Raise(highest, tuple(sorted({span.event for span in running if span.priority == highest})))

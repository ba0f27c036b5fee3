"""Events: names, times, and the channels that they raise."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.controlplane.registry.checks.view import Found, View, absent, error, instant, warning
from trimtab.controlplane.registry.documents import EVENTS
from trimtab.controlplane.registry.timelines import channels_of, declared
from trimtab.core.clock import instant_ns
from trimtab.core.contract import Priority
from trimtab.core.events import Event
from trimtab.core.tenancy import Tenant
from trimtab.foundations.config import Path, did_you_mean


def names(view: View) -> Found:
    """A name is one event's, so that a record that names it says which."""
    seen: dict[str, int] = {}
    for index, event in enumerate(view.documents.events):
        first = seen.setdefault(event.name, index)
        if first != index:
            message = f"[{first}] is named {event.name!r} already"
            yield error(EVENTS, (index, "name"), message, f"Write e.g. name: {event.name}-2")


def times(view: View) -> Found:
    """Times are of the calendar, and an event ends after it begins."""
    for index, event in enumerate(view.documents.events):
        real = True
        for field, text in (("from", event.begins), ("to", event.ends)):
            if text is not None and instant(text) is None:
                real = False
                message = f"{text!r} is no date of the calendar"
                yield error(EVENTS, (index, field), message, "Write e.g. 2026-11-24T09:00:00Z")
        if real and event.ends is not None and instant_ns(event.ends) <= instant_ns(event.begins):
            yield error(EVENTS, (index, "to"), f"is not after from ({event.begins})", "One of the two is wrong.")


def raises(view: View) -> Found:
    """What is raised is there, and is raised. Of an event that has ended nothing is asked: it stays for history, and
    channels come and go."""
    tenants = {tenant.id: tenant for tenant in view.documents.tenants.values()}
    for index, event in enumerate(view.documents.events):
        if not has_ended(event, view.wall_ns):
            for target in event.raises:
                yield from _raise(tenants, (index, "raise", target), target, event)


def _raise(tenants: Mapping[str, Tenant], path: Path, target: str, event: Event) -> Found:
    places = channels_of(target, tenants)
    if not places:
        yield from no_channel(EVENTS, tenants, path, target)
        return
    classes = {declared(tenants, *place) for place in places}
    if all(Priority[one] <= Priority[event.raises[target]] for one in classes):
        message = f"raises nothing: {target} is declared {' and '.join(sorted(classes))}"
        yield warning(EVENTS, path, message, "Write a higher class, or delete the line.")


def no_channel(file: str, tenants: Mapping[str, Tenant], path: Path, target: str) -> Found:
    """A `TENANT/CHANNEL` or `CHANNEL` that stands for nothing."""
    tenant, slash, channel = target.rpartition("/")
    if slash and tenant not in tenants:
        yield absent(file, path, "tenant", tenant, tenants)
    elif slash:
        hint = did_you_mean(channel, tenants[tenant].channels)
        yield error(file, path, f"{tenant} has no channel {channel!r}", hint)
    else:
        known = {name for one in tenants.values() for name in one.channels}
        yield absent(file, path, "channel", channel, sorted(known))


def has_ended(event: Event, wall_ns: int) -> bool:
    """Whether it is over at this instant; a time that no calendar has is not."""
    return event.ends is not None and instant(event.ends) is not None and instant_ns(event.ends) <= wall_ns


CHECKS = (names, times, raises)

"""Event mode: for a while, channels are of a higher priority class than the one that they declare. Plain values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from trimtab.core.contract import PriorityName
from trimtab.core.document import Document, Time

EventName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$",
        description="a-z, 0-9 and dashes",
        examples=["autumn-sale"],
    ),
]
Raisable = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}(?:/[a-z0-9][a-z0-9-]{0,63})?$",
        description="CHANNEL or TENANT/CHANNEL",
        examples=["checkout-bot"],
    ),
]
RaisedTo = Annotated[PriorityName, Meta(examples=["critical"])]


class Event(Document, frozen=True, kw_only=True):
    """While it runs, channels have the higher of the class that they declare and the one that is raised here."""

    name: EventName
    """Its name in records, in `trimtab explain` and on the command line. No two events have the same."""
    begins: Time = msgspec.field(name="from")
    """When it begins."""
    ends: Time | None = msgspec.field(name="to", default=None)
    """When it ends; unset, when it is stopped."""
    raises: Annotated[dict[Raisable, RaisedTo], Meta(min_length=1)] = msgspec.field(name="raise")
    """The priority class by channel: `TENANT/CHANNEL`, or `CHANNEL` for those of this name of all tenants. It raises
    and never lowers: a channel that declares a higher class keeps it."""


class Raise(msgspec.Struct, frozen=True):
    """What the events that run make of a channel's class."""

    priority: PriorityName
    """Always a higher one than the channel declares."""
    events: tuple[str, ...]
    """Names of the events that raise it to that, sorted."""


class Timeline(msgspec.Struct, frozen=True):
    """When a channel's class is raised: `raises[i]` holds from `begins_ns[i]` (wall time) until the next one begins."""

    begins_ns: tuple[int, ...]
    raises: tuple[Raise | None, ...]

    def at(self, wall_ns: int) -> Raise | None:
        """What is raised at this instant; None: nothing, the declared class holds."""
        index = bisect_right(self.begins_ns, wall_ns)
        return self.raises[index - 1] if index else None


Timelines = Mapping[tuple[str, str], Timeline]
"""By (tenant, channel): those that any event raises at any time."""

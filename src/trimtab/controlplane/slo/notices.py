"""From alerts to what is sent: one notice for all alerts of a channel and severity, told once, again when it grows, and
when it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from trimtab.controlplane.slo.changes import Changes
from trimtab.controlplane.slo.engine import Alert, Status
from trimtab.controlplane.slo.window import Severity
from trimtab.core.objectives import Receiver, stands_for


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a group last: (objective, by) of each alert."""

    since_ns: int
    said: list[tuple[str, str]]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `key`: the same for all messages of a group. `alerts`: those that are on; of one that `ended`, none.
    `channel` None: the tenant's own budget."""

    key: str
    tenant: str
    channel: str | None
    severity: Severity
    state: Literal["firing", "changed", "ended"]
    at_ns: int
    since_ns: int
    alerts: tuple[Alert, ...]
    statuses: tuple[Status, ...]
    changes: Changes | None = None
    link: str | None = None

    @property
    def place(self) -> str:
        return self.tenant if self.channel is None else f"{self.tenant}/{self.channel}"

    @property
    def headline(self) -> str:
        """One line."""
        if self.state == "ended":
            return f"{self.place}: over ({self.severity})"
        named = ", ".join(dict.fromkeys(alert.objective.removeprefix(f"{self.place}/") for alert in self.alerts))
        return f"{self.place}: budget of {named} burns ({self.severity})"


def notices(
    statuses: Iterable[Status], told: dict[str, Told], now_ns: int, link: str | None = None
) -> tuple[list[Notice], dict[str, Told]]:
    """What is to be said now, and what will have been said then. A group whose alerts are the same, or fewer, is not
    told again; one without any is told to be over."""
    groups: dict[str, list[tuple[Status, Alert]]] = {}
    for status in statuses:
        for alert in status.alerts:
            groups.setdefault(f"{status.objective.place}:{alert.severity}", []).append((status, alert))
    found: list[Notice] = []
    after: dict[str, Told] = {}
    for key, members in groups.items():
        said = sorted((alert.objective, by) for _, alert in members for by in alert.by)
        before = told.get(key)
        if before is not None and set(said) <= set(before.said):
            after[key] = before
            continue
        status, first = members[0]
        since_ns = before.since_ns if before is not None else _since(members, now_ns)
        after[key] = Told(since_ns=since_ns, said=said)
        found.append(
            Notice(
                key=key,
                tenant=status.objective.tenant,
                channel=status.objective.channel,
                severity=first.severity,
                state="firing" if before is None else "changed",
                at_ns=now_ns,
                since_ns=since_ns,
                alerts=tuple(alert for _, alert in members),
                statuses=tuple(one for one, _ in members),
                link=link,
            )
        )
    found += [_ended(key, before, now_ns, link) for key, before in told.items() if key not in groups]
    return found, after


def wants(receiver: Receiver, notice: Notice) -> bool:
    """Whether this receiver is told. A tenant's own budget is told to who asks for any of its channels."""
    if notice.severity not in receiver.severities:
        return False
    if notice.channel is None:
        return any(
            stands_for(glob.rpartition("/")[0] or "*", notice.tenant, notice.tenant) for glob in receiver.channels
        )
    return any(stands_for(glob, notice.tenant, notice.channel) for glob in receiver.channels)


def _since(members: list[tuple[Status, Alert]], now_ns: int) -> int:
    return min((alert.since_ns for _, alert in members if alert.since_ns is not None), default=now_ns)


def _ended(key: str, before: Told, now_ns: int, link: str | None) -> Notice:
    place, _, severity = key.rpartition(":")
    tenant, slash, channel = place.partition("/")
    return Notice(
        key=key,
        tenant=tenant,
        channel=channel if slash else None,
        severity="page" if severity == "page" else "ticket",
        state="ended",
        at_ns=now_ns,
        since_ns=before.since_ns,
        alerts=(),
        statuses=(),
        link=link,
    )

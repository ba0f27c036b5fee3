"""What changed when an alert began: releases, traffic, faults of upstreams, refusals; from the channel's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from trimtab.core.record import Record

_MOST: Final = 3


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The span [since, until) beside the one of the same length before it. Counts are of the span, the most frequent
    first. `releases`: in the order in which they first answered, the one before the span first. `traffic`: requests
    against the span before; None: there were none."""

    since_ns: int
    until_ns: int
    requests: int
    traffic: float | None
    releases: tuple[str, ...]
    faults: tuple[tuple[str, int], ...]
    codes: tuple[tuple[str, int], ...]

    def lines(self) -> Iterator[str]:
        """In words, what is there to say alone."""
        if len(self.releases) > 1:
            yield f"release {' -> '.join(self.releases)}"
        if self.traffic is not None and not 0.67 <= self.traffic <= 1.5:
            yield f"traffic {self.traffic:.1f} times that of the {minutes(self.since_ns, self.until_ns)} before"
        for fault, count in self.faults:
            yield f"{count:,} attempts failed: {fault}"
        for code, count in self.codes:
            yield f"{count:,} requests ended with {code}"


def changes(rows: Iterable[Record], tenant: str, channel: str | None, since_ns: int, until_ns: int) -> Changes:
    """Of this channel (None: of the tenant). `rows`: at least those from `since_ns` less the span's length on."""
    before_ns = 2 * since_ns - until_ns
    mine = [
        row
        for row in rows
        if row.kind == "request"
        and row.tenant == tenant
        and channel in (None, row.channel)
        and before_ns <= row.t_wall_ns < until_ns
    ]
    mine.sort(key=lambda row: row.t_wall_ns)
    now = [row for row in mine if row.t_wall_ns >= since_ns]
    before = len(mine) - len(now)
    releases = dict.fromkeys(row.snapshots.release for row in (*mine[:before][-1:], *now))
    faults = Counter(
        f"{attempt.replica}: {attempt.reason or 'dropped'}"
        for row in now
        for attempt in row.attempts
        if attempt.outcome == "dropped"
    )
    codes = Counter(row.code for row in now if row.code is not None)
    return Changes(
        since_ns=since_ns,
        until_ns=until_ns,
        requests=len(now),
        traffic=len(now) / before if before else None,
        releases=tuple(one for one in releases if one is not None),
        faults=tuple(faults.most_common(_MOST)),
        codes=tuple(codes.most_common(_MOST)),
    )


def minutes(since_ns: int, until_ns: int) -> str:
    """`30 minutes`."""
    return f"{max(1, (until_ns - since_ns) // (60 * 10**9))} minutes"

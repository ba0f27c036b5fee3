"""What keeps a lake small: files joined, days let go, a tenant's rows gone for good.

Every change is a commit, so a reader that has begun goes on with the version that it took. Files that no version of the
last `history_h` hours reads are deleted; within that time any of these versions can still be read.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from trimtab.controlplane.lake.base import LakeError, need_libraries

if TYPE_CHECKING:
    from trimtab.controlplane.lake.adapters.delta import Table

_TENANT = re.compile(r"[a-z0-9-]+|_")


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """`joined` files became `into`; `dropped` files were of days that are no longer kept; `deleted` are off the
    disk."""

    joined: int
    into: int
    dropped: int
    deleted: int


def compact(table: Table, *, keep_days: int | None, history_h: int, now_ns: int) -> Compacted:
    """Join small files, drop days before the last `keep_days` (None: none), delete what nobody reads any more.

    Raises BusyError where another process of this machine changes the table. On object storage nothing keeps another
    machine from compacting at the same time, which would double rows: one machine does it.
    """
    need_libraries()
    with table.alone("changes the lake"):
        dropped = 0 if keep_days is None else table.drop(f"day < '{_first(keep_days, now_ns).isoformat()}'")
        joined, into = table.compact()
        return Compacted(joined=joined, into=into, dropped=dropped, deleted=table.vacuum(history_h))


def erase(table: Table, tenant: str) -> int:
    """Remove all rows of a tenant, now and from every earlier version; how many files.

    A reader of an earlier version fails from then on where it reads that tenant's rows. Rows that a journal still has
    do not come back: the mark is behind them. Raises LakeError for what can't be a tenant's name, BusyError as above.
    """
    need_libraries()
    if not _TENANT.fullmatch(tenant):
        raise LakeError(f"{tenant!r} is no name of a tenant")
    with table.alone("changes the lake"):
        count = table.drop(f"tenant = '{tenant}'")
        table.sweep("tenant", tenant)
        return count


def _first(keep_days: int, now_ns: int) -> date:
    """The first day that is kept; today counts."""
    today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date()
    return today - timedelta(days=keep_days - 1)


__all__ = ["Compacted", "compact", "erase"]

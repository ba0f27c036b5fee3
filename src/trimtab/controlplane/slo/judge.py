"""What one record says to an objective: whether it counts, and whether it was bad, or what it cost.

A request that was never owed an answer (a wrong key, a rate or budget that is used up, a caller who hung up) is neither
good nor bad. What can't be told is counted as unknown, so that a budget says how much it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from trimtab.controlplane.slo.objectives import Objective
from trimtab.core.errors import Code
from trimtab.core.objectives import Kind
from trimtab.core.outcome import reserved_ns
from trimtab.core.record import Record

KINDS: Final = ("request", "refused", "adjust", "lost", "verdict")
"""Of rows that objectives are counted from."""
FAILED: Final = frozenset(code.wire for code in Code if code.status >= 500) | {Code.QUEUE_FULL.wire}
"""Codes with which a request that was owed an answer got none: a failure of ours or of an upstream, or no room."""


class Told(NamedTuple):
    """`spent`: 1 for a bad request, or nano-dollars. `unknown`: 1 where nothing can be told."""

    at_ns: int
    events: int
    spent: int
    unknown: int = 0


def told(objective: Objective, row: Record) -> Told | None:
    """None: the row is not about this objective. Whose row it is, tenant and channel, the caller has looked at."""
    if objective.route is not None and row.route != objective.route:
        return None
    return _JUDGES[objective.kind](objective, row)


def _share(row: Record, good: bool | None) -> Told:
    if good is None:
        return Told(row.t_wall_ns, 0, 0, 1)
    return Told(row.t_wall_ns, 1, int(not good))


def _latency(objective: Objective, row: Record) -> Told | None:
    if row.kind != "request" or row.met.latency is None:
        return None
    if objective.ttft_ms is None and objective.e2e_ms is None:
        return _share(row, row.met.latency)
    if row.status != 200 or row.code is not None or row.e2e_ms is None:
        return _share(row, False)  # cut at its deadline, or in the middle
    in_time = objective.e2e_ms is None or row.e2e_ms <= objective.e2e_ms
    begun = objective.ttft_ms is None or row.ttft_ms is None or row.ttft_ms <= objective.ttft_ms
    return _share(row, in_time and begun)


def _availability(objective: Objective, row: Record) -> Told | None:
    if row.kind == "refused":
        count = row.count or 0
        return Told(row.t_wall_ns, count, count if row.code in FAILED else 0)
    if row.kind != "request":
        return None
    if row.code is None:
        return _share(row, True) if row.status == 200 else None
    return _share(row, False) if row.code in FAILED else None


def _quality(objective: Objective, row: Record) -> Told | None:
    if row.kind == "verdict":
        return None if row.met.quality is None else _share(row, row.met.quality)
    return _share(row, row.met.quality) if _answered(row) else None


def _guard(objective: Objective, row: Record) -> Told | None:
    blocked = row.kind == "request" and any(guard.action == "blocked" for guard in row.guards)
    return _share(row, not blocked) if blocked or _answered(row) else None


def _cost(objective: Objective, row: Record) -> Told | None:
    if not _answered(row):
        return None
    if objective.usd_nano is None:
        return _share(row, row.met.cost)
    settled = row.cost.settled_nanousd
    return _share(row, None if settled is None else settled <= objective.usd_nano)


def _spend(objective: Objective, row: Record) -> Told | None:
    """In the period in which its money was reserved, as the budget itself counts it."""
    if row.kind not in ("request", "adjust", "lost"):
        return None
    at_ns = reserved_ns(row)
    settled, counts = row.cost.settled_nanousd, int(row.kind == "request")
    return Told(at_ns, 0, 0, counts) if settled is None else Told(at_ns, counts, settled)


def _answered(row: Record) -> bool:
    return row.kind == "request" and row.status == 200 and row.code is None


_JUDGES: Final[Mapping[Kind, Callable[[Objective, Record], Told | None]]] = {
    "latency": _latency,
    "availability": _availability,
    "quality": _quality,
    "guard": _guard,
    "cost": _cost,
    "spend": _spend,
}

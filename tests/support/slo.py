"""Rows for the SLO engine, objectives to hold them to, and traffic by seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.records import row
from trimtab.controlplane.slo import Objective, Window
from trimtab.core.clock import NS_PER_S, SystemClock
from trimtab.core.ids import ClockIds
from trimtab.core.record import Record
from trimtab.core.rows import CostRow, Met

MINUTE, HOUR, DAY = 60 * NS_PER_S, 3600 * NS_PER_S, 86_400 * NS_PER_S
NOW = 20_800 * DAY + 12 * HOUR  # noon, UTC


def seeded(seed: int) -> Any:
    return ClockIds(SystemClock(), seed).random


def answer(at_ns: int, good: bool | None = True, **fields: Any) -> Record:
    """An answered request of shop/bot whose latency was kept or missed."""
    made = {"t_wall_ns": at_ns, "tenant": "shop", "channel": "bot", "status": 200, "met": Met(latency=good)}
    return row(**(made | fields))


def failure(at_ns: int, code: str = "upstream_failed", status: int = 502) -> Record:
    return answer(at_ns, None, status=status, code=code)


def paid(at_ns: int, nanousd: int | None, kind: str = "request") -> Record:
    return answer(at_ns, None, kind=kind, cost=CostRow(settled_nanousd=nanousd))


def latency(target: float = 0.95, window: str = "30d", **more: Any) -> Objective:
    made: dict[str, Any] = {
        "id": "shop/bot/latency", "kind": "latency", "tenant": "shop", "channel": "bot",
        "window": Window.parse(window), "target": target,
    }  # fmt: skip
    return Objective(**(made | more))


def spend(usd_nano: int, window: str = "30d", **more: Any) -> Objective:
    made: dict[str, Any] = {
        "id": "shop/bot/spend", "kind": "spend", "tenant": "shop", "channel": "bot",
        "window": Window.parse(window), "usd_nano": usd_nano, "freeze_below": None,
    }  # fmt: skip
    return Objective(**(made | more))


def traffic(seed: int, start_ns: int, end_ns: int, per_hour: float, bad: float) -> Iterator[Record]:
    """Requests at random times, each bad with this probability."""
    random, at_s = seeded(seed), start_ns / NS_PER_S
    while (at_s := at_s + random.expovariate(per_hour / 3600)) < end_ns / NS_PER_S:
        yield answer(int(at_s * NS_PER_S), random.random() >= bad)

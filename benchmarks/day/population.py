"""Who asks what, and when: a day of arrivals, and the questions of a workspace's channels."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.sets import AbsentError
from benchmarks.sets import read as rows_of

DAY_S = 86_400
SETS = {
    "traffic": "a_traffic/servegen_m_small_clients.parquet",
    "questions": "b_intent/bitext_customer_service.parquet",
}


class Asked(NamedTuple):
    """One request to come; `at_s` from the day's start."""

    at_s: float
    tenant: str
    channel: str
    text: str


def read(name: str, given: dict[str, str]) -> list[dict[str, Any]]:
    """A set's rows. Raises AbsentError."""
    return rows_of(name, SETS, given)


def arrivals(rows: Sequence[dict[str, Any]], day: int, count: int, chosen: random.Random) -> list[float]:
    """`count` times, in order: the rates of all clients by ten minutes, a Poisson process given its number."""
    rates: dict[float, float] = {}
    for row in rows:
        if day * DAY_S <= row["window_start_s"] < (day + 1) * DAY_S:
            at = row["window_start_s"] - day * DAY_S
            rates[at] = rates.get(at, 0.0) + row["rate_rps"]
    if not rates:
        raise AbsentError(f"traffic: no window of day {day}")
    windows = list(rates)
    drawn = chosen.choices(windows, [rates[at] for at in windows], k=count)
    return sorted(at + chosen.random() * 600 for at in drawn)


def popular(
    places: Sequence[tuple[str, str, str]], exponent: float, chosen: random.Random
) -> Iterator[tuple[str, str, str]]:
    """(tenant, channel, text) for ever, the k-th most popular in proportion to k ** -exponent. Which one that is, is
    chosen once (Breslau et al., Web Caching and Zipf-like Distributions, 1999: 0.64 to 0.83 for pages)."""
    order = list(places)
    chosen.shuffle(order)
    weights = [(rank + 1) ** -exponent for rank in range(len(order))]
    while True:
        yield from chosen.choices(order, weights, k=1000)


def at_random(at: Sequence[float], asked: Iterator[tuple[str, str, str]]) -> list[Asked]:
    """Each arrival with what it asks."""
    return [Asked(at_s, *next(asked)) for at_s in at]

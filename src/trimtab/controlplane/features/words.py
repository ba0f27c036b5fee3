"""A feature in SQL: which rows of the lake it counts, from when each was known, and what is made of them.

    fact(key, known, until, x)    a row that counts: whose, known from when up to when (null: for good), its value
    ask(i, key, t)                whose figure is asked for, as of when
    ->  i, n, value               of facts with t - window <= known < t, and not yet superseded at t

One statement for every reading: as of an instant, for many rows at once, and of all keys when values are published. A
sum is exact: of decimals, so that it does not depend on the order of rows. Percentiles are values that were seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from trimtab.controlplane.lake.schema import NOBODY, quoted, text
from trimtab.core.features import Entity, Feature, columns

KEYS: Final[dict[Entity, str]] = {
    "tenant": "tenant",
    "channel": "tenant || '/' || channel",
    "market": "market",
    "variant": "variant",
    "tier": "tier",
}
"""SQL of whose a row is."""
LONGEST_DAYS: Final = 4
"""A request ends within these days of its arrival, by which rows are filed; deadlines end before three."""
_EXACT: Final = "DECIMAL(38, 9)"
_MADE: Final = {
    "count": "count(x)::DOUBLE",
    "share": "sum(x)::DOUBLE / count(x)",
    "mean": "sum(x)::DOUBLE / count(x)",
    "sum": "sum(x)::DOUBLE",
    "p50": "quantile_disc(x, 0.5)::DOUBLE",
    "p95": "quantile_disc(x, 0.95)::DOUBLE",
    "max": "max(x)::DOUBLE",
}


class Ask(NamedTuple):
    """Whose figure, as of when."""

    key: str
    t_ns: int


def at_points(feature: Feature, asks: Sequence[Ask]) -> str:
    """Rows of (number of the ask, rows counted, value; null with none)."""
    listed = ", ".join(f"({index}, {text(one.key)}, {one.t_ns})" for index, one in enumerate(asks))
    first, last = min(one.t_ns for one in asks), max(one.t_ns for one in asks)
    return (
        f"WITH fact AS ({_facts(feature, first - feature.window_ns, last)}), "  # noqa: S608 - quoted
        f"ask(i, key, t) AS (VALUES {listed}) "
        f"SELECT ask.i, count(x), {_MADE[feature.value]} FROM ask "
        f"LEFT JOIN fact ON fact.key = ask.key AND {_seen(feature)} GROUP BY ask.i ORDER BY ask.i"
    )


def of_all(feature: Feature, t_ns: int) -> str:
    """Rows of (key, rows counted, value) of every key that has some as of `t_ns`."""
    return (
        f"WITH fact AS ({_facts(feature, t_ns - feature.window_ns, t_ns)}), ask(t) AS (VALUES ({t_ns})) "  # noqa: S608
        f"SELECT key, count(x), {_MADE[feature.value]} FROM ask JOIN fact ON {_seen(feature)} GROUP BY key ORDER BY key"
    )


def spread(feature: Feature, since_ns: int, before_ns: int) -> str:
    """Rows of (value, how often) of all facts that were known in this stretch, whoever's."""
    return (
        f"SELECT x, count(*) FROM ({_facts(feature, since_ns, before_ns)}) "  # noqa: S608 - quoted
        f"WHERE known >= {since_ns} AND known < {before_ns} AND (until IS NULL OR until >= {before_ns}) GROUP BY x"
    )


def said(name: str, since_ns: int, before_ns: int) -> str:
    """As above, of what the classifier said of requests."""
    column = f"features.{name}.value"
    x = f"TRY_CAST({_path(column)} AS {_EXACT})" if columns()[column] == "number" else _path(column)
    return (
        f"SELECT {x} AS x, count(*) FROM ({_rows('request', since_ns, before_ns)}) "  # noqa: S608 - quoted
        f"WHERE known >= {since_ns} AND known < {before_ns} AND x IS NOT NULL GROUP BY x"
    )


def _seen(feature: Feature) -> str:
    return (
        f"fact.known < ask.t AND fact.known >= ask.t - {feature.window_ns} "
        "AND (fact.until IS NULL OR fact.until >= ask.t)"
    )


def _rows(kind: Literal["request", "verdict"], since_ns: int, before_ns: int) -> str:
    """Rows of a kind with when they were known, those whose days can't matter left out."""
    known, until = "t_wall_ns", "NULL::BIGINT"
    if kind == "request":
        known = "t_wall_ns + ceil(e2e_ms * 1000000)::BIGINT"
    else:  # the next verdict of this name about this answer takes its place, from when it is known
        until = 'lead(t_wall_ns) OVER (PARTITION BY "of", verdict."name" ORDER BY t_wall_ns, seq)'
    days = f"day >= {_day(since_ns, -LONGEST_DAYS)} AND day <= {_day(before_ns, 0)}"
    return (
        f"SELECT *, {known} AS known, {until} AS until FROM records "  # noqa: S608 - no outside text
        f"WHERE kind = {text(kind)} AND {days}"
    )


def _facts(feature: Feature, since_ns: int, before_ns: int) -> str:
    """Rows that count."""
    rows = _rows(feature.rows, since_ns, before_ns)
    conditions = [*_conditions(feature.where.items()), f"tenant <> {text(NOBODY)}"]
    return (
        f"SELECT {KEYS[feature.of]} AS key, known, until, {_x(feature)} AS x FROM ({rows}) "  # noqa: S608 - quoted
        f"WHERE {' AND '.join(conditions)} AND {KEYS[feature.of]} IS NOT NULL AND {_x(feature)} IS NOT NULL"
    )


def _x(feature: Feature) -> str:
    """What a row adds; null: it does not count."""
    if feature.value == "count":
        return f"1::{_EXACT}"
    if feature.column is not None:
        return f"TRY_CAST({_path(feature.column)} AS {_EXACT})"
    unknown = " OR ".join(f"{_path(name)} IS NULL" for name in feature.holds)
    holds = " AND ".join(_conditions(feature.holds.items()))
    return f"(CASE WHEN {unknown} THEN NULL WHEN {holds} THEN 1 ELSE 0 END)::{_EXACT}"


def _conditions(given: Iterable[tuple[str, Any]]) -> list[str]:
    return [
        f"{_comparable(name)} IN ({', '.join(map(_literal, value if isinstance(value, list) else [value]))})"
        for name, value in given
    ]


def _comparable(name: str) -> str:
    return f"TRY_CAST({_path(name)} AS DOUBLE)" if columns()[name] == "number" else _path(name)


def _literal(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text(value) if isinstance(value, str) else repr(float(value)) + "::DOUBLE"


def _path(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _day(ns: int, more: int) -> str:
    """The day of this instant (UTC), and `more` after it."""
    day = datetime.fromtimestamp(max(0, ns) // 10**9, UTC).date() + timedelta(days=more if ns > 0 else 0)
    return f"DATE '{day.isoformat()}'"


__all__ = ["KEYS", "Ask", "at_points", "of_all", "said", "spread"]

"""What was foreseen beside what came, by group and stretch of time: how a predictor that drifts is seen.

Two things can go wrong. The plain model may be off: `ratio` (outcome / forecast) leaves 1, `error` grows. The corrected
forecast, which is what admission promises, may be exceeded too often: `within` falls below the percentile. Exact
binomial bounds (`foundations.stats.binomial`) say from when on that is no chance; they are those of requests that are
independent, which neighbours in a queue are not quite, and of one line: of many, one in forty is marked by chance.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, Literal

import msgspec

from trimtab.controlplane.records.report import Dimension, value_of
from trimtab.core.outcome import FIGURES, learnt_ms
from trimtab.core.record import Record
from trimtab.core.rows import Figure
from trimtab.foundations.stats import lower, upper

CONFIDENCE: Final = 0.975
"""Of each of the two bounds: 0.95 that the true share lies between."""
_HOUR_NS: Final = 3600 * 1_000_000_000
_DAY_NS: Final = 24 * _HOUR_NS
Stretch = Literal["hour", "day"]


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one group, of what arrived in one stretch of time and was promised with one percentile."""

    begin: str
    """Of the stretch, UTC."""
    group: dict[str, str | None]
    """Value of each dimension."""
    figure: Figure
    """ttft, itl (mean gap) or e2e, from when the request was sent."""
    percentile: float
    """The share of outcomes that was promised to be within the prediction."""
    requests: int
    """That ran to their end and have this figure."""
    ratio: float
    """Median of outcome / the plain model's forecast."""
    error: float
    """Median of |forecast - outcome| / outcome of the plain model."""
    within: float
    """Share of outcomes not above the prediction."""
    lower: float
    """Bounds of that share: exact, 95 % between them."""
    upper: float
    """See `lower`."""
    below: bool
    """All of the interval lies below the promise."""


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """The lines, by time, group, figure and percentile. `stretch`: an hour for up to two days of rows, else a day."""

    by: list[str]
    stretch: Stretch
    since_wall_ns: int
    lines: list[Foreseen]


_Key = tuple[int, tuple[str | None, ...], Figure, float]


def foreseen(rows: Iterable[Record], by: Sequence[Dimension], since_wall_ns: int = 0) -> Predictions:
    """Rows without predictions, and those that did not run to their end, are not counted."""
    hours: dict[_Key, _Seen] = {}
    for row in rows:
        percentile = row.predicted.get("percentile")
        if percentile is None:
            continue
        hour, group = row.t_wall_ns // _HOUR_NS, tuple(value_of(row, dimension) for dimension in by)
        for figure in FIGURES:
            pair, promised = learnt_ms(row, figure), row.predicted.get(f"{figure}_ms")
            if pair is not None and promised is not None:
                hours.setdefault((hour, group, figure, percentile), _Seen()).add(*pair, promised)
    begins = [key[0] for key in hours]
    stretch: Stretch = "hour" if not begins or max(begins) - min(begins) < 48 else "day"
    found = hours if stretch == "hour" else _by_day(hours)
    lines = [seen.line(key, by, stretch) for key, seen in sorted(found.items(), key=lambda item: _order(item[0]))]
    return Predictions(by=list(by), stretch=stretch, since_wall_ns=since_wall_ns, lines=lines)


def _order(key: _Key) -> tuple[int, list[str], int, float]:
    begin, group, figure, percentile = key
    return begin, [value or "" for value in group], FIGURES.index(figure), percentile


def _by_day(hours: dict[_Key, _Seen]) -> dict[_Key, _Seen]:
    days: dict[_Key, _Seen] = {}
    for (hour, *rest), seen in hours.items():
        days.setdefault((hour // 24, *rest), _Seen()).take(seen)  # type: ignore[arg-type]  # a key's own rest
    return days


class _Seen:
    def __init__(self) -> None:
        self.ratios, self.errors = array("d"), array("d")
        self.within = 0

    def add(self, model_ms: float, outcome_ms: float, promised_ms: float) -> None:
        self.ratios.append(outcome_ms / model_ms)
        self.errors.append(abs(model_ms - outcome_ms) / outcome_ms)
        self.within += outcome_ms <= promised_ms

    def take(self, other: _Seen) -> None:
        self.ratios.extend(other.ratios)
        self.errors.extend(other.errors)
        self.within += other.within

    def line(self, key: _Key, by: Sequence[str], stretch: Stretch) -> Foreseen:
        begin, group, figure, percentile = key
        count = len(self.ratios)
        most = upper(self.within, count, CONFIDENCE)
        return Foreseen(
            begin=_begin(begin, stretch),
            group=dict(zip(by, group, strict=True)),
            figure=figure,
            percentile=percentile,
            requests=count,
            ratio=median(self.ratios),
            error=median(self.errors),
            within=self.within / count,
            lower=lower(self.within, count, CONFIDENCE),
            upper=most,
            below=most < percentile,
        )


def _begin(number: int, stretch: Stretch) -> str:
    from datetime import UTC, datetime

    if stretch == "day":
        return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")
    return datetime.fromtimestamp(number * 3600, UTC).strftime("%Y-%m-%dT%H:00Z")

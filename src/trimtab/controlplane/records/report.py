"""What requests came to, by group: counts, exact percentiles, attainment, tokens, money. A pure function of rows.

Exact order statistics over the rows asked for (nearest rank), never sketches: a report must agree with the records to
the last one. Sums take request, adjust and lost rows, counts what was refused on arrival, too, and of what callers said
of each answer (verdict) the last word; a saving counts only where a baseline is known.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from trimtab.core.record import Record
from trimtab.core.rows import VerdictRow

Dimension = Literal[
    "tenant", "channel", "path", "tier", "variant", "arm", "language", "persona", "market", "code", "day"
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
KINDS = ("request", "refused", "adjust", "lost", "verdict")
_NS_PER_DAY = 86_400 * 1_000_000_000
_HITS = ("cache-exact", "cache-semantic")


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one name. `score`: mean of those that have one; `value`: sum of those; `labels`: how often each was said."""

    answers: int
    score: float | None
    value: float | None
    labels: dict[str, int]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One group. Times in ms over answered requests (status 200); shares in [0,1], None where nothing can be told."""

    group: dict[str, str | None]
    requests: int
    answered: int
    refused: int
    """Answers that said no with 4xx, 499 left out."""
    failed: int
    """Answers of 5xx, streams that broke included."""
    left: int
    """Clients that hung up."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    ttft_p95_ms: float | None
    attainment: float | None
    """Share of requests whose latency terms were kept, of those that can be told."""
    hit_rate: float | None
    prompt_tokens: int
    completion_tokens: int
    cost_nanousd: int
    baseline_nanousd: int
    """What the channels' one-model-for-all would have cost, for the requests that have a baseline."""
    saved_nanousd: int
    unpriced: int
    """Requests whose cost nobody knows."""
    verdicts: dict[str, Verdicts] = {}
    """What callers said of answers, by its name; of each answer the last word."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a report, most requests first, and the total."""

    by: list[str]
    since_wall_ns: int
    lines: list[Line]
    total: Line


def summarise(rows: Iterable[Record], by: Sequence[Dimension], since_wall_ns: int = 0) -> Summary:
    """`rows`: of the kinds of KINDS."""
    groups: dict[tuple[str | None, ...], _Sum] = {}
    total = _Sum()
    for row in rows:
        key = tuple(value_of(row, dimension) for dimension in by)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Sum()
        group.add(row)
        total.add(row)
    lines = [part.line(dict(zip(by, key, strict=True))) for key, part in groups.items()]
    lines.sort(key=lambda line: (-line.requests, str(list(line.group.values()))))
    return Summary(by=list(by), since_wall_ns=since_wall_ns, lines=lines, total=total.line({}))


class StageTime(msgspec.Struct, frozen=True, kw_only=True):
    """Of the requests that entered it: how long a stage took, waits and other processes' work included."""

    stage: str
    requests: int
    p50_ms: float
    p99_ms: float
    total_ms: float


def stage_times(rows: Iterable[Record]) -> list[StageTime]:
    """Every stage of these requests, in the order in which they are entered."""
    took: dict[str, array[float]] = {}
    starts: dict[str, float] = {}
    for row in rows:
        for stage, (start, spent) in row.stages.items():
            took.setdefault(stage, array("d")).append(spent)
            starts[stage] = starts.get(stage, 0.0) + start
    found = []
    for stage, spent_ms in took.items():
        ordered = sorted(spent_ms)
        p50, p99 = rank(ordered, 0.50), rank(ordered, 0.99)
        assert p50 is not None
        assert p99 is not None
        found.append(StageTime(stage=stage, requests=len(ordered), p50_ms=p50, p99_ms=p99, total_ms=sum(ordered)))
    return sorted(found, key=lambda one: starts[one.stage] / one.requests)


def rank(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


class _Sum:
    def __init__(self) -> None:
        self.requests = self.answered = self.refused = self.failed = self.left = self.hits = self.unpriced = 0
        self.prompt = self.completion = self.cost = self.baseline = self.saved = 0
        self.kept = self.judged = 0
        self.e2e, self.ttft = array("d"), array("d")
        self.said: dict[tuple[str, str], tuple[int, VerdictRow]] = {}

    def add(self, row: Record) -> None:
        if row.kind == "verdict":
            self._said(row)
            return
        if row.kind == "refused":
            self.requests += row.count or 0
            self.failed += row.count or 0
            return
        self.cost += row.cost.settled_nanousd or 0
        if row.kind != "request":
            self.saved -= row.cost.settled_nanousd or 0
            return
        self.requests += 1
        self._status(row)
        self.hits += row.path in _HITS
        self.unpriced += row.cost.settled_nanousd is None
        self.prompt += row.tokens.prompt or 0
        self.completion += row.tokens.completion or 0
        if row.cost.baseline_nanousd is not None:
            self.baseline += row.cost.baseline_nanousd
            self.saved += row.cost.baseline_nanousd - (row.cost.settled_nanousd or 0)
        if row.met.latency is not None:
            self.judged += 1
            self.kept += row.met.latency

    def _said(self, row: Record) -> None:
        if row.verdict is None or row.of is None:
            return
        key = row.verdict.name, row.of
        last = self.said.get(key)
        if last is None or last[0] <= row.t_wall_ns:
            self.said[key] = row.t_wall_ns, row.verdict

    def _verdicts(self) -> dict[str, Verdicts]:
        """By name."""
        found: dict[str, list[VerdictRow]] = {}
        for (name, _), (_, verdict) in self.said.items():
            found.setdefault(name, []).append(verdict)
        return {name: _summed(each) for name, each in sorted(found.items())}

    def _status(self, row: Record) -> None:
        status = row.status or 0
        if status == 200:
            self.answered += 1
            if row.e2e_ms is not None:
                self.e2e.append(row.e2e_ms)
            if row.ttft_ms is not None:
                self.ttft.append(row.ttft_ms)
        elif status == 499:
            self.left += 1
        elif status >= 500:
            self.failed += 1
        else:
            self.refused += 1

    def line(self, group: dict[str, str | None]) -> Line:
        e2e, ttft = sorted(self.e2e), sorted(self.ttft)
        return Line(
            group=group,
            requests=self.requests,
            answered=self.answered,
            refused=self.refused,
            failed=self.failed,
            left=self.left,
            p50_ms=rank(e2e, 0.50),
            p95_ms=rank(e2e, 0.95),
            p99_ms=rank(e2e, 0.99),
            ttft_p95_ms=rank(ttft, 0.95),
            attainment=self.kept / self.judged if self.judged else None,
            hit_rate=self.hits / self.answered if self.answered else None,
            prompt_tokens=self.prompt,
            completion_tokens=self.completion,
            cost_nanousd=self.cost,
            baseline_nanousd=self.baseline,
            saved_nanousd=self.saved,
            unpriced=self.unpriced,
            verdicts=self._verdicts(),
        )


def _summed(said: Sequence[VerdictRow]) -> Verdicts:
    scores = [one.score for one in said if one.score is not None]
    values = [one.value for one in said if one.value is not None]
    labels: dict[str, int] = {}
    for one in said:
        if one.label is not None:
            labels[one.label] = labels.get(one.label, 0) + 1
    return Verdicts(
        answers=len(said),
        score=sum(scores) / len(scores) if scores else None,
        value=math.fsum(values) if values else None,
        labels=labels,
    )


def value_of(row: Record, dimension: Dimension) -> str | None:
    """What a row is grouped by."""
    if dimension == "language":
        feature = row.features.language if row.features is not None else None
        return None if feature is None or feature.value is None else str(feature.value)
    if dimension == "day":
        return _day(row.t_wall_ns)
    if dimension == "arm":  # as assigned, whoever then answered: what is compared is as it was drawn
        return None if row.experiment is None else f"{row.experiment.name}/{row.experiment.arm}"
    value: str | None = getattr(row, dimension)
    return f"{row.tenant}/{value}" if dimension == "channel" and value is not None else value


def _day(wall_ns: int) -> str:
    """The UTC day, as on the calendar."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(wall_ns // _NS_PER_DAY * 86_400, UTC).strftime("%Y-%m-%d")

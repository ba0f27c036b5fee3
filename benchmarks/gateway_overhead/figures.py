"""From passes to figures: rows (a median and spread a gateway and metric) and claims (a ratio against a target)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from benchmarks.gateway_overhead.native import Series
from benchmarks.gateway_overhead.runner import Measured, Run

OURS = "trimtab"


@dataclass(frozen=True)
class Metric:
    """One figure of a scenario; None where it can't be had."""

    scenario: str
    title: str
    unit: str
    get: Callable[[Measured], float | None]

    def of(self, run: Run) -> float | None:
        """From a pass; unusable measurements give no figure."""
        measured = run.measured.get(self.scenario)
        return None if measured is None or measured.problem is not None else self.get(measured)


@dataclass(frozen=True)
class Whole:
    """One figure of a whole pass."""

    title: str
    unit: str
    of: Callable[[Run], float | None]


def _series(
    which: Literal["lat", "ttft", "gap", "transit"], point: Literal["p50", "p99", "p999"]
) -> Callable[[Measured], float | None]:
    def get(measured: Measured) -> float | None:
        series: Series | None = getattr(measured.load, which)
        return None if series is None else float(getattr(series, point))

    return get


def _per_s(measured: Measured) -> float:
    return measured.load.rps


def _chunks_per_s(measured: Measured) -> float:
    return measured.load.chunks_s


def _cpu_us_per_request(measured: Measured) -> float | None:
    answered = measured.load.answered
    return 1e6 * measured.cpu_s / answered if measured.cpu_s is not None and answered else None


def _cpu_us_per_chunk(measured: Measured) -> float | None:
    chunks = measured.load.chunks
    return 1e6 * measured.cpu_s / chunks if measured.cpu_s is not None and chunks else None


def _pss_mb(measured: Measured) -> float | None:
    return measured.pss_mb


def _largest_rss_mb(run: Run) -> float | None:
    seen = [one.largest_rss_mb for one in run.measured.values() if one.largest_rss_mb is not None]
    return max(seen, default=None)


C1_P50 = Metric("s1_c1", "S1 c=1 p50", "us", _series("lat", "p50"))
C1_P99 = Metric("s1_c1", "S1 c=1 p99", "us", _series("lat", "p99"))
C16_RPS = Metric("s1_c16", "S1 c=16", "req/s", _per_s)
HITS_RPS = Metric("s6_hits", "S6 exact cache hits c=16", "req/s", _per_s)
BURST = Metric("s3_burst", "S3 streams c=16", "chunks/s", _chunks_per_s)
TTFT_200 = Metric("s4_slow200", "S4 200 streams TTFT p99", "us", _series("ttft", "p99"))
GAP_200 = Metric("s4_slow200", "S4 200 streams gap p99", "us", _series("gap", "p99"))
LARGEST_RSS = Whole("largest RSS of one process", "MB", _largest_rss_mb)

FIGURES: tuple[Metric | Whole, ...] = (
    C1_P50,
    C1_P99,
    Metric("s1_c1", "S1 c=1 CPU", "us/req", _cpu_us_per_request),
    C16_RPS,
    Metric("s1_c16", "S1 c=16 p50", "us", _series("lat", "p50")),
    Metric("s1_c16", "S1 c=16 p99", "us", _series("lat", "p99")),
    Metric("s1_c16", "S1 c=16 CPU", "us/req", _cpu_us_per_request),
    Metric("s1_c128", "S1 c=128", "req/s", _per_s),
    Metric("s1_c128", "S1 c=128 p50", "us", _series("lat", "p50")),
    Metric("s1_c128", "S1 c=128 p99", "us", _series("lat", "p99")),
    HITS_RPS,
    Metric("s6_hits", "S6 exact cache hits p50", "us", _series("lat", "p50")),
    Metric("s6_hits", "S6 exact cache hits CPU", "us/req", _cpu_us_per_request),
    Metric("s2_32k", "S2 32 KB c=16", "req/s", _per_s),
    Metric("s2_32k", "S2 32 KB c=16 p99", "us", _series("lat", "p99")),
    Metric("s2_32k", "S2 32 KB c=16 CPU", "us/req", _cpu_us_per_request),
    Metric("s2b_long", "S2b 240 KB c=4", "req/s", _per_s),
    Metric("s2b_long", "S2b 240 KB c=4 p50", "us", _series("lat", "p50")),
    Metric("s2b_long", "S2b 240 KB c=4 p99", "us", _series("lat", "p99")),
    Metric("s2b_long", "S2b 240 KB c=4 CPU", "us/req", _cpu_us_per_request),
    BURST,
    Metric("s3_burst", "S3 streams c=16 CPU", "us/chunk", _cpu_us_per_chunk),
    Metric("s4_slow10", "S4 10 streams TTFT p50", "us", _series("ttft", "p50")),
    Metric("s4_slow10", "S4 10 streams TTFT p99", "us", _series("ttft", "p99")),
    Metric("s4_slow10", "S4 10 streams transit p50", "us", _series("transit", "p50")),
    Metric("s4_slow10", "S4 10 streams transit p99", "us", _series("transit", "p99")),
    Metric("s4_slow10", "S4 10 streams gap p99", "us", _series("gap", "p99")),
    Metric("s4_slow200", "S4 200 streams", "chunks/s", _chunks_per_s),
    Metric("s4_slow200", "S4 200 streams TTFT p50", "us", _series("ttft", "p50")),
    TTFT_200,
    Metric("s4_slow200", "S4 200 streams transit p50", "us", _series("transit", "p50")),
    Metric("s4_slow200", "S4 200 streams transit p99", "us", _series("transit", "p99")),
    GAP_200,
    Metric("s4_slow200", "S4 200 streams CPU", "us/chunk", _cpu_us_per_chunk),
    Metric("s5_open25", "S5 25/s p50", "us", _series("lat", "p50")),
    Metric("s5_open25", "S5 25/s p99", "us", _series("lat", "p99")),
    Metric("s5_open100", "S5 100/s p50", "us", _series("lat", "p50")),
    Metric("s5_open100", "S5 100/s p99", "us", _series("lat", "p99")),
    Metric("s5_open100", "S5 100/s CPU", "us/req", _cpu_us_per_request),
    Whole("time to ready", "s", lambda run: run.ready_s),
    Whole("memory idle", "MB", lambda run: run.rss_idle_mb),
    Metric("s1_c128", "memory after c=128", "MB", _pss_mb),
    Metric("s4_slow200", "memory after 200 streams", "MB", _pss_mb),
    LARGEST_RSS,
)


@dataclass(frozen=True)
class Promise:
    """A claim before it is measured. `relation`: how `ours` and the baseline are compared with `bound`.

    `baseline` None: with the bound itself. `baseline_figure` None: the same figure as ours.
    """

    claim: str
    figure: Metric | Whole
    relation: Literal["ratio >=", "ratio <=", "difference <=", "value <="]
    bound: float
    target: str
    baseline: str | None = None
    baseline_figure: Metric | None = None


PROMISES: tuple[Promise, ...] = (
    Promise("requests/s at 16 connections, against nginx", C16_RPS, "ratio >=", 1 / 18, "ratio >= 1/18", "nginx"),
    Promise("requests/s at 16 connections, against LiteLLM", C16_RPS, "ratio >=", 25, "ratio >= 25", "litellm"),
    Promise("requests/s at 16 connections, against Portkey", C16_RPS, "ratio >=", 3, "ratio >= 3", "portkey"),
    Promise(
        "exact cache hits/s at 16 connections, against requests/s of nginx",
        HITS_RPS,
        "ratio >=",
        1 / 6,
        "ratio >= 1/6",
        "nginx",
        C16_RPS,
    ),
    Promise("latency p50 at 1 connection (us), against nginx", C1_P50, "ratio <=", 5.3, "ratio <= 5.3", "nginx"),
    Promise("latency p99 at 1 connection (us), against nginx", C1_P99, "ratio <=", 6.4, "ratio <= 6.4", "nginx"),
    Promise("streamed chunks/s, against nginx", BURST, "ratio >=", 0.6, "ratio >= 0.6", "nginx"),
    Promise("TTFT p99 at 200 streams (us), against nginx", TTFT_200, "ratio <=", 8, "ratio <= 8", "nginx"),
    Promise(
        "gap p99 at 200 streams (us), against no gateway",
        GAP_200,
        "difference <=",
        2000,
        "ours - baseline <= 2000 us",
        "direct",
    ),
    Promise("largest resident set of a gateway process (MB)", LARGEST_RSS, "value <=", 300, "ours <= 300 MB"),
)


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """A claim as measured. `met` None: it could not be judged, for `reason`; it then counts as missed."""

    claim: str
    ours: float | None
    baseline: float | None
    ratio: float | None
    target: str
    met: bool | None
    reason: str = ""


class Row(msgspec.Struct, frozen=True):
    """A figure of one gateway: the median of its passes, and half their range as a share of it."""

    gateway: str
    metric: str
    unit: str
    median: float
    spread: float
    runs: list[float]


def rows(passes: Mapping[str, Sequence[Run]]) -> list[Row]:
    """Every figure of every gateway that gave one."""
    found = []
    for figure in FIGURES:
        for gateway, runs in passes.items():
            values = [value for run in runs if (value := figure.of(run)) is not None]
            if values:
                median = statistics.median(values)
                spread = (max(values) - min(values)) / 2 / median if median else 0.0
                found.append(
                    Row(
                        gateway,
                        figure.title,
                        figure.unit,
                        _short(median),
                        _short(spread),
                        [_short(one) for one in values],
                    )
                )
    return found


def claims(rounds: Sequence[Mapping[str, Run]], absent: Mapping[str, str]) -> list[Claim]:
    """Each promise judged: compared within each round, then the median over rounds.

    `absent`: why a gateway gave no pass at all, or not in every round.
    """
    return [_judge(promise, rounds, absent) for promise in PROMISES]


def _judge(promise: Promise, rounds: Sequence[Mapping[str, Run]], absent: Mapping[str, str]) -> Claim:
    reason = _obstacle(promise, rounds, absent)
    ours = [value for one in rounds if OURS in one and (value := promise.figure.of(one[OURS])) is not None]
    pairs = [pair for one in rounds if (pair := _pair(promise, one)) is not None]
    figure, name = promise.baseline_figure or promise.figure, promise.baseline
    baselines = [value for one in rounds if name in one and (value := figure.of(one[name])) is not None] if name else []
    ratios = [mine / baseline for mine, baseline in pairs if baseline]
    ratio = statistics.median(ratios) if ratios else None
    met = None
    if reason == "" and pairs:
        compared = statistics.median([_compared(promise, mine, baseline) for mine, baseline in pairs])
        met = compared >= promise.bound if promise.relation == "ratio >=" else compared <= promise.bound
    return Claim(
        claim=promise.claim,
        ours=_short(statistics.median(ours)) if ours else None,
        baseline=_short(statistics.median(baselines)) if baselines else None,
        ratio=_short(ratio) if ratio is not None else None,
        target=promise.target,
        met=met,
        reason=reason,
    )


def _pair(promise: Promise, one: Mapping[str, Run]) -> tuple[float, float | None] | None:
    """(ours, baseline) of one round; None unless it has both."""
    mine = promise.figure.of(one[OURS]) if OURS in one else None
    if mine is None:
        return None
    if promise.baseline is None:
        return mine, None
    figure = promise.baseline_figure or promise.figure
    theirs = figure.of(one[promise.baseline]) if promise.baseline in one else None
    return None if theirs is None else (mine, theirs)


def _compared(promise: Promise, mine: float, baseline: float | None) -> float:
    if promise.relation == "value <=":
        return mine
    assert baseline is not None
    return mine - baseline if promise.relation == "difference <=" else mine / baseline


def _obstacle(promise: Promise, rounds: Sequence[Mapping[str, Run]], absent: Mapping[str, str]) -> str:
    """Why a promise can't be judged; empty if it can. One unusable measurement in any round is enough."""
    sides: list[tuple[str, Metric | Whole]] = [(OURS, promise.figure)]
    if promise.baseline is not None:
        sides.append((promise.baseline, promise.baseline_figure or promise.figure))
    for gateway, figure in sides:
        if gateway in absent:
            return f"{gateway}: {absent[gateway]}"
        for one in rounds:
            if (reason := _missing(one.get(gateway), figure)) is not None:
                return f"{gateway}: {reason}"
    return "" if rounds else "nothing was run"


def _missing(run: Run | None, figure: Metric | Whole) -> str | None:
    if run is None:
        return "was not run"
    if isinstance(figure, Metric):
        measured = run.measured.get(figure.scenario)
        if measured is None:
            return f"{figure.scenario} was not run"
        if measured.problem is not None:
            return f"{figure.scenario}: {measured.problem}"
    return None if figure.of(run) is not None else f"{figure.title} could not be had"


def _short(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")

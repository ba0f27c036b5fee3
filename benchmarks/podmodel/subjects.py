"""Who forecasts: the iteration model, and what it has to be better than. All learn from points and forecast a point.

A forecast is (decode ms, prefill ms): of a closed loop the times between tokens and to the first one; of a pass its own
time, twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.podmodel import closed
from benchmarks.podmodel.sets import Point
from trimtab.foundations.podmodel import Sample, fit

OURS = "iteration model"
Forecast = Callable[[Any], tuple[float, float]]
Learn = Callable[[Sequence[Any]], Forecast]


def loop_model(points: Sequence[Point]) -> Forecast:
    return closed.learn(points).times_ms


def loop_mean(points: Sequence[Point]) -> Forecast:
    told = fmean(point.tpot_ms for point in points), fmean(point.ttft_ms for point in points)
    return lambda _: told


def loop_linear(points: Sequence[Point]) -> Forecast:
    """Least relative squares over a constant, callers, tokens held; a constant, the prompt, all prompts."""
    tpot = _linear([_decode(point) for point in points], [point.tpot_ms for point in points])
    ttft = _linear([_prefill(point) for point in points], [point.ttft_ms for point in points])
    return lambda point: (tpot(_decode(point)), ttft(_prefill(point)))


def loop_nearest(points: Sequence[Point]) -> Forecast:
    """The point at the least distance in the logarithms of prompt, answer and callers; of several, their mean."""

    def forecast(point: Point) -> tuple[float, float]:
        far = [sum(math.log(a / b) ** 2 for a, b in zip(point[:3], other[:3], strict=True)) for other in points]
        near = [other for other, off in zip(points, far, strict=True) if off <= min(far) + 1e-9]
        return fmean(other.tpot_ms for other in near), fmean(other.ttft_ms for other in near)

    return forecast


def _decode(point: Point) -> tuple[float, ...]:
    return 1.0, point.concurrency, closed.held(point)


def _prefill(point: Point) -> tuple[float, ...]:
    return 1.0, point.prompt, point.concurrency * point.prompt


def pass_model(samples: Sequence[Sample]) -> Forecast:
    pod = fit(samples)
    return lambda sample: _both(pod.pass_ms(sample.running, sample.held, sample.prompt, sample.attended))


def pass_mean(samples: Sequence[Sample]) -> Forecast:
    told = fmean(sample.ms for sample in samples)
    return lambda _: _both(told)


def pass_linear(samples: Sequence[Sample]) -> Forecast:
    linear = _linear([_row(sample) for sample in samples], [sample.ms for sample in samples])
    return lambda sample: _both(linear(_row(sample)))


def pass_nearest(samples: Sequence[Sample]) -> Forecast:
    def forecast(sample: Sample) -> tuple[float, float]:
        far = [
            sum(math.log((1 + a) / (1 + b)) ** 2 for a, b in zip(_row(sample), _row(other), strict=True))
            for other in samples
        ]
        return _both(samples[far.index(min(far))].ms)

    return forecast


def _row(sample: Sample) -> tuple[float, ...]:
    return (1.0, sample.running, sample.held) if sample.running else (1.0, sample.prompt)


def _both(ms: float) -> tuple[float, float]:
    return ms, ms


def _linear(rows: Sequence[Sequence[float]], times: Sequence[float]) -> Callable[[Sequence[float]], float]:
    """Of the least relative error; where rows are too few, the shortest solution of scaled columns. Never below a tenth
    of the shortest time seen."""
    over = np.array(rows) / np.array(times)[:, None]
    units = np.sqrt((over**2).mean(axis=0)) + 1e-300
    found = np.linalg.lstsq(over / units, np.ones(len(times)), rcond=1e-9)[0] / units
    least = min(times) / 10
    return lambda row: max(float(np.dot(row, found)), least)


LOOPS: dict[str, Learn] = {
    OURS: loop_model,
    "mean": loop_mean,
    "linear": loop_linear,
    "nearest": loop_nearest,
}
PASSES: dict[str, Learn] = {
    OURS: pass_model,
    "mean": pass_mean,
    "linear": pass_linear,
    "nearest": pass_nearest,
}

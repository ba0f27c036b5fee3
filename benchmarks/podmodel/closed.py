"""The iteration model of a closed loop: c callers, each of whom sends the next request once the last is answered.

All c requests are under way at any time, so B = c sequences run and hold B (prompt + answer / 2) tokens. Each of them
brings a prompt once in `answer` passes. A pass therefore has (B - 1) / answer prompts of the others to take in, on
average, each of which makes it longer by `Pod.added_ms`:

    time between tokens = decode(B, held) + (B - 1) / answer * added(B, held, prompt)

A prompt comes in the middle of a pass and waits for those that came with it. How many these are fluctuates with the
root of how many could (answers are equally long, so that callers stay together, but not for ever):

    first token = decode / 2 + (1 + sqrt(B - 1)) * intake(prompt)

The other way round, points become samples by taking from each time what the pod as known so far says of the other half,
until that no longer changes: what is left of the time between tokens is a pass without prompts, what is left of the
time to the first token a pass with one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.podmodel.sets import Point
from trimtab.foundations.podmodel import Pod, Sample, fit

TURNS = 6
LEFT = 0.2
"""Share of a time that stays when the other half is taken away, at least."""


def tpot_ms(pod: Pod, point: Point) -> float:
    """Between two tokens, on average."""
    return pod.decode_ms(point.concurrency, held(point)) + prompts_ms(pod, point)


def ttft_ms(pod: Pod, point: Point) -> float:
    """To the first token."""
    running, beside = others(point)
    return pod.decode_ms(running, beside) / 2 + ahead(point) * pod.intake_ms(point.prompt, 0.0, running, beside)


def held(point: Point) -> float:
    return point.concurrency * (point.prompt + point.output / 2)


def others(point: Point) -> tuple[int, float]:
    """Sequences beside one's own, and what they hold."""
    running = point.concurrency - 1
    return running, held(point) * running / point.concurrency


def ahead(point: Point) -> float:
    """Prompts until one's own is in, itself included."""
    return 1 + math.sqrt(point.concurrency - 1)


def prompts_ms(pod: Pod, point: Point) -> float:
    """What the prompts of others add to a pass."""
    added = pod.added_ms(point.concurrency, held(point), point.prompt, point.prompt / 2)
    return (point.concurrency - 1) / point.output * added


def learn(points: Sequence[Point], prior: Pod | None = None) -> Pod:
    """The pod behind the points."""
    pod = prior
    for _ in range(TURNS):
        pod = fit([sample for point in points for sample in _samples(pod, point)], prior)
    assert pod is not None
    return pod


def _samples(pod: Pod | None, point: Point) -> tuple[Sample, Sample]:
    running, beside = others(point)
    prompts = prompts_ms(pod, point) if pod else 0.0
    under_way = pod.decode_ms(running, beside) / 2 if pod else 0.0
    decode = max(point.tpot_ms - prompts, LEFT * point.tpot_ms)
    intake = max(point.ttft_ms - under_way, LEFT * point.ttft_ms) / ahead(point)
    return (
        Sample(ms=decode, running=point.concurrency, held=held(point)),
        Sample(ms=intake, running=running, held=beside, prompt=point.prompt, attended=point.prompt / 2),
    )

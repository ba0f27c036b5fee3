"""The iteration model of a closed loop: c callers, each of whom sends the next request once the last is answered.

All c requests are under way at any time, so B = c sequences run and hold B (prompt + answer / 2) tokens. Each of them
brings a prompt once in `answer` passes. A pass therefore has the prompts of the (B - 1) others to take in, (B - 1) /
answer of them on average, each of which makes it longer by `Pod.added_ms`:

    time between tokens = decode(B, held) + (B - 1) / answer * added(B, held, prompt)
    first token         = decode / 2 + intake(prompt) * (1 + BURST (B - 1))

All callers begin together and their answers are equally long, so that prompts come in bursts: a prompt waits for the
share BURST of the prompts of all others. In between is what nobody measured.

The other way round, points become samples by taking from each time what the pod as known so far says of the other half,
until that no longer changes: what is left of the time between tokens is a pass without prompts, what is left of the time
to the first token a pass with one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.podmodel.sets import Point
from trimtab.foundations.podmodel import Pod, Sample, fit
from trimtab.foundations.podmodel.fit import PULL

TURNS = 6
LEFT = 0.2
"""Share of a time that stays when the other half is taken away, at least."""


class Options(NamedTuple):
    """What was chosen on the combinations for development."""

    waiting: float = 1.0
    burst: float = 0.0
    pull: float = PULL
    prior: Pod | None = None


class Loop(NamedTuple):
    """A pod, and what share of the prompts' time its running sequences lose."""

    pod: Pod
    options: Options

    def tpot_ms(self, point: Point) -> float:
        """Between two tokens, on average."""
        return self.pod.decode_ms(point.concurrency, held(point)) + prompts_ms(self.pod, point)

    def ttft_ms(self, point: Point) -> float:
        """To the first token."""
        running, beside = others(point)
        taken = self.pod.intake_ms(point.prompt, 0.0, running, beside)
        return self.pod.decode_ms(running, beside) / 2 + taken * ahead(point, self.options)


def held(point: Point) -> float:
    return point.concurrency * (point.prompt + point.output / 2)


def others(point: Point) -> tuple[int, float]:
    """Sequences beside one's own, and what they hold."""
    running = point.concurrency - 1
    return running, held(point) * running / point.concurrency


def ahead(point: Point, options: Options) -> float:
    """Prompts until one's own is in, itself included."""
    running = point.concurrency - 1
    return 1 + options.waiting * math.sqrt(running) + options.burst * running


def prompts_ms(pod: Pod, point: Point) -> float:
    added = pod.added_ms(point.concurrency, held(point), point.prompt, point.prompt / 2)
    return (point.concurrency - 1) / point.output * added


def learn(points: Sequence[Point], options: Options) -> Loop:
    """The pod behind the points."""
    pod = options.prior
    for _ in range(TURNS):
        samples = [sample for point in points for sample in _samples(pod, point, options)]
        pod = fit(samples, options.prior, pull=options.pull)
    assert pod is not None
    return Loop(pod, options)


def _samples(pod: Pod | None, point: Point, options: Options) -> tuple[Sample, Sample]:
    running, beside = others(point)
    prompts = prompts_ms(pod, point) if pod else 0.0
    under_way = pod.decode_ms(running, beside) / 2 if pod else 0.0
    decode = max(point.tpot_ms - prompts, LEFT * point.tpot_ms)
    intake = max(point.ttft_ms - under_way, LEFT * point.ttft_ms) / ahead(point, options)
    return (
        Sample(ms=decode, running=point.concurrency, held=held(point)),
        Sample(ms=intake, running=running, held=beside, prompt=point.prompt, attended=point.prompt / 2),
    )

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
time to the first token a pass with one. That pod foretells first tokens.

What prompts add to the passes of others is not what they take until their own first token, in which tokenizing, HTTP
and queues are contained. So the pod of passes starts from that one, and learns decode and prompts (with serial 1: all
they take is lost) from times between tokens together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.podmodel.sets import Point
from trimtab.foundations.podmodel import Pod, Sample, fit
from trimtab.foundations.podmodel.fit import PULL, TOLERANCE
from trimtab.foundations.podmodel.moments import Moments

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


class Loop(NamedTuple):
    """Of one combination."""

    passes: Pod
    first: Pod

    def times_ms(self, point: Point) -> tuple[float, float]:
        """Between tokens and to the first one."""
        return tpot_ms(self.passes, point), ttft_ms(self.first, point)


def learn(points: Sequence[Point]) -> Loop:
    """The pods behind the points."""
    first = learn_first(points)
    return Loop(_learn_passes(points, first), first)


def _learn_passes(points: Sequence[Point], prior: Pod) -> Pod:
    """Robust as `fit` is."""
    before = (prior.base_ms, prior.spread_ms, prior.sequence_ms, prior.held_ms, prior.prefill_ms, prior.prompt_ms)
    weights = [1.0] * len(points)
    pod = prior
    for _ in range(TURNS):
        moments = Moments.none(len(before))
        for point, weight in zip(points, weights, strict=True):
            running, prompts = point.concurrency, (point.concurrency - 1) / point.output
            row = (1.0, math.sqrt(running), running, held(point), prompts, prompts * point.prompt)
            moments.add([one / point.tpot_ms for one in row], 1.0, weight)
        base, spread, sequence, kept, prefill, prompt = moments.solve(before, PULL)
        pod = Pod(
            base_ms=base,
            spread_ms=spread,
            sequence_ms=sequence,
            held_ms=kept,
            prefill_ms=prefill,
            prompt_ms=prompt,
            attend_ms=0.0,
            serial=1.0,
        )
        errors = [abs(tpot_ms(pod, point) / point.tpot_ms - 1) for point in points]
        weights = [TOLERANCE / max(error, TOLERANCE) for error in errors]
    return pod


def learn_first(points: Sequence[Point], prior: Pod | None = None) -> Pod:
    """The pod behind times to the first token, and roughly behind those between tokens."""
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

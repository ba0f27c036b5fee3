"""Every policy at every setting before every trace at every load, in parallel; and which setting is a policy's best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Final, NamedTuple

from benchmarks.admission.arrivals import Request, Setting, Trace, paced
from benchmarks.admission.ours import Ours
from benchmarks.admission.policies import Bucket, Fixed, Gradient2, NoGate
from benchmarks.admission.run import Attempt, Make, Return, drive
from trimtab.core.clock import Clock

OURS = "ours"
LIMITS = (4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200)
"""Of a fixed concurrency, a replica."""
WAITS = (0.0, 0.25, 0.5)
"""Shares of the time to first token that somebody may wait; the token bucket and Gradient2 have the first and last."""
RATES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2)
"""Of a token bucket, of the capacity."""
BURSTS_S = (1.0, 5.0, 20.0)
TOLERANCES = (1.5, 3.0, 4.0)
"""Of Gradient2: Netflix' own, and two that let it come nearer to what a pod can do; at 1 and 2 it keeps less."""
SATURATE = 1_500
"""Requests that a replica is given at once to see what it can do."""


class Spec(NamedTuple):
    """A policy at a setting."""

    kind: str
    name: str
    make: Make


class Capacity(NamedTuple):
    """What all replicas of a setting do when they are full."""

    requests: float
    """A second."""
    tokens: float
    """Of prompts and answers, a second."""


class Tally(NamedTuple):
    """What a policy came to, on first tries alone."""

    kind: str
    name: str
    asked: int
    admitted: int
    kept: int
    goodput: float
    """Kept, per second of the trace."""
    short: tuple[tuple[str, int], ...]
    """Refusals by what stood in the way."""

    @property
    def attainment(self) -> float:
        """Kept of those admitted."""
        return self.kept / self.admitted if self.admitted else 0.0


def fixed(replicas: int, limits: Iterable[int], waits: Iterable[float]) -> list[Spec]:
    """A fixed concurrency at each limit of a replica, and for each share of the time to first token."""
    return [
        Spec("fixed concurrency", f"{limit} a replica, waits {wait:g} of ttft", partial(_fixed, limit * replicas, wait))
        for wait in waits
        for limit in limits
    ]


def capacity(trace: Trace, seed: int) -> Capacity:
    """All requests at once on one replica: how fast they end between a fifth and seven tenths of them, for as many
    replicas as there are."""
    setting = trace.setting._replace(replicas=1)
    requests = [one._replace(at_s=0.0) for one in paced(trace, 1.0, seed)[:SATURATE]]
    ended = sorted(one.ended_s for one in drive(requests, setting, _open, seed))
    first, last = len(ended) // 5, len(ended) * 7 // 10
    rate = (last - first) / (ended[last] - ended[first]) * trace.setting.replicas
    return Capacity(rate, rate * sum(one.prompt + one.output for one in requests) / len(requests))


def specs(replicas: int, tokens: float, every: int = 1) -> list[Spec]:
    """All baselines at every setting, or at one in `every`; and ours. `tokens` a second are the capacity."""
    bucket = [
        Spec(
            "token bucket",
            f"{share:g} of capacity, {burst_s:g} s at once, waits {wait:g} of ttft",
            partial(_bucket, share * tokens, burst_s, wait),
        )
        for wait in (WAITS[0], WAITS[-1])
        for burst_s in BURSTS_S
        for share in RATES
    ]
    gradient = [
        Spec(
            "Gradient2",
            f"tolerance {tolerance:g} of {'ttft' if first else 'e2e'}, waits {wait:g} of ttft",
            partial(_gradient, tolerance, wait, first),
        )
        for tolerance in TOLERANCES
        for first in (True, False)
        for wait in (WAITS[0], WAITS[-1])
    ]
    swept = [one for kind in (fixed(replicas, LIMITS, WAITS), bucket, gradient) for one in kind[::every]]
    return [OPEN, *swept, GATE]


def _open(_clock: Clock, _setting: Setting) -> NoGate:
    return NoGate()


def _fixed(limit: int, wait: float, _clock: Clock, _setting: Setting) -> Fixed:
    return Fixed(limit, wait)


def _bucket(rate: float, burst_s: float, wait: float, clock: Clock, _setting: Setting) -> Bucket:
    return Bucket(clock, rate, burst_s, wait)


def _gradient(tolerance: float, wait: float, first: bool, _clock: Clock, _setting: Setting) -> Gradient2:
    return Gradient2(tolerance, wait, first=first)


OPEN: Final = Spec("no gate", "", _open)
GATE: Final = Spec(OURS, "", Ours)


class World(NamedTuple):
    """A trace at a load: what comes, and where to."""

    setting: Setting
    requests: Sequence[Request]


class Job(NamedTuple):
    """One run to be done."""

    world: tuple[str, float]
    spec: Spec
    seed: int
    returning: Return | None = None


_worlds: Mapping[tuple[str, float], World] = {}


class Runs:
    """Processes that have all arrivals."""

    def __init__(self, worlds: Mapping[tuple[str, float], World], processes: int) -> None:
        self._pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(worlds,))

    def attempts(self, jobs: Iterable[Job]) -> list[list[Attempt]]:
        """What came of each job, in order."""
        return list(self._pool.map(_attempts, jobs))

    def tallies(self, jobs: Iterable[Job]) -> list[Tally]:
        return list(self._pool.map(_tally, jobs))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _begin(worlds: Mapping[tuple[str, float], World]) -> None:
    global _worlds
    _worlds = worlds


def _attempts(job: Job) -> list[Attempt]:
    world = _worlds[job.world]
    return drive(world.requests, world.setting, job.spec.make, job.seed, job.returning)


def _tally(job: Job) -> Tally:
    requests = _worlds[job.world].requests
    return tally(job.spec, _attempts(job), requests[-1].at_s)


def tally(spec: Spec, attempts: Sequence[Attempt], span_s: float) -> Tally:
    """Of first tries."""
    first = [one for one in attempts if not one.back]
    kept = sum(one.kept for one in first)
    short = Counter(one.short for one in first if one.short)
    admitted = sum(one.admitted for one in first)
    return Tally(spec.kind, spec.name, len(first), admitted, kept, kept / span_s, tuple(short.most_common()))


def best(found: Iterable[Tally], attainment: float = 0.0) -> Tally | None:
    """That of the highest goodput among those of at least so much attainment."""
    return max((one for one in found if one.attainment >= attainment), key=lambda one: one.goodput, default=None)

"""What a tier is at: the requests that it has taken on, and how long one more would take.

Nothing is decided by it yet: what it foresees stands in the record beside what came, so that it can be judged before
anybody relies on it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.dataplane.admission.replica import Replica, Running
from trimtab.foundations.podmodel import Ask, Load, Predictor, Sample, Times

NEEDED: Final = 10
"""Passes with a prompt, and twice as many without, before anything is foreseen."""
PROMPT: Final = 0.25
"""Tokens expected for each that a prompt can't exceed, where nothing is known: four bytes each."""
OUTPUT: Final = 128.0
"""Tokens expected of an answer where nothing is known."""
MOST_KEPT: Final = 512
"""Callers whose answers are known; who was asked for longest ago goes first."""
EVERY_NS: Final = 50 * NS_PER_MS
"""How often at most a pass of either kind teaches: each costs 30 us, and a busy tier says the same all the time."""
_WEIGHT: Final = 0.05


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request when it was sent, in ms from then on: `times` by the model alone; the others are kept with the
    share `percentile`."""

    times: Times
    percentile: float
    ttft_ms: float
    itl_ms: float
    e2e_ms: float
    ask: Ask
    load: Load
    intake: float
    """Prompt tokens of others on its way into the same replica."""


class Expected:
    """How many tokens requests have: prompts as a share of their bound, answers by who asks. Exponential means."""

    def __init__(self) -> None:
        self._share = PROMPT
        self._outputs: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._outputs)

    def ask(self, caller: tuple[str, str], bound: int, most: int) -> Ask:
        """Of a prompt that has at most `bound` tokens and an answer of at most `most`."""
        return Ask(prompt=max(1.0, bound * self._share), output=max(1.0, min(most, self._outputs.get(caller, OUTPUT))))

    def learn(self, caller: tuple[str, str], bound: int, prompt: int, output: int) -> None:
        """What it came to."""
        if bound > 0:
            self._share += _WEIGHT * (prompt / bound - self._share)
        old = self._outputs.pop(caller, None)
        self._outputs[caller] = output if old is None else old + _WEIGHT * (output - old)
        if len(self._outputs) > MOST_KEPT:
            self._outputs.popitem(last=False)


class Tier:
    """One model's replicas. A request is reckoned to the one with the fewest, as the replica choice does it."""

    def __init__(self, predictor: Predictor, replicas: int = 1) -> None:
        self.predictor = predictor
        self.expected = Expected()
        self._replicas = [Replica()]
        self._learned_ns: dict[bool, int] = {}
        """When a pass with and one without a prompt taught last."""
        self.resize(replicas)

    def __repr__(self) -> str:
        return f"<Tier of {len(self._replicas)} replicas, {self.predictor!r}>"

    def resize(self, replicas: int) -> None:
        """From now on. Who runs on a replica that goes keeps it to the end."""
        self._replicas = self._replicas[: max(1, replicas)]
        while len(self._replicas) < replicas:
            self._replicas.append(Replica())

    def foresee(self, ask: Ask, percentile: float, now_ns: int) -> Foreseen | None:
        """What it would take now; None: too little was seen yet. Costs about a microsecond for each request on the
        replica."""
        decode, prefill = self.predictor.fit.samples
        if decode < 2 * NEEDED or prefill < NEEDED:
            return None
        place = self._next()
        load, at = place.load(now_ns), self.predictor.at
        times = self.predictor.forecast(load, ask)
        return Foreseen(
            times=times,
            percentile=percentile,
            ttft_ms=at(times, "ttft", percentile),
            itl_ms=at(times, "itl", percentile),
            e2e_ms=at(times, "e2e", percentile),
            ask=ask,
            load=load,
            intake=place.intake,
        )

    def begin(self, ask: Ask, now_ns: int) -> Running:
        """It is sent."""
        place = self._next()
        running = Running(ask, place, place.load(now_ns), now_ns)
        place.begin(running, self.predictor.fit.pod)
        return running

    def first(self, running: Running, now_ns: int) -> None:
        """Its first token has come."""
        sample = running.place.first(running, self.predictor.fit.pod, now_ns)
        self._learn(sample, now_ns)

    def end(self, running: Running, now_ns: int, *, whole: bool) -> None:
        """It runs no more. `whole`: its answer came to its end, so that its passes teach."""
        sample = running.place.end(running, now_ns)
        if whole:
            self._learn(sample, now_ns)

    def _learn(self, sample: Sample | None, now_ns: int) -> None:
        if sample is None:
            return
        last_ns = self._learned_ns.get(sample.prompt > 0)
        if last_ns is None or now_ns - last_ns >= EVERY_NS:
            self._learned_ns[sample.prompt > 0] = now_ns
            self.predictor.fit.observe(sample)

    def _next(self) -> Replica:
        return min(self._replicas, key=len)

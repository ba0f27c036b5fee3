"""`dataplane.admission.Gate` as the gateway has it, with one setting for all traces and loads."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.admission.arrivals import Request, Setting
from benchmarks.admission.run import Leave, Refusal, Seen
from benchmarks.pod import LLAMA_70B
from trimtab.core.clock import Clock
from trimtab.core.contract import Latency
from trimtab.dataplane.admission import Foreseen, Gate, Refused, Ticket, Turn
from trimtab.foundations.podmodel import FIGURES, Fit, Pod, Sample

MOST = 4096
"""`max_tokens` of every request."""
BELIEVED = 100
"""Passes of either kind that a wrong belief rests on."""


class Ours:
    """The gate before a setting's pods. `pace`: it starts with the belief, of `BELIEVED` passes, that those are so many
    times as slow as they are; None: it knows nothing."""

    is_gate = True

    def __init__(self, clock: Clock, setting: Setting, pace: float | None = None) -> None:
        self._clock = clock
        self.gate = Gate(clock, setting.sequences * setting.replicas, setting.replicas)
        if pace is not None:
            self.gate.tier.predictor.fit = believed(LLAMA_70B, pace)

    async def admit(self, request: Request, latency: Latency) -> Leave | Refusal:
        ask = self.gate.tier.expected.ask((request.client, request.channel), request.bound, MOST)
        turn = Turn(
            rank=2,
            tenant=request.client,
            channel=request.channel,
            at_ns=self._clock.now_ns(),
            ask=ask,
            latency=latency,
            strict=True,
            key=id(request),
        )
        got = await self.gate.admit(turn, latency.ttft_ms / 1000)
        if isinstance(got, Refused):
            return Refusal(got.look.short or "", got.book())
        return _Held(self.gate, got, request, latency)


class _Held:
    def __init__(self, gate: Gate, ticket: Ticket, request: Request, latency: Latency) -> None:
        self._gate, self._ticket, self._request, self._latency = gate, ticket, request, latency
        self.replica: int | None = int(ticket.order[0])
        self._foreseen: Foreseen | None = None
        self.wrote: Callable[[int], None] = ticket.wrote
        """Called for every token: not by way of a method of its own."""

    def sent(self) -> None:
        self._foreseen = self._ticket.sent()

    def end(self, seen: Seen | None) -> None:
        if seen is None:
            self._ticket.end("dropped")
            return
        self._ticket.end("success")
        one, tier = self._request, self._gate.tier
        if self._foreseen is not None:
            mean_ms = (seen.e2e_ms - seen.ttft_ms) / max(1, one.output - 1)
            for figure, came_ms in zip(FIGURES, (seen.ttft_ms, mean_ms, seen.e2e_ms), strict=True):
                tier.predictor.learn(self._foreseen.times, figure, came_ms)
        if self._ticket.how != "probe" and self._ticket.look.level is not None:  # as core.outcome.missed
            epoch = 0 if self._foreseen is None else self._foreseen.times.epoch
            tier.judge(self._latency.percentile, missed=not seen.kept, epoch=epoch)
        tier.expected.read(one.bound, one.prompt)


def believed(pod: Pod, pace: float) -> Fit:
    """What has been learnt of a pod that takes `pace` times as long in all, from passes of many kinds."""
    chosen, fit = random.Random(0), Fit(scaled(pod, pace))
    for number in range(2 * BELIEVED):
        running, prompt = chosen.randint(1, 100), number % 2 * chosen.randint(50, 512)
        held, attended = running * chosen.uniform(200, 2000), chosen.uniform(25, 2000) if prompt else 0.0
        ms = pace * pod.pass_ms(running, held, prompt, attended)
        fit.observe(Sample(ms=ms, running=running, held=held, prompt=prompt, attended=attended))
    return fit


def scaled(pod: Pod, pace: float) -> Pod:
    """`pod`, with `pace` times the time for everything."""
    return Pod(
        base_ms=pod.base_ms * pace,
        spread_ms=pod.spread_ms * pace,
        sequence_ms=pod.sequence_ms * pace,
        held_ms=pod.held_ms * pace,
        prefill_ms=pod.prefill_ms * pace,
        prompt_ms=pod.prompt_ms * pace,
        attend_ms=pod.attend_ms * pace,
        serial=pod.serial,
        chunk=pod.chunk,
    )

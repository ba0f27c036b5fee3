"""Coefficients from samples: robust non-negative least squares on relative errors, at once or as they come.

A pass without a prompt is linear in its four coefficients, and one with a prompt in its three and in `serial`, the
time of what runs beside it being known. So all that must be kept of samples are their moments (moments.py). Rows are
divided by their time: an error of 10 % counts the same at 10 ms and at 10 s.

Robust (Huber, 1964): an error beyond `TOLERANCE` counts with its size, not its square, so that a stall teaches little.
By itself that is slow to believe in a machine that has become slower: at twice the time it takes 1,550 passes until
forecasts are within 5 %. So the last `RECENT` passes are watched: where `ASTRAY` of them err beyond the tolerance to
the same side, all that is remembered is multiplied by their median error and mostly forgotten. That keeps what is known
of the shape, and takes 13 passes. Stalls of every fifth pass never come to that. Where passes without a prompt change
by more than `ANEW` a new `epoch` begins: how wrong forecasts were before it says nothing of those after it. (Those with
one tell too little of the machine: what a short prompt takes is mostly what it waited for.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from typing import Final

import msgspec

from trimtab.foundations.podmodel.moments import Moments
from trimtab.foundations.podmodel.pod import Pod, Sample
from trimtab.foundations.podmodel.typical import TYPICAL

TOLERANCE: Final = 0.1
"""Relative error from which on a sample counts less than its square."""
MEMORY: Final = 400.0
"""Samples after which a sample has a third of its weight."""
RECENT: Final = 16
ASTRAY: Final = 13
ANEW: Final = 2.0
"""Change of pace, either way, from which on a new epoch begins."""
KEPT: Final = 50.0
"""Samples' weight that is left of what came before a change."""
PULL: Final = 1e-3
"""Weight of the prior of each coefficient, in samples which that coefficient alone explained."""
PASSES: Final = 12

_ZERO: Final = Pod(base_ms=0, sequence_ms=0, held_ms=0, prefill_ms=0, prompt_ms=0, attend_ms=0)


class FitState(msgspec.Struct, frozen=True, kw_only=True):
    """A Fit between two runs."""

    pod: Pod
    """The coefficients as they were."""
    prior: Pod | None
    """What was believed before the first sample; None: the typical shape, at the pace that samples say."""
    memory: float
    """In samples."""
    pull: float
    """Weight of the prior, in samples."""
    decode: Moments
    """Of passes without a prompt."""
    prefill: Moments
    """Of prompts, and of how both overlap."""


class Fit:
    """The coefficients as learnt from all samples so far: `pod`.

    `prior`: what is believed before; its `chunk` is kept. None: the shape of `TYPICAL`, at the pace that samples say.
    `memory`: in samples of one kind. `pull`: weight of the prior, in samples. Raises ValueError for settings that can't
    work.
    """

    def __init__(self, prior: Pod | None = None, *, memory: float = MEMORY, pull: float = PULL) -> None:
        if not 1 <= memory < math.inf:
            raise ValueError(f"memory is at least 1 sample, got {memory}")
        if not 0 < pull < math.inf:
            raise ValueError(f"pull is a weight above 0, got {pull}")
        self._prior = prior
        self.pod = prior or _ZERO
        self.epoch = 0
        """How often the pace has changed for good, in this process."""
        self._keep = 1 - 1 / memory
        self._memory, self._pull = memory, pull
        self._decode, self._prefill = Moments.none(4), Moments.none(4)

    def __repr__(self) -> str:
        return f"<Fit of {self._decode.count:.0f} passes, {self._prefill.count:.0f} with prompts: {self.pod}>"

    @property
    def samples(self) -> tuple[float, float]:
        """How many the coefficients rest on, of passes without and with a prompt, as far as they are not forgotten."""
        return self._decode.count, self._prefill.count

    def observe(self, sample: Sample) -> None:
        """A pass has been seen. Raises ValueError for one that can't be: no time, or nothing in the batch."""
        _check(sample)
        weight = sample.weight * _trust(self.pod, sample)
        for moments, row, value, expected in _rows(self, sample):
            self._follow(moments, value, expected)
            moments.scale(self._keep, self._keep, self._keep)
            moments.add(row, value, weight)
        self.pod = self._solved(decode=sample.running > 0, prefill=sample.prompt > 0)

    def state(self) -> FitState:
        return msgspec.json.decode(
            msgspec.json.encode(
                FitState(
                    pod=self.pod,
                    prior=self._prior,
                    memory=self._memory,
                    pull=self._pull,
                    decode=self._decode,
                    prefill=self._prefill,
                )
            ),
            type=FitState,
        )

    @classmethod
    def from_state(cls, state: FitState, prior: Pod | None = None) -> Fit:
        """Goes on where `state()` was taken, with the state's prior unless another is given. The state is not changed.
        Raises ValueError for a state that no Fit has."""
        made = cls(prior or state.prior, memory=state.memory, pull=state.pull)
        state.decode.check(4)
        state.prefill.check(4)
        own = msgspec.json.decode(msgspec.json.encode(state), type=FitState)
        made._decode, made._prefill = own.decode, own.prefill
        made.pod = state.pod
        return made

    def _follow(self, moments: Moments, value: float, expected: float) -> None:
        """Where the last samples all went to one side, the machine has changed its pace, and so must what is known."""
        if expected <= 0:
            return
        ratios = moments.ratios
        ratios.append(value / expected)
        if len(ratios) > RECENT:
            del ratios[0]
        slower = sum(1 for ratio in ratios if ratio > 1 + TOLERANCE)
        faster = sum(1 for ratio in ratios if ratio < 1 / (1 + TOLERANCE))
        if max(slower, faster) < ASTRAY:
            return
        pace, keep = median(ratios), min(1.0, KEPT / moments.count)
        moments.scale(keep / pace**2, keep / pace, keep)
        self.epoch += moments is self._decode and not 1 / ANEW <= pace <= ANEW
        ratios.clear()

    def _solved(self, *, decode: bool = True, prefill: bool = True) -> Pod:
        """The coefficients, anew where something has come to the moments behind them."""
        pod, prior = self.pod, self._prior or TYPICAL
        base, spread, sequence, held = pod.base_ms, pod.spread_ms, pod.sequence_ms, pod.held_ms
        if decode:
            shape = (prior.base_ms, prior.spread_ms, prior.sequence_ms, prior.held_ms)
            before = shape if self._prior else self._decode.paced(shape, 0.0)
            base, spread, sequence, held = self._decode.solve(before, self._pull)
        starting, prompt, attend, serial = pod.prefill_ms, pod.prompt_ms, pod.attend_ms, pod.serial
        if prefill:
            shape = (prior.prefill_ms, prior.prompt_ms, prior.attend_ms, 0.0)
            before = shape if self._prior else self._prefill.paced(shape, prior.serial)
            starting, prompt, attend, serial = self._prefill.solve((*before[:3], prior.serial), self._pull)
        return Pod(
            base_ms=base,
            spread_ms=spread,
            sequence_ms=sequence,
            held_ms=held,
            prefill_ms=starting,
            prompt_ms=prompt,
            attend_ms=attend,
            serial=min(1.0, serial),
            chunk=pod.chunk,
        )


def fit(samples: Iterable[Sample], prior: Pod | None = None, *, pull: float = PULL) -> Pod:
    """The coefficients that fit all samples at once; the result does not depend on their order. Raises ValueError for
    a sample that can't be."""
    rows = sorted(samples, key=msgspec.structs.astuple)
    for sample in rows:
        _check(sample)
    pod = prior or _ZERO
    for _ in range(PASSES):  # each pass weighs the samples by the errors of the one before
        made = Fit(prior, pull=pull)
        made.pod = pod
        for sample in rows:
            weight = sample.weight * _trust(pod, sample)
            for moments, row, value, _expected in _rows(made, sample):
                moments.add(row, value, weight)
        pod = made._solved()
    return pod


Row = tuple[Moments, tuple[float, ...], float, float]
"""Where it belongs, its numbers, what it should give, and what the coefficients as they are say that it gives."""


def _rows(fit: Fit, sample: Sample) -> list[Row]:
    """What a sample tells, of which half of a pass. Rows are relative: divided by the time that was seen."""
    pod, scale = fit.pod, 1 / sample.ms
    decode = pod.decode_ms(sample.running, sample.held)
    of_decode = (scale, math.sqrt(sample.running) * scale, sample.running * scale, sample.held * scale)
    if not sample.prompt:
        return [(fit._decode, of_decode, 1.0, decode * scale)]
    prefill = pod.prompt_pass_ms(sample.prompt, sample.attended)
    # Longer than the sequences alone explain: it tells of its prompt, also where that is not known yet. A pod that is
    # never idle has no pass with a prompt alone.
    if prefill >= decode or sample.ms > (1 + pod.serial + TOLERANCE) * decode:
        prompt = sample.prompt * scale
        of_prompt = (scale, prompt, prompt * sample.attended, decode * scale)
        return [(fit._prefill, of_prompt, 1.0, (prefill + pod.serial * decode) * scale)]
    overlap, alone = (sample.ms - decode) * scale, (sample.ms - pod.serial * prefill) * scale
    found: list[Row] = [(fit._decode, of_decode, alone, decode * scale)] if alone > 0 else []
    if prefill:
        found.append((fit._prefill, (0.0, 0.0, 0.0, prefill * scale), overlap, 0.0))
    return found


def _trust(pod: Pod, sample: Sample) -> float:
    """Huber's weight of a sample, by the coefficients as they are."""
    expected = pod.pass_ms(sample.running, sample.held, sample.prompt, sample.attended)
    if expected <= 0:
        return 1.0
    off = abs(sample.ms - expected) / sample.ms
    return 1.0 if off <= TOLERANCE else TOLERANCE / off


def _check(sample: Sample) -> None:
    numbers = (sample.ms, sample.running, sample.held, sample.prompt, sample.attended, sample.weight)
    if not all(0 <= number < math.inf for number in numbers) or not sample.ms or not (sample.running or sample.prompt):
        raise ValueError(f"a pass takes time and has something in it, got {sample}")

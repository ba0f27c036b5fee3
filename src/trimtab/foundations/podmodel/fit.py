"""Coefficients from samples: robust non-negative least squares on relative errors, at once or as they come.

Each half of a pass is linear in its coefficients, so all that must be kept of its samples are their moments: three by
three numbers. What came before is forgotten by a constant factor with each sample, and two workers' moments add up.
Rows are divided by their time: an error of 10 % counts the same at 10 ms and at 10 s.

Robust (Huber, 1964): an error beyond `TOLERANCE` counts with its size, not its square, so that a stall teaches little;
but a machine that has become twice as slow goes on saying so, and is believed.

Exact non-negative least squares of three unknowns: the best of the eight subsets of them that may be above zero.
Where samples don't tell two coefficients apart (all requests were alike) a slight pull towards `prior` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

import msgspec

from trimtab.foundations.podmodel.pod import Pod, Sample

TOLERANCE: Final = 0.1
"""Relative error from which on a sample counts less than its square."""
MEMORY: Final = 400.0
"""Samples after which a sample has a third of its weight."""
PULL: Final = 1e-3
"""Weight of the prior, in samples."""
PASSES: Final = 12

_ZERO: Final = Pod(base_ms=0, sequence_ms=0, held_ms=0, prefill_ms=0, prompt_ms=0, attend_ms=0)


class Moments(msgspec.Struct, kw_only=True):
    """Of the rows of one linear form: `gram` = X'X, `target` = X'y; `count` samples, the old ones partly forgotten."""

    gram: list[list[float]]
    target: list[float]
    count: float = 0.0

    @classmethod
    def none(cls, size: int) -> Moments:
        return cls(gram=[[0.0] * size for _ in range(size)], target=[0.0] * size)

    def forget(self, factor: float) -> None:
        self.gram = [[value * factor for value in row] for row in self.gram]
        self.target = [value * factor for value in self.target]
        self.count *= factor

    def add(self, row: Sequence[float], value: float, weight: float) -> None:
        scaled = [weight * one for one in row]
        for line, one in zip(self.gram, scaled, strict=True):
            for index, other in enumerate(row):
                line[index] += one * other
        for index, one in enumerate(scaled):
            self.target[index] += one * value
        self.count += weight

    def merge(self, other: Moments) -> None:
        for line, theirs in zip(self.gram, other.gram, strict=True):
            for index, value in enumerate(theirs):
                line[index] += value
        for index, value in enumerate(other.target):
            self.target[index] += value
        self.count += other.count

    def solve(self, prior: Sequence[float]) -> list[float]:
        """The coefficients, none below 0, of the least squared error."""
        size = len(self.target)
        gram = [list(row) for row in self.gram]
        target = list(self.target)
        for index in range(size):  # in the coefficient's own unit: an error of its whole size weighs PULL samples
            unit = 1 / prior[index] ** 2 if prior[index] > 0 else gram[index][index] / max(self.count, 1.0)
            gram[index][index] += PULL * unit
            target[index] += PULL * unit * prior[index]
        best, least = [0.0] * size, 0.0
        for taken in range(1, size + 1):
            for chosen in combinations(range(size), taken):
                found = _solved([[gram[i][j] for j in chosen] for i in chosen], [target[i] for i in chosen])
                if found is None or min(found) < 0:
                    continue
                loss = -sum(target[i] * value for i, value in zip(chosen, found, strict=True))
                if loss < least:
                    least, best = loss, [0.0] * size
                    for index, value in zip(chosen, found, strict=True):
                        best[index] = value
        return best


class FitState(msgspec.Struct, frozen=True, kw_only=True):
    """A Fit between two runs."""

    pod: Pod
    memory: float
    decode: Moments
    prefill: Moments
    serial: Moments


class Fit:
    """The coefficients as learnt from all samples so far: `pod`. A Member of nothing: it claims nothing by itself.

    `prior`: what is believed before; its `chunk` is kept. `memory`: in samples of one kind. Raises ValueError
    for settings that can't work.
    """

    def __init__(self, prior: Pod | None = None, *, memory: float = MEMORY) -> None:
        if memory < 1:
            raise ValueError(f"memory is at least 1 sample, got {memory}")
        self.pod = self._prior = prior or _ZERO
        self._keep = 1 - 1 / memory
        self._memory = memory
        self._decode, self._prefill, self._serial = Moments.none(3), Moments.none(3), Moments.none(1)

    def __repr__(self) -> str:
        return f"<Fit of {self._decode.count:.0f} passes, {self._prefill.count:.0f} with prompts: {self.pod}>"

    @property
    def samples(self) -> tuple[float, float]:
        """How many the coefficients rest on, of passes without and with a prompt, as far as they are not forgotten."""
        return self._decode.count, self._prefill.count

    def observe(self, sample: Sample) -> None:
        """A pass has been seen. Raises ValueError for one that can't be: no time, or nothing in the batch."""
        if not sample.ms > 0 or not (sample.running > 0 or sample.prompt > 0):
            raise ValueError(f"a pass takes time and has something in it, got {sample}")
        self._forget(sample)
        self._take(sample, sample.weight * self._trust(sample))
        self.pod = self._solved()

    def merge(self, other: Fit) -> None:
        """Take over what another worker has seen of the same kind of replica."""
        for mine, theirs in zip(self._moments(), other._moments(), strict=True):
            mine.merge(theirs)
        self.pod = self._solved()

    def state(self) -> FitState:
        return msgspec.json.decode(
            msgspec.json.encode(
                FitState(
                    pod=self.pod,
                    memory=self._memory,
                    decode=self._decode,
                    prefill=self._prefill,
                    serial=self._serial,
                )
            ),
            type=FitState,
        )

    @classmethod
    def from_state(cls, state: FitState, prior: Pod | None = None) -> Fit:
        """Goes on where `state()` was taken. Raises ValueError for moments of other sizes."""
        made = cls(prior, memory=state.memory)
        for moments, size in ((state.decode, 3), (state.prefill, 3), (state.serial, 1)):
            if len(moments.target) != size or [len(row) for row in moments.gram] != [size] * size:
                raise ValueError("the state holds moments of another size")
        made._decode, made._prefill, made._serial = state.decode, state.prefill, state.serial
        made.pod = state.pod
        return made

    def _moments(self) -> tuple[Moments, Moments, Moments]:
        return self._decode, self._prefill, self._serial

    def _forget(self, sample: Sample) -> None:
        if not sample.prompt:
            self._decode.forget(self._keep)
        elif not sample.running:
            self._prefill.forget(self._keep)
        else:
            self._serial.forget(self._keep)

    def _trust(self, sample: Sample) -> float:
        """Huber's weight of a sample, by the coefficients as they are."""
        expected = self.pod.pass_ms(sample.running, sample.held, sample.prompt, sample.attended)
        if expected <= 0:
            return 1.0
        off = abs(sample.ms - expected) / sample.ms
        return 1.0 if off <= TOLERANCE else TOLERANCE / off

    def _take(self, sample: Sample, weight: float) -> None:
        """Rows are relative: divided by the time that was seen."""
        scale = 1 / sample.ms
        if not sample.prompt:
            self._decode.add((scale, sample.running * scale, sample.held * scale), 1.0, weight)
        elif not sample.running:
            self._prefill.add(_prompt_row(sample, scale), 1.0, weight)
        else:
            self._take_mixed(sample, weight, scale)

    def _take_mixed(self, sample: Sample, weight: float, scale: float) -> None:
        """A pass with both: if its prompt outweighs the rest by far it tells of the prompt, else of the overlap."""
        pod = self.pod
        decode = pod.decode_ms(sample.running, sample.held)
        prefill = pod.prompt_pass_ms(sample.prompt, sample.attended)
        shorter, longer = min(decode, prefill), max(decode, prefill)
        if shorter:
            self._serial.add((shorter * scale,), (sample.ms - longer) * scale, weight)
        alone = sample.ms - pod.serial * decode
        if prefill >= decode and alone > 0:
            self._prefill.add(_prompt_row(sample, scale), alone * scale, weight)

    def _solved(self) -> Pod:
        prior = self._prior
        base, sequence, held = self._decode.solve((prior.base_ms, prior.sequence_ms, prior.held_ms))
        prefill, prompt, attend = self._prefill.solve((prior.prefill_ms, prior.prompt_ms, prior.attend_ms))
        (serial,) = self._serial.solve((prior.serial,))
        return Pod(
            base_ms=base,
            sequence_ms=sequence,
            held_ms=held,
            prefill_ms=prefill,
            prompt_ms=prompt,
            attend_ms=attend,
            serial=min(1.0, serial),
            chunk=prior.chunk,
        )


def fit(samples: Iterable[Sample], prior: Pod | None = None) -> Pod:
    """The coefficients that fit all samples at once; the result does not depend on their order."""
    rows = list(samples)
    pod = prior or _ZERO
    for _ in range(PASSES):  # each pass weighs the samples by the errors of the one before
        made = Fit(prior)
        made.pod = pod
        for sample in rows:
            made._take(sample, sample.weight * made._trust(sample))
        pod = made._solved()
    return pod


def _prompt_row(sample: Sample, scale: float) -> tuple[float, float, float]:
    return scale, sample.prompt * scale, sample.prompt * sample.attended * scale


def _solved(gram: list[list[float]], target: list[float]) -> list[float] | None:
    """Gauss with pivots; None for a singular system."""
    size = len(target)
    rows = [[*line, value] for line, value in zip(gram, target, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda index: abs(rows[index][column]))
        if abs(rows[pivot][column]) <= 1e-12 * max(abs(gram[column][column]), 1e-300):
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column]
        for other in range(column + 1, size):
            factor = rows[other][column] / head[column]
            rows[other] = [value - factor * above for value, above in zip(rows[other], head, strict=True)]
    found = [0.0] * size
    for index in reversed(range(size)):
        rest = sum(rows[index][other] * found[other] for other in range(index + 1, size))
        found[index] = (rows[index][size] - rest) / rows[index][index]
    return found

"""What answers that ran together say of an engine's passes: when each token came is when a pass ended.

Each pass gives every answer under way a token, and takes whole prompts in (a first token ends that pass). So a pass
with a prompt lasts from the token before it, or from when the prompt was sent to an idle engine, to its first token;
passes without one are told by spans of several, while as many answers run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.foundations.podmodel import Pod, Sample

SPAN, LEAST = 4, 3
"""Passes without a prompt that are told by one figure, at most and at least."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One answer as it came."""

    sent_ns: int
    prompt: int
    """Tokens that had to be read."""
    cached: int
    """Tokens before those, which were known."""
    read_ms: float
    """The engine's own time for the prompt."""
    came_ns: list[int]
    """When each token came."""

    @property
    def first_token_ms(self) -> float:
        return (self.came_ns[0] - self.sent_ns) / NS_PER_MS

    def had(self, at_ns: int) -> int:
        """Tokens that had come."""
        return sum(1 for came_ns in self.came_ns if came_ns <= at_ns)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A pass with prompts, whose end is their first token; or the mean one of a span without."""

    sample: Sample
    held_out: bool = False
    """It is kept from what is fitted, to see how wrong that is."""

    @property
    def is_first_token(self) -> bool:
        return self.sample.prompt > 0

    def error(self, pod: Pod) -> float:
        """By which share of what it took the coefficients are off."""
        sample = self.sample
        return abs(pod.pass_ms(sample.running, sample.held, sample.prompt, sample.attended) / sample.ms - 1)


def passes(answers: Sequence[Answered], *, held_out: bool = False) -> list[Seen]:
    """Of answers that nobody else shared the engine with, one of them of two tokens or more."""
    came = max(answers, key=lambda one: len(one.came_ns)).came_ns
    # Tokens of one pass come some ms apart where prompts were long; half a pass apart they are of two.
    apart_ns = int(median(after - before for before, after in pairwise(came)) / 2)
    found = []
    firsts = sorted(answers, key=lambda one: one.came_ns[0])
    while firsts:
        group = [one for one in firsts if one.came_ns[0] - firsts[0].came_ns[0] <= apart_ns]
        firsts = firsts[len(group) :]
        found.append(Seen(sample=_with_prompts(group, answers, apart_ns), held_out=held_out))
    spans = _without(answers, came, apart_ns)
    return found + [Seen(sample=sample, held_out=held_out) for sample in spans]


def _with_prompts(group: Sequence[Answered], answers: Sequence[Answered], apart_ns: int) -> Sample:
    """The pass that took these prompts in."""
    ended_ns = group[0].came_ns[0]
    before_ns = ended_ns - apart_ns
    running = [one for one in answers if one.came_ns[0] < before_ns < one.came_ns[-1]]
    last_ns = max((came_ns for one in running for came_ns in one.came_ns if came_ns < before_ns), default=0)
    began_ns = max(last_ns, min(one.sent_ns for one in group))
    prompt = sum(one.prompt for one in group)
    attended = sum(one.prompt * (one.cached + one.prompt / 2) for one in group)
    return Sample(
        ms=(ended_ns - began_ns) / NS_PER_MS,
        running=len(running),
        held=_held(running, before_ns),
        prompt=prompt,
        attended=attended / prompt,
    )


def _without(answers: Sequence[Answered], came: Sequence[int], apart_ns: int) -> Iterator[Sample]:
    """Spans in which nobody came or went, by the tokens of one answer."""
    for running, alike in groupby(pairwise(came), lambda one: _running(answers, one[0], one[1], apart_ns)):
        together = list(alike) if running else []
        for start in range(0, len(together), SPAN):
            span = together[start : start + SPAN]
            if len(span) >= LEAST:
                began_ns, ended_ns = span[0][0], span[-1][1]
                yield Sample(
                    ms=(ended_ns - began_ns) / NS_PER_MS / len(span),
                    running=len(running),
                    held=_held([answers[at] for at in running], (began_ns + ended_ns) // 2),
                )


def _running(answers: Sequence[Answered], began_ns: int, ended_ns: int, apart_ns: int) -> tuple[int, ...]:
    """Whose tokens came of a pass; nobody's where it had a prompt in it."""
    if any(began_ns + apart_ns < one.came_ns[0] <= ended_ns + apart_ns for one in answers):
        return ()
    return tuple(
        at
        for at, one in enumerate(answers)
        if one.came_ns[0] <= began_ns + apart_ns and one.came_ns[-1] >= ended_ns - apart_ns
    )


def _held(running: Sequence[Answered], at_ns: int) -> int:
    """Tokens that they hold together."""
    return sum(one.cached + one.prompt + one.had(at_ns) for one in running)


__all__ = ["Answered", "Seen", "passes"]

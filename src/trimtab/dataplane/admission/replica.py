"""What one replica of a tier has before it, as far as this gateway knows.

Load is counted, not scraped: gauges of an engine are old by the time they are read, and several requests let in by the
same old figure overload it (llm-d-router PR#2066). What others ask of the same engine shows in the times that it takes,
from which the predictor learns.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.foundations.podmodel import Ask, Load, Pod, Sample

BUSY_MS: Final = 8_000.0
"""Time constant of how busy prompts keep a replica."""
TOGETHER_NS: Final = NS_PER_MS
"""First tokens that come so close to each other are of the same pass."""


class Running:
    """One request that runs. `wrote` counts its tokens; whoever streams them keeps it up to date."""

    __slots__ = ("ask", "began_ns", "expected_ns", "first_ns", "load", "place", "sums", "wrote")

    def __init__(self, ask: Ask, place: Replica, load: Load, now_ns: int) -> None:
        self.ask, self.place, self.load, self.began_ns = ask, place, load, now_ns
        self.expected_ns = 0
        """When its prompt should be in, as its replica reckons."""
        self.first_ns: int | None = None
        self.wrote = 0
        self.sums = (0.0, 0.0, 0.0, 0.0)
        """Its replica's when its first token came."""


class _Intake(msgspec.Struct):
    """Prompts that were in at the same time, so that they went through the same passes."""

    began_ns: int
    ended_ns: int
    prompt: float
    squares: float
    load: Load


class Replica:
    """Requests on one replica, and sums over time from which mean passes are told.

    Prompts are taken in one after the other, first come, first served: `ahead_ms` is until the last of them should be
    in. Each first token corrects that for all that come after it.
    """

    def __init__(self) -> None:
        self.running: set[Running] = set()
        self._waiting: dict[Running, float] = {}
        """Prompt tokens of those who have no first token yet, in order."""
        self._clear_ns = self._late_ns = 0
        """When all prompts should be in, and how late first tokens have been in all."""
        self._intake: _Intake | None = None
        self._busy = 0.0
        self._at_ns: int | None = None
        self._sums = (0.0, 0.0, 0.0, 0.0)
        """Over time: ms, sequences that decode x ms, tokens they hold x ms; and ms that prompts took from them."""

    def __len__(self) -> int:
        return len(self.running)

    @property
    def intake(self) -> float:
        """Prompt tokens to be taken in."""
        return sum(self._waiting.values())

    def load(self, now_ns: int) -> Load:
        """As it is now."""
        self._pass_time(now_ns)
        return Load(
            running=len(self.running) - len(self._waiting),
            held=self._held(),
            ahead_ms=max(0, self._clear_ns + self._late_ns - now_ns) / NS_PER_MS if self._waiting else 0.0,
            busy=min(1.0, self._busy),
        )

    def begin(self, running: Running, pod: Pod) -> None:
        """It is sent."""
        ask, load = running.ask, running.load
        self.running.add(running)
        self._waiting[running] = work = max(0.0, ask.prompt - ask.cached)
        self._busy = min(1.0, self._busy + _taken_ms(pod, ask, work, load) / BUSY_MS)
        takes_ms = load.ahead_ms + pod.intake_ms(work, ask.cached, load.running, load.held)
        self._clear_ns = running.expected_ns = running.began_ns + int(takes_ms * NS_PER_MS) - self._late_ns

    def first(self, running: Running, pod: Pod, now_ns: int) -> Sample | None:
        """Its first token has come: what that says of passes with a prompt, once nobody else came with it."""
        work = self._waiting.pop(running, None)
        if work is None:
            return None
        self._pass_time(now_ns)
        self._late_ns += now_ns - (running.expected_ns + self._late_ns)
        load, ask = running.load, running.ask
        ms, sequences, held, taken = self._sums
        self._sums = (ms, sequences, held, taken + _taken_ms(pod, ask, work, load))
        running.first_ns, running.sums = now_ns, self._sums
        last, squares = self._intake, work * (ask.cached + work / 2)
        if last is not None and now_ns - last.ended_ns < TOGETHER_NS:
            last.prompt, last.squares = last.prompt + work, last.squares + squares
            return None
        began_ns = running.began_ns
        if last is not None and last.ended_ns > began_ns:
            began_ns = last.ended_ns
        self._intake = _Intake(began_ns, now_ns, work, squares, load)
        return _sample(last, pod) if last is not None else None

    def end(self, running: Running, now_ns: int) -> Sample | None:
        """It runs no more: what its tokens say of passes without a prompt."""
        self._pass_time(now_ns)
        self.running.discard(running)
        self._waiting.pop(running, None)
        if running.first_ns is None or running.wrote < 2:
            return None
        ms, sequences, held, taken = (new - old for new, old in zip(self._sums, running.sums, strict=True))
        if ms <= 0 or taken > 0.5 * ms:
            return None  # most of it was prompts: what is left is their error
        return Sample(ms=(ms - taken) / (running.wrote - 1), running=max(1.0, sequences / ms), held=held / ms)

    def _held(self) -> float:
        return sum(one.ask.prompt + one.wrote for one in self.running if one.first_ns is not None)

    def _pass_time(self, now_ns: int) -> None:
        """Bring averages and sums up to now."""
        if self._at_ns is None:
            self._at_ns = now_ns
        span_ms = (now_ns - self._at_ns) / NS_PER_MS
        if span_ms <= 0:
            return
        self._at_ns = now_ns
        ms, sequences, held, taken = self._sums
        decoding = len(self.running) - len(self._waiting)
        self._sums = (ms + span_ms, sequences + span_ms * decoding, held + span_ms * self._held(), taken)
        self._busy *= math.exp(-span_ms / BUSY_MS)


def _sample(intake: _Intake, pod: Pod) -> Sample | None:
    """The pass under way when a prompt came is not its own: half of one, unless others' prompts were before it."""
    load, ms = intake.load, (intake.ended_ns - intake.began_ns) / NS_PER_MS
    if not load.ahead_ms:
        ms -= pod.decode_ms(load.running, load.held) / 2
    if ms <= 0 or intake.prompt <= 0:
        return None
    attended = intake.squares / intake.prompt
    return Sample(ms=ms, running=load.running, held=load.held, prompt=intake.prompt, attended=attended)


def _taken_ms(pod: Pod, ask: Ask, work: float, load: Load) -> float:
    """What those who decode lose to a prompt."""
    if work <= 0 or load.running <= 0:
        return 0.0
    return max(0.0, pod.added_ms(load.running, load.held, work, ask.cached + work / 2))

"""What one replica of a tier has before it, as far as this gateway knows.

Load is counted, not scraped: gauges of an engine are old by the time they are read, and several requests let in by the
same old figure overload it (llm-d-router PR#2066). What an engine that tells has beyond it is others' (`foreign`), and
is added to what is counted, in forecasts and in what passes teach alike. Where none tells, it shows in the times that
the engine takes, from which the predictor learns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.dataplane.admission.foreign import Foreign, Told, Typical
from trimtab.dataplane.admission.turn import Turn
from trimtab.foundations.podmodel import BUSIEST, Ask, Load, Pod, Sample, Times, decode_pass_ms

BUSY_MS: Final = 8_000.0
"""Time constant of how busy prompts keep a replica."""
GROUP: Final = 4
"""Prompts that tell together what one takes."""
TOGETHER_NS: Final = NS_PER_MS
"""First tokens that come so close to each other, or within a quarter of what the prompt itself takes, are of the same
passes."""
LEAST_REST: Final = 0.5
"""Share of a span that sequences must have had beside prompts, for it to tell their pace."""
IN_TURN: Final = 0.05
"""Weight of the newest of what is seen of prompts that wait for others."""
MOST_WAIT: Final = 1.5
"""Share that one observation may say: noise goes both ways."""
ALONE: Final = 0.5
"""Share below which a prompt's time is its own, however many others are under way."""
PAUSE: Final = 0.2
"""What a second in which an answer pauses weighs, beside one before it begins: it is read meanwhile. With 0 answers end
8 % later, with more first tokens come later (benchmarks/replica_choice)."""
SLOWER: Final = 0.3
"""What a second weighs by which answers end later, beside one before they begin."""
STEP: Final = 32
"""Tokens of one answer that tell its pace; what is left at its end tells it, too."""
LONGER: Final = 0.25
"""What is left of an answer that is longer than expected, as a share of what it has."""


class InTurn:
    """How far prompts are taken in one after the other: 1 by an engine that has one machine for all, 0 by a service
    that has one for each, of which a caller sees only that the first token comes after a while. Learned from first
    tokens of prompts that had others before them: the share of these that they waited for."""

    def __init__(self) -> None:
        self._mean = 1.0
        self._seen = 0

    @property
    def share(self) -> float:
        return min(self._mean, 1.0)

    def restore(self, share: float) -> None:
        """Raises ValueError for what is no share."""
        if not 0 <= share <= 1:
            raise ValueError("the state holds a share that is none")
        self._mean = share

    def observe(self, waited_ms: float, before_ms: float) -> None:
        """It came so much later than it would have alone; those before it take so long."""
        if before_ms > 0:
            self._seen += 1
            share = min(max(waited_ms / before_ms, 0.0), MOST_WAIT)
            self._mean += max(IN_TURN, 1 / (self._seen + 1)) * (share - self._mean)


class Running:
    """One request that runs, from its admission on. `wrote` counts its tokens; whoever streams them keeps it up to
    date."""

    __slots__ = (
        "ask",
        "before_ms",
        "began_ns",
        "expected_ns",
        "first_ns",
        "load",
        "mark",
        "place",
        "sums",
        "told",
        "turn",
        "wrote",
    )

    def __init__(self, turn: Turn, place: Replica, load: Load, now_ns: int) -> None:
        self.turn, self.ask = turn, turn.ask_of(place.id)
        self.place, self.load, self.began_ns = place, load, now_ns
        """`load`: what was before it when it was sent, without itself."""
        self.before_ms = 0.0
        """What prompts on their way before it take by themselves."""
        self.expected_ns = 0
        """When its prompt should be in, as its replica reckons."""
        self.first_ns: int | None = None
        self.wrote = self.told = 0
        """`told`: those that the expected length knows of."""
        self.mark = 0
        """Its tokens when its pace was last told."""
        self.sums = (0.0, 0.0, 0.0, 0.0)
        """Its replica's at that mark."""

    def left(self, length: float) -> float:
        """Tokens to come, of an answer of `length`."""
        return max(length - self.wrote, LONGER * self.wrote, 1.0)


class _Intake(msgspec.Struct):
    """Prompts that were taken in one after the other without a pause. When one of them is in, says little by itself:
    passes take parts of several."""

    began_ns: int
    ended_ns: int
    prompts: int
    prompt: float
    squares: float
    load: Load


class Replica:
    """Requests on one replica, and sums over time from which mean passes are told.

    Prompts are taken in one after the other, first come, first served: `ahead_ms` is until the last of them should be
    in. Each first token corrects that for all that come after it.
    """

    def __init__(self, in_turn: InTurn | None = None, name: str = "", typical: Typical | None = None) -> None:
        self.id, self.in_turn, self._typical = name, in_turn or InTurn(), typical or Typical()
        self.foreign = Foreign(self._typical)
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

    def crowd(self, now_ns: int) -> int:
        """Requests there, others' among them."""
        return len(self.running) + self.foreign.number(now_ns)

    def tell(self, told: Told, pod: Pod, now_ns: int) -> None:
        """The engine has told what it is at."""
        self._pass_time(now_ns)
        self.foreign.tell(told, len(self.running), len(self._waiting), pod, self.in_turn.share, now_ns)

    def load(self, now_ns: int) -> Load:
        """As it is now, others' among it."""
        self._pass_time(now_ns)
        others = self.foreign.load(now_ns)
        ahead_ms = max(0, self._clear_ns + self._late_ns - now_ns) / NS_PER_MS if self._waiting else 0.0
        return Load(
            running=len(self.running) - len(self._waiting) + others.running,
            held=self._held() + others.held,
            ahead_ms=ahead_ms + others.ahead_ms,
            busy=min(1.0, self._busy),
            coming=len(self._waiting) + others.coming,
            coming_held=sum(one.ask.prompt for one in self._waiting) + others.coming_held,
        )

    def cost_ms(self, pod: Pod, load: Load, ask: Ask) -> float:
        """What one more request costs here, at this load, in ms that people wait.

        Its own wait: the pass under way and the prompts before it. Then its own prompt, as far as that is not held; on
        a replica that prompts keep busy for a share b of its time, those who come meanwhile wait for it, too, and
        those behind them: in all 1 / (1 - b) times as long. At lower weights (`PAUSE`, `SLOWER`) the pause of those who
        write, its own answer, and by how much others write slower beside it, each over half of an answer.
        """
        wait = pod.decode_ms(load.running, load.held) / 2 + load.ahead_ms
        pause = load.running * self._taken_ms(pod, ask, load)
        beside = load.running + load.coming
        held = load.held + load.coming_held + ask.prompt + ask.output / 2
        after = decode_pass_ms(pod, Load(running=beside + 1, held=held, busy=load.busy))
        slower = ask.output * (after + (after - decode_pass_ms(pod, load)) * beside / 2)
        own = _own_ms(pod, ask, load) / (1 - min(load.busy, BUSIEST))
        return wait + own + PAUSE * pause + SLOWER * slower

    def join(self, running: Running, now_ns: int) -> None:
        """It writes here from now on; nobody knows when its prompt was taken in."""
        self._pass_time(now_ns)
        self.running.add(running)
        running.place, running.first_ns, running.sums = self, now_ns, self._sums
        running.mark = max(1, running.wrote)

    def begin(self, running: Running, pod: Pod) -> None:
        """It is on its way."""
        ask, load, others = running.ask, running.load, self.foreign.load(running.began_ns)
        self.running.add(running)
        self._waiting[running] = _work(ask)
        self._typical.observe(ask)
        self._busy = min(1.0, self._busy + self._taken_ms(pod, ask, load) / BUSY_MS)
        own_ms = _own_ms(pod, ask, load)
        if not others.coming:  # whose prompts are of unknown length: how long these take shows nothing of turns
            running.before_ms = sum(_own_ms(pod, one.ask, load) for one in self._waiting if one is not running)
        running.expected_ns = running.began_ns + int((load.ahead_ms + own_ms) * NS_PER_MS) - self._late_ns
        clear_ms = max(0.0, load.ahead_ms - others.ahead_ms) + self.in_turn.share * own_ms
        self._clear_ns = running.began_ns + int(clear_ms * NS_PER_MS) - self._late_ns

    def sent(self, running: Running, pod: Pod, now_ns: int) -> None:
        """It goes out only now, or once more: from here on it is timed, and what it does comes that much later."""
        if running not in self._waiting:
            return
        now, others, ask = self.load(now_ns), self.foreign.load(now_ns), running.ask
        before = Load(
            running=now.running,
            held=now.held,
            busy=now.busy,
            coming=now.coming - 1,
            coming_held=now.coming_held - ask.prompt,
        )
        own_ms = _own_ms(pod, ask, before)
        ahead_ms = max(0.0, (running.expected_ns + self._late_ns - now_ns) / NS_PER_MS - own_ms)
        running.began_ns, running.load = now_ns, msgspec.structs.replace(before, ahead_ms=ahead_ms)
        running.expected_ns = now_ns + int((ahead_ms + own_ms) * NS_PER_MS) - self._late_ns
        clear_ms = max(0.0, ahead_ms - others.ahead_ms) + self.in_turn.share * own_ms
        self._clear_ns = max(self._clear_ns, now_ns + int(clear_ms * NS_PER_MS) - self._late_ns)

    def first(self, running: Running, pod: Pod, now_ns: int) -> Sample | None:
        """Its first token has come: what that says of passes with a prompt, once nobody else came with it."""
        work = self._waiting.pop(running, None)
        if work is None:
            return None
        self._pass_time(now_ns)
        load, ask = running.load, running.ask
        own_ms, share = _own_ms(pod, ask, load), self.in_turn.share
        self.in_turn.observe((now_ns - running.began_ns) / NS_PER_MS - own_ms, running.before_ms)
        self._late_ns += int(share * (now_ns - (running.expected_ns + self._late_ns)))
        ms, sequences, held, taken = self._sums
        self._sums = (ms, sequences, held, taken + self._taken_ms(pod, ask, load))
        running.first_ns, running.sums, running.mark = now_ns, self._sums, 1
        last, squares = self._intake, work * (ask.cached + work / 2)
        if share < ALONE:
            self._intake = None
            return _sample(_Intake(running.began_ns, now_ns, 1, work, squares, load), pod)
        waited = last is not None and last.ended_ns > running.began_ns
        together_ns = max(TOGETHER_NS, int(0.25 * own_ms * NS_PER_MS))
        if last is not None and (now_ns - last.ended_ns < together_ns or (waited and last.prompts < GROUP)):
            last.prompts, last.prompt, last.squares = last.prompts + 1, last.prompt + work, last.squares + squares
            last.ended_ns = now_ns
            return None
        began_ns = last.ended_ns if waited and last is not None else running.began_ns
        self._intake = _Intake(began_ns, now_ns, 1, work, squares, load)
        return _sample(last, pod) if last is not None else None

    def end(self, running: Running, now_ns: int) -> Sample | None:
        """It runs no more. What of its prompt was not taken in, those behind it need not wait for."""
        sample = self.passed(running, now_ns)
        self.foreign.ended(len(self.running), now_ns)
        self.running.discard(running)
        if running in self._waiting:
            before = list(self._waiting)[: list(self._waiting).index(running)]
            begun_ns = before[-1].expected_ns if before else running.began_ns
            spared_ns = max(0, running.expected_ns - max(begun_ns, now_ns - self._late_ns))
            del self._waiting[running]
            for other in list(self._waiting)[len(before) :]:
                other.expected_ns -= spared_ns
            self._clear_ns -= spared_ns
        return sample

    def passed(self, running: Running, now_ns: int) -> Sample | None:
        """What its tokens since the last mark say of passes without a prompt."""
        self._pass_time(now_ns)
        tokens = running.wrote - running.mark
        if running.first_ns is None or tokens < 1:
            return None
        ms, sequences, held, taken = (new - old for new, old in zip(self._sums, running.sums, strict=True))
        running.sums, running.mark = self._sums, running.wrote
        rest = 1 - taken / ms if ms > 0 else 0.0
        if rest < LEAST_REST:
            return None  # nearly all of it was prompts: what is left is their error
        return Sample(ms=rest * ms / tokens, running=max(1.0, sequences / ms), held=held / ms)

    def spares(
        self, ask: Ask, load: Load, times: Times, pod: Pod, ratios: Callable[[float], tuple[float, float]], now_ns: int
    ) -> bool:
        """Whether those who run stay within their contracts with one more, as far as they are within them now.
        `ratios`: by which the time between tokens and the end are to be multiplied, for a percentile."""
        before_ms, after_ms = decode_pass_ms(pod, load), times.itl_ms
        pause_ms = self._taken_ms(pod, ask, load)
        for one in self.running:
            latency = one.turn.latency
            itl, e2e = ratios(latency.percentile)
            if after_ms * itl > latency.itl_ms >= before_ms * itl:
                return False
            left_ms = (one.turn.due_ns - now_ns) / NS_PER_MS
            rest = one.left(one.ask.output * e2e)
            if rest * after_ms + pause_ms > left_ms >= rest * before_ms:
                return False
        return True

    def _taken_ms(self, pod: Pod, ask: Ask, load: Load) -> float:
        """What those who decode lose to a prompt."""
        work = _work(ask)
        if work <= 0 or load.running <= 0:
            return 0.0
        return self.in_turn.share * max(0.0, pod.added_ms(load.running, load.held, work, ask.cached + work / 2))

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
        others = self.foreign.load(now_ns)
        decoding = len(self.running) - len(self._waiting) + others.running
        self._sums = (
            ms + span_ms,
            sequences + span_ms * decoding,
            held + span_ms * (self._held() + others.held),
            taken,
        )
        self._busy *= math.exp(-span_ms / BUSY_MS)


def _sample(intake: _Intake, pod: Pod) -> Sample | None:
    """The pass under way when a prompt came is not its own: half of one, unless others' prompts were before it."""
    load, ms = intake.load, (intake.ended_ns - intake.began_ns) / NS_PER_MS
    if not load.ahead_ms:
        ms -= pod.decode_ms(load.running, load.held) / 2
    if ms <= 0 or intake.prompt <= 0:
        return None
    return Sample(
        ms=ms / intake.prompts,
        running=load.running,
        held=load.held,
        prompt=intake.prompt / intake.prompts,
        attended=intake.squares / intake.prompt,
        weight=intake.prompts,
    )


def _work(ask: Ask) -> float:
    """Prompt tokens to be taken in."""
    return max(0.0, ask.prompt - ask.cached)


def _own_ms(pod: Pod, ask: Ask, load: Load) -> float:
    """Of its own prompt."""
    return pod.intake_ms(_work(ask), ask.cached, load.running, load.held)

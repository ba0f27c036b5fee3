"""What a tier is at: the requests that it has taken on, what one more would take, and what it would do to them.

A forecast is the iteration model's (`podmodel`), times a quantile of what outcomes have been over forecasts. At which
level that quantile is taken, is corrected by what came of those who were admitted (`stats.Level`): the share of them
that missed their contract is held to what their percentile allows. A quantile that covers all but that share of *every*
forecast would be far stricter, since of those with time to spare nearly none is missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.core.rows import Short
from trimtab.dataplane.admission.expected import OUTPUT, PROMPT, Expected
from trimtab.dataplane.admission.foreign import Told, Typical
from trimtab.dataplane.admission.replica import InTurn, Replica, Running
from trimtab.dataplane.admission.turn import Turn
from trimtab.foundations.podmodel import (
    FIGURES,
    Ask,
    Figure,
    Fit,
    FitState,
    Load,
    Pod,
    Predictor,
    Sample,
    Times,
    learned_at,
)
from trimtab.foundations.stats import Certificate, Level, Rate

NEEDED: Final = 5
"""Passes with a prompt, and twice as many without, before anything is foreseen."""
MISSED: Final = 0.7
"""Of the share of misses that a percentile allows, what decisions are held to: the rest is for what nobody foresaw, the
first answers of a model among it."""
LIKELY: Final = 0.5
"""Level at which who is promised room is judged."""
EVERY_NS: Final = 50 * NS_PER_MS
"""How often at most a pass of either kind teaches: each costs 30 us, and a busy tier says the same all the time."""


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


class TierState(msgspec.Struct, frozen=True, kw_only=True):
    """What a Tier has learned, for another process: not how wrong its forecasts were, which one process alone can
    certify."""

    fit: FitState
    """Of passes."""
    in_turn: float = 1.0
    """How far prompts are taken in one after the other."""
    share: float = PROMPT
    """Tokens of prompts, as a share of their bound."""
    output: float = OUTPUT
    """Mean length of all answers, in tokens."""
    outputs: list[tuple[str, str, float]] = []
    """Tenant, channel and the mean length of its answers in tokens; who was asked for longest ago comes first."""

    @property
    def is_enough(self) -> bool:
        """A tier that has it foresees something."""
        return known(self.fit.decode.count, self.fit.prefill.count) == FIGURES


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision saw: times in ms from then on at the level of decisions."""

    short: Short | None
    """What stands in its way; None: it may run."""
    percentile: float
    level: float | None = None
    """At which the quantile of errors was taken; None: nobody asked, slots or others decided."""
    ttft_ms: float | None = None
    """None, with the two below: too little is known."""
    itl_ms: float | None = None
    e2e_ms: float | None = None
    waived: tuple[Figure, ...] = ()
    """Targets that would not be kept even on an idle tier, and so did not count."""
    order: tuple[str, ...] = ()
    """Ids of replicas: the one that was reckoned with, then the others, the cheapest first."""
    idle: bool = False
    """Nobody of ours runs on that one."""
    held: float | None = None
    """Share of the prompt that it is believed to hold; None: there is no other."""
    cost_ms: float | None = None
    """What the request costs there; None: too little is known, or there is no other."""
    next_ms: float | None = None
    """What it would cost on the next one."""


class Tier:
    """One model's replicas. A request goes where it costs the least (`Replica.cost_ms`), as long as one knows; else to
    the one with the fewest, of these to who holds most of its prompt. `replicas`: their ids, or how many there are."""

    def __init__(self, predictor: Predictor, replicas: int | Sequence[str] = 1) -> None:
        self.predictor = predictor
        self.expected = Expected()
        self.rows: tuple[str | None, str | None] = (None, None)
        """Ids of the first and the last record that it has learned from."""
        self._levels: dict[float, tuple[Level, Rate]] = {}
        self._alone: tuple[Turn, Times, tuple[Figure, ...]] | None = None
        """Of who was asked for last: what an idle tier would take, and which of its targets that would keep."""
        self.in_turn, self._typical = InTurn(), Typical()
        self._replicas: list[Replica] = []
        self._each = math.inf
        self._learned_ns: dict[bool, int] = {}
        """When a pass with and one without a prompt taught last."""
        self.resize(replicas)

    def __repr__(self) -> str:
        return f"<Tier of {len(self._replicas)} replicas, {self.predictor!r}>"

    def resize(self, replicas: int | Sequence[str], slots: int | None = None) -> None:
        """From now on, with so many slots together; without any, those that were there stay for when one comes back.
        Who runs on a replica that goes keeps it to the end."""
        names = list(map(str, range(replicas))) if isinstance(replicas, int) else replicas
        old = {one.id: one for one in self._replicas}
        self._replicas = [
            old[name] if name in old else Replica(self.in_turn, name, self._typical) for name in names or old or ["0"]
        ]
        self._each = math.inf if slots is None else math.ceil(slots / len(self._replicas))

    @property
    def replicas(self) -> int:
        """At least 1."""
        return len(self._replicas)

    @property
    def places(self) -> Sequence[Replica]:
        """The replicas themselves."""
        return self._replicas

    @property
    def known(self) -> tuple[Figure, ...]:
        """Figures of which enough passes were seen for a forecast to mean something. Prompts tell their pace first."""
        return known(*self.predictor.fit.samples)

    @property
    def is_ready(self) -> bool:
        """Whether all of them are known."""
        return len(self.known) == len(FIGURES)

    def state(self) -> TierState:
        share, output, outputs = self.expected.state()
        return TierState(
            fit=self.predictor.fit.state(), in_turn=self.in_turn.share, share=share, output=output, outputs=outputs
        )

    def restore(self, state: TierState) -> None:
        """Know what another tier knew. Raises ValueError for a state that no tier has; nothing is changed then."""
        fit = Fit.from_state(state.fit)
        InTurn().restore(state.in_turn)
        self.expected.restore(state.share, state.output, state.outputs)
        self.in_turn.restore(state.in_turn)
        fit.epoch = self.predictor.fit.epoch  # one that fell back would never learn from an outcome again
        self.predictor.fit = fit

    # --- the decision

    def look(self, turn: Turn, now_ns: int, *, promised: bool = False, others: float = 0.0) -> Look:
        """What it would take now, where it costs the least, or where the fewest run if it would not fit there. Costs
        about a microsecond for each request on each replica.

        Who was `promised` room is let in if it is more likely than not to be in time; the level of the rest makes up
        for that. `others`: so many like it come first.
        """
        found = self._order(turn, now_ns)
        look = self._look(found[0][0], turn, now_ns, promised, others)
        if len(found) == 1:
            return msgspec.structs.replace(look, order=(found[0][0].id,))
        rest = [one for one in found[1:] if one[0].id not in turn.avoid]
        if look.short is not None and rest:
            fewest = min(rest, key=lambda one: one[0].crowd(now_ns))
            if fewest[0].crowd(now_ns) < found[0][0].crowd(now_ns):
                second = self._look(fewest[0], turn, now_ns, promised, others)
                if second.short is None or second.idle:
                    found.remove(fewest)
                    found.insert(0, fewest)
                    look = second
        (first, cost_ms), (_, next_ms), *_ = found
        share, order = turn.held.get(first.id, 0.0), tuple(one.id for one, _ in found)
        return msgspec.structs.replace(look, order=order, held=share, cost_ms=cost_ms, next_ms=next_ms)

    def _order(self, turn: Turn, now_ns: int) -> list[tuple[Replica, float | None]]:
        """The cheapest first, each with what it costs in ms, if anybody knows; behind them those whose memory is full,
        those without a free slot, and last those that are better left alone."""
        if len(self._replicas) == 1:
            return [(self._replicas[0], None)]
        pod, avoid, known = self.predictor.fit.pod, turn.avoid, self.known

        def rank(place: Replica, cost: float) -> tuple[bool, bool, bool, float, int, float]:
            crowd, held = place.crowd(now_ns), turn.held.get(place.id, 0.0)
            return place.id in avoid, crowd >= self._each, place.foreign.is_full(now_ns), cost, crowd, -held

        found: list[tuple[Replica, float | None]] = []
        for one in self._replicas:
            found.append((one, one.cost_ms(pod, one.load(now_ns), turn.ask_of(one.id)) if known else None))
        return sorted(found, key=lambda one: rank(one[0], one[1] or 0.0))

    def _look(self, place: Replica, turn: Turn, now_ns: int, promised: bool, others: float) -> Look:
        percentile, idle = turn.latency.percentile, not len(place)
        known = self.known
        if not known:
            return Look(short=None, percentile=percentile, idle=idle)
        level = max(self.level(percentile), LIKELY if promised else 0.0)
        ask, pod = turn.ask_of(place.id), self.predictor.fit.pod
        load = place.load(now_ns)
        if others:
            load = _with(load, ask, others / len(self._replicas), pod, self.in_turn.share)
        times = self.predictor.forecast(load, ask)
        told = {figure: times.of(figure) * self.predictor.ratio(figure, level) for figure in FIGURES}
        waited_ms = (now_ns - turn.at_ns) / NS_PER_MS
        targets = targets_of(turn)
        late = [one for one in known if told[one] + (waited_ms if one != "itl" else 0.0) > targets[one]]
        waived = () if turn.strict or not late else tuple(one for one in late if one not in self.on_idle(turn)[1])
        short: Short | None = next((one for one in late if one not in waived), None)
        if (
            short is None
            and not promised
            and len(known) == len(FIGURES)
            and not place.spares(ask, load, times, pod, self._ratios, now_ns)
        ):
            short = "others"
        return Look(
            short=short,
            percentile=percentile,
            level=level,
            ttft_ms=told["ttft"],
            itl_ms=told["itl"] if "itl" in known else None,
            e2e_ms=told["e2e"] if "e2e" in known else None,
            waived=waived,
            idle=idle,
        )

    def level(self, percentile: float) -> float:
        """Of decisions about contracts of this percentile."""
        return self._held(percentile)[0].value

    def _held(self, percentile: float) -> tuple[Level, Rate]:
        name = learned_at(percentile)
        found = self._levels.get(name)
        if found is None:
            found = self._levels[name] = (Level(MISSED * (1 - name)), Rate())
        return found

    def judge(self, percentile: float, *, missed: bool, epoch: int = 0) -> None:
        """What came of somebody whom forecasts of an epoch (`Fit.epoch`) had let in. Who is late because the pace has
        changed since shows nothing of how strict to be."""
        level, rate = self._held(percentile)
        if epoch == self.predictor.fit.epoch:
            level.observe(missed)
        rate.observe(missed)

    def certificate(self, percentile: float) -> Certificate:
        """How many of those miss their contract."""
        return self._held(percentile)[1].certificate()

    def can_keep(self, turn: Turn) -> bool:
        """Whether its targets could be kept if nothing else ran; also where nobody knows."""
        return not self.is_ready or len(self.on_idle(turn)[1]) == len(FIGURES)

    def latest_ns(self, turn: Turn) -> int | None:
        """Until when waiting makes sense: from then on even an idle tier would miss its targets. None: nobody knows."""
        if not self.is_ready:
            return None
        level, (times, kept) = self.level(turn.latency.percentile), self.on_idle(turn)
        found = []
        dues: tuple[tuple[Figure, int], ...] = (("ttft", turn.first_due_ns), ("e2e", turn.due_ns))
        for figure, due_ns in dues:
            if turn.strict or figure in kept:
                found.append(due_ns - int(times.of(figure) * self.predictor.ratio(figure, level) * NS_PER_MS))
        return min(found, default=None)

    # --- what runs

    def tell(self, replica: str, told: Told, now_ns: int) -> None:
        """The engine of that replica has told what it is at; a replica that is not known is nobody's."""
        place = self._named(replica)
        if place is not None:
            place.tell(told, self.predictor.fit.pod, now_ns)

    def begin(self, turn: Turn, now_ns: int, replica: str | None = None) -> Running:
        """It is admitted: from now on it counts, on that replica, or where it costs the least."""
        place = self._named(replica)
        if place is None:
            place = self._order(turn, now_ns)[0][0]
        running = Running(turn, place, place.load(now_ns), now_ns)
        place.begin(running, self.predictor.fit.pod)
        return running

    def sent(self, running: Running, now_ns: int) -> None:
        """It goes to its replica: from now on it is timed."""
        running.place.sent(running, self.predictor.fit.pod, now_ns)

    def foresee(self, running: Running) -> Foreseen | None:
        """What it will take from when it was sent, for the record; None: too little was seen yet."""
        if not self.is_ready:
            return None
        load, ask, at = running.load, running.ask, self.predictor.at
        percentile = running.turn.latency.percentile
        times = self.predictor.forecast(load, ask)
        return Foreseen(
            times=times,
            percentile=percentile,
            ttft_ms=at(times, "ttft", percentile),
            itl_ms=at(times, "itl", percentile),
            e2e_ms=at(times, "e2e", percentile),
            ask=ask,
            load=load,
            intake=max(0.0, running.place.intake - ask.prompt),
        )

    def moved(self, running: Running, replica: str, now_ns: int) -> None:
        """Another replica has begun to answer it than it was reckoned to. What came of it there says nothing of the
        time that it took."""
        place = self._named(replica)
        if place is not None and place is not running.place:
            running.place.end(running, now_ns)
            place.join(running, now_ns)

    def first(self, running: Running, now_ns: int) -> None:
        """Its first token has come."""
        sample = running.place.first(running, self.predictor.fit.pod, now_ns)
        self._learn(sample, now_ns)

    def passed(self, running: Running, now_ns: int) -> None:
        """More of its tokens have come."""
        self._wrote(running, ended=False)
        self._learn(running.place.passed(running, now_ns), now_ns)

    def end(self, running: Running, now_ns: int, *, whole: bool) -> None:
        """It runs no more. `whole`: its answer came to its end, so that its passes teach."""
        if whole:
            self._wrote(running, ended=True)
        elif running.told:
            self.expected.wrote((running.turn.tenant, running.turn.channel), -running.told)
            running.told = 0
        sample = running.place.end(running, now_ns)
        if whole:
            self._learn(sample, now_ns)

    def _wrote(self, running: Running, *, ended: bool) -> None:
        more = running.wrote - running.told
        running.told = running.wrote
        if more or ended:
            self.expected.wrote((running.turn.tenant, running.turn.channel), more, ended=ended)

    def _learn(self, sample: Sample | None, now_ns: int) -> None:
        if sample is None:
            return
        last_ns = self._learned_ns.get(sample.prompt > 0)
        if last_ns is None or now_ns - last_ns >= EVERY_NS:
            self._learned_ns[sample.prompt > 0] = now_ns
            self.predictor.fit.observe(sample)

    def fewest(self, now_ns: int) -> Replica:
        """Where the fewest run, others' requests counted."""
        return min(self._replicas, key=lambda one: one.crowd(now_ns))

    def _named(self, replica: str | None) -> Replica | None:
        return next((one for one in self._replicas if one.id == replica), None)

    def on_idle(self, turn: Turn) -> tuple[Times, tuple[Figure, ...]]:
        """What an idle tier would take, and the targets that it would keep at the contract's own percentile: what past
        misses have made of the level is left out, else a strict level would waive targets in place of keeping them."""
        last = self._alone
        if last is None or last[0] is not turn:
            times, level = self.predictor.forecast(Load(), turn.warmest), 1 - learned_at(turn.latency.percentile)
            targets, ratio = targets_of(turn), self.predictor.ratio
            kept = tuple(one for one in FIGURES if times.of(one) * ratio(one, level) <= targets[one])
            last = self._alone = (turn, times, kept)
        return last[1], last[2]

    def _ratios(self, percentile: float) -> tuple[float, float]:
        level, ratio = self.level(percentile), self.predictor.ratio
        return ratio("itl", level), ratio("e2e", level)


def known(decode: float, prefill: float) -> tuple[Figure, ...]:
    """What can be foreseen after so many passes without a prompt and with one."""
    if prefill < NEEDED:
        return ()
    return FIGURES if decode >= 2 * NEEDED else FIGURES[:1]


def targets_of(turn: Turn) -> dict[Figure, float]:
    latency = turn.latency
    return {"ttft": latency.ttft_ms, "itl": latency.itl_ms, "e2e": latency.e2e_ms}


def _with(load: Load, ask: Ask, number: float, pod: Pod, in_turn: float) -> Load:
    """So many more like this one."""
    return msgspec.structs.replace(
        load,
        ahead_ms=load.ahead_ms
        + in_turn * number * pod.intake_ms(ask.prompt - ask.cached, ask.cached, load.running, load.held),
        coming=load.coming + number,
        coming_held=load.coming_held + number * (ask.prompt + ask.output / 2),
    )

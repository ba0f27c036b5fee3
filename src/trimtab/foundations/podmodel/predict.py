"""What one more request would take on a pod as it is now, how sure that is, and how wrong it has been.

`forecast` is the iteration model alone. Its error has two parts: what the coefficients have wrong, which `Fit` mends,
and what the model can't know (other callers of the engine, the network, long answers). For the second, the
share by which what happened exceeded what was forecast is kept as an adaptive conformal quantile for each figure and
percentile (`stats.quantile`): the forecast times that share is exceeded with the wanted rate in the long run, whatever
the load does. A predictor that is wrong from the start by any factor between `LEAST` and `MOST` is right after the
`needed` outcomes (19 at 95 %); before that `UNSURE` is all there is. Where the pace changes for good (`Fit.epoch`) the
coefficients follow within some passes, and what errors were before is forgotten: a slow half minute would else be
feared for 500 answers.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection
from typing import Final, Literal

import msgspec

from trimtab.foundations.podmodel.fit import Fit
from trimtab.foundations.podmodel.pod import Pod
from trimtab.foundations.stats import Certificate, Quantile

Figure = Literal["ttft", "itl", "e2e"]
FIGURES: Final[tuple[Figure, ...]] = ("ttft", "itl", "e2e")
PERCENTILES: Final = (0.5, 0.8, 0.9, 0.95, 0.99)
"""At which errors are kept; what is asked for is rounded up to one of them, and what lies above the last is not
promised: it gets the last."""
BUSIEST: Final = 0.9
"""Largest share of passes that may be lost to other prompts: beyond it a forecast says no more than "long"."""
UNSURE: Final = 1.25
"""Share by which outcomes may exceed forecasts while too few of them are known."""
LEAST: Final = 0.05
MOST: Final = 20.0
"""A forecast that is wrong by more than this is not corrected: something else is the matter."""
WINDOW: Final = 500
"""Outcomes that are remembered."""
USUAL: Final = 0.95
"""The percentile that is learned where nobody asked for one."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod has before it."""

    running: float = 0.0
    """Sequences that get a token with each pass."""
    held: float = 0.0
    """Tokens that those hold together."""
    ahead_ms: float = 0.0
    """Until the prompts that it has not taken in yet are in."""
    busy: float = 0.0
    """Share of its time that prompts yet to come will take, as the last minutes were."""
    coming: float = 0.0
    """Sequences whose prompts are not in yet."""
    coming_held: float = 0.0
    """Tokens that those will hold together."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request, in tokens."""

    prompt: float
    """All of it."""
    output: float
    """As expected."""
    cached: float = 0.0
    """Of the prompt, what needs no work."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request, in ms from when the pod gets it."""

    ttft_ms: float
    """To the first token."""
    itl_ms: float
    """Between two tokens, on average."""
    e2e_ms: float
    """To the end."""
    epoch: int = 0
    """Of the coefficients (`Fit.epoch`)."""

    @classmethod
    def all(cls, ms: float, epoch: int = 0) -> Times:
        """The same for each figure: for one that needs no others."""
        return cls(ttft_ms=ms, itl_ms=ms, e2e_ms=ms, epoch=epoch)

    def of(self, figure: Figure) -> float:
        return self.ttft_ms if figure == "ttft" else self.itl_ms if figure == "itl" else self.e2e_ms


def decode_pass_ms(pod: Pod, load: Load) -> float:
    """The mean pass of what runs and what will, with the prompts that come meanwhile."""
    decode = pod.decode_ms(load.running + load.coming, load.held + load.coming_held)
    return decode / (1 - min(load.busy, BUSIEST))


def forecast(pod: Pod, load: Load, ask: Ask) -> Times:
    """Of the request once it is sent: what runs and what waits there stays as it is meanwhile, ended by others like it.

    Its first token comes after the pass under way, the prompts ahead of it and its own; the sequences of those prompts
    are then beside it.
    """
    under_way = pod.decode_ms(load.running, load.held) / 2
    ttft = under_way + load.ahead_ms + pod.intake_ms(ask.prompt - ask.cached, ask.cached, load.running, load.held)
    itl = decode_pass_ms(
        pod,
        Load(
            running=load.running + load.coming + 1,
            held=load.held + load.coming_held + ask.prompt + ask.output / 2,
            busy=load.busy,
        ),
    )
    return Times(ttft_ms=ttft, itl_ms=itl, e2e_ms=ttft + max(0.0, ask.output - 1) * itl)


class Predictor:
    """Forecasts for one model on one kind of replica, with what it has been wrong by.

    `at(times, figure, percentile)`: what the outcome exceeds with a long-run share of `1 - percentile`. `percentiles`:
    those of `PERCENTILES` that are learned from the start; each other one from when it is first asked for, since each
    costs 3 us an outcome.
    """

    def __init__(self, fit: Fit, percentiles: Collection[float] = PERCENTILES) -> None:
        self.fit = fit
        self._epoch = fit.epoch
        """Of the forecasts whose errors are kept."""
        self._above: dict[Figure, dict[float, Quantile]] = {figure: {} for figure in FIGURES}
        for percentile in percentiles:
            self._quantile("ttft", percentile)

    def __repr__(self) -> str:
        return f"<Predictor {self.fit!r}>"

    def forecast(self, load: Load, ask: Ask) -> Times:
        return msgspec.structs.replace(forecast(self.fit.pod, load, ask), epoch=self.fit.epoch)

    def share(self, figure: Figure, percentile: float) -> float:
        """By which forecasts of `figure` are to be multiplied, so that outcomes stay below with `percentile`. Raises
        ValueError for a percentile that is no share between 0 and 1."""
        found = self._quantile(figure, percentile)
        if self._epoch != self.fit.epoch:
            return UNSURE
        told, largest = found.predict(), found.largest
        if told is None or largest is None:
            return UNSURE
        if told == math.inf:  # no value seen would do: somewhat more than any
            told = largest * UNSURE
        return min(max(told, LEAST), MOST)

    def ratio(self, figure: Figure, level: float) -> float:
        """What outcome over forecast exceeds with a share of `level`, of the last ones: what a decision that is held by
        its own misses (`stats.Level`) reckons with."""
        kept = next(iter(self._above[figure].values()), None) or self._quantile(figure, USUAL)
        found = kept.above(level)
        if self._epoch != self.fit.epoch:
            return UNSURE
        if found is None or kept.predict() is None:
            return max(UNSURE, found or 0.0)
        return min(max(found, LEAST), MOST)

    def at(self, times: Times, figure: Figure, percentile: float) -> float:
        """The corrected forecast, in ms."""
        return times.of(figure) * self.share(figure, percentile)

    def learn(self, times: Times, figure: Figure, outcome_ms: float) -> None:
        """What was forecast at the start of a request, and what came. A forecast of nothing teaches nothing, nor does
        an outcome that is none. One of an earlier epoch than the last that came teaches nothing, one of a later has all
        before it forgotten."""
        if times.epoch > self._epoch:
            self._epoch = times.epoch
            for quantile in [one for kept in self._above.values() for one in kept.values()]:
                quantile.forget()
        if times.epoch == self._epoch and times.of(figure) > 0 and 0 <= outcome_ms < math.inf:
            for quantile in self._above[figure].values():
                quantile.observe(outcome_ms / times.of(figure))

    def certificate(self, figure: Figure, percentile: float) -> Certificate:
        """How often outcomes were above `at`."""
        return self._quantile(figure, percentile).certificate()

    def _quantile(self, figure: Figure, percentile: float) -> Quantile:
        name = learned_at(percentile)
        if name not in self._above[figure]:
            for kept in self._above.values():
                kept[name] = Quantile(1 - name, window=WINDOW)
        return self._above[figure][name]


def learned_at(percentile: float) -> float:
    """The one of `PERCENTILES` that is at least as strict, or the strictest. Raises ValueError for what is no share
    between 0 and 1."""
    if not 0 < percentile < 1:
        raise ValueError(f"a percentile is a share between 0 and 1, got {percentile}")
    return PERCENTILES[min(bisect_left(PERCENTILES, percentile - 1e-9), len(PERCENTILES) - 1)]

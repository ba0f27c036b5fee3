"""Forecasts for a request, and how often what comes exceeds them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmodel.pods import GPU, passes, pods, slowed
from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.podmodel import (
    FIGURES,
    Ask,
    Fit,
    Load,
    Pod,
    Predictor,
    Times,
    decode_pass_ms,
    forecast,
)
from trimtab.foundations.podmodel.fit import RECENT
from trimtab.foundations.podmodel.predict import BUSIEST, PERCENTILES, UNSURE
from trimtab.foundations.stats import lower, upper

IDLE = Load()


def outcomes(count: int, seed: int, drift: float = 0.0, off: float = 1.0) -> Iterator[tuple[Times, float]]:
    """Forecasts of first tokens, and what came: log-normal around `off` of them, which grows e^drift-fold in all."""
    rng = ClockIds(SystemClock(), seed).random
    for number in range(count):
        ask = Ask(prompt=rng.randint(50, 4000), output=rng.randint(1, 400))
        times = forecast(GPU, Load(running=rng.randint(0, 30), held=20_000), ask)
        yield times, times.ttft_ms * off * rng.lognormvariate(drift * number / count, 0.3)


def test_a_request_on_an_idle_pod_takes_its_own_passes() -> None:
    """First its prompt alone, then a pass for each further token over what it holds."""
    times = forecast(GPU, IDLE, Ask(prompt=1000, output=101))
    assert times.ttft_ms == pytest.approx(8 + (0.1 + 2e-6 * 500) * 1000)
    assert times.itl_ms == pytest.approx(20 + 0.2 + 0.0003 * 1050.5)
    assert times.e2e_ms == pytest.approx(times.ttft_ms + 100 * times.itl_ms)
    assert forecast(GPU, IDLE, Ask(prompt=1000, output=1)).e2e_ms == pytest.approx(times.ttft_ms)


def test_what_needs_no_work_takes_none() -> None:
    """Of a prompt whose first 900 tokens are cached only the last 100 are taken in, behind the cached ones."""
    times = forecast(GPU, IDLE, Ask(prompt=1000, output=1, cached=900))
    assert times.ttft_ms == pytest.approx(8 + (0.1 + 2e-6 * 950) * 100)


@given(
    pods(),
    st.builds(
        Load,
        running=st.integers(1, 64),
        held=st.integers(0, 100_000),
        ahead_ms=st.integers(0, 50_000),
        busy=st.floats(0, 0.8),
    ),
    st.sampled_from(["running", "held", "ahead_ms", "busy"]),
    st.builds(Ask, prompt=st.integers(1, 8000), output=st.integers(1, 2000)),
)
def test_a_fuller_pod_never_forecasts_less(pod: Pod, load: Load, what: str, ask: Ask) -> None:
    """More running, held, waiting or coming: no figure gets smaller."""
    more = 0.1 if what == "busy" else 50
    fuller = msgspec.structs.replace(load, **{what: getattr(load, what) + more})
    before, after = forecast(pod, load, ask), forecast(pod, fuller, ask)
    for figure in FIGURES:
        assert after.of(figure) >= before.of(figure) * (1 - 1e-12)


def test_a_pod_that_only_takes_prompts_in_forecasts_long_not_for_ever() -> None:
    """Beyond the largest share that prompts may take, the time between tokens stays finite."""
    load = Load(running=1, held=100, busy=1.0)
    assert decode_pass_ms(GPU, load) == pytest.approx(GPU.decode_ms(1, 100) / (1 - BUSIEST))


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95])
def test_what_comes_stays_below_as_often_as_said(percentile: float) -> None:
    """While what comes doubles slowly, the share above the corrected forecast is the stated one, within the exact
    bounds at 99.9 % each, and the certificate counts the same."""
    predictor = Predictor(Fit(GPU))
    above = count = 0
    for times, came in outcomes(6000, 1, drift=math.log(2)):
        if predictor.certificate("ttft", percentile).observations or count:
            count += 1
            above += came > predictor.at(times, "ttft", percentile)
        predictor.learn(times, "ttft", came)
    assert lower(above, count, 0.999) <= 1 - percentile <= upper(above, count, 0.999)
    told = predictor.certificate("ttft", percentile)
    assert told.estimate is not None
    assert told.estimate == pytest.approx(above / count, abs=2 / count)
    assert told.estimate <= told.upper


@pytest.mark.parametrize(("percentile", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
@pytest.mark.parametrize("off", [0.5, 2.0, 8.0])
def test_a_predictor_that_starts_wrong_is_right_after_the_outcomes_it_needs(
    percentile: float, needed: int, off: float
) -> None:
    """Until then it adds a fixed share; from then on forecasts are multiplied by what they were wrong by."""
    predictor = Predictor(Fit(GPU))
    times = forecast(GPU, IDLE, Ask(prompt=500, output=20))
    for _ in range(needed):
        assert predictor.share("e2e", percentile) == UNSURE
        predictor.learn(times, "e2e", times.e2e_ms * off)
    assert predictor.at(times, "e2e", percentile) == pytest.approx(times.e2e_ms * off)
    assert predictor.share("itl", percentile) == UNSURE


@pytest.mark.parametrize("off", [0.5, 2.0])
def test_a_wrong_start_costs_no_more_misses_than_stated(off: float) -> None:
    """Behind the first 19 outcomes of a forecast that is off by a factor of two, the share above the 95th percentile is
    that of any other."""
    predictor = Predictor(Fit(GPU))
    missed = []
    for times, came in outcomes(2000, 2, off=off):
        missed.append(came > predictor.at(times, "ttft", 0.95))
        predictor.learn(times, "ttft", came)
    above = sum(missed[19:])
    assert lower(above, 1981, 0.999) <= 0.05 <= upper(above, 1981, 0.999)


def test_a_higher_percentile_is_answered_by_the_next_that_is_kept() -> None:
    """Asked for 0.93 it answers with 0.95; above the last with the last."""
    predictor = Predictor(Fit(GPU))
    for times, came in outcomes(400, 3):
        predictor.learn(times, "ttft", came)
    shares = [predictor.share("ttft", percentile) for percentile in PERCENTILES]
    assert shares == sorted(shares)
    assert predictor.share("ttft", 0.93) == predictor.share("ttft", 0.95) > predictor.share("ttft", 0.9)
    assert predictor.share("ttft", 0.999) == predictor.share("ttft", 0.99)
    for wrong in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="percentile"):
            predictor.share("ttft", wrong)


def test_errors_of_another_epoch_are_forgotten_and_counted() -> None:
    """Once the pace has changed for good, forecasts get the share of the unsure until enough outcomes of their own are
    known; what was foreseen before teaches nothing any more. How often outcomes were above stays counted."""
    predictor = Predictor(Fit(GPU))
    for sample in passes(GPU, 2, 100):
        predictor.fit.observe(sample)
    before = predictor.forecast(IDLE, Ask(prompt=500, output=20))
    for _ in range(30):
        predictor.learn(before, "e2e", 4 * before.e2e_ms)
    assert predictor.share("e2e", 0.95) == pytest.approx(4)
    assert predictor.ratio("e2e", 0.05) == pytest.approx(4)
    counted = predictor.certificate("e2e", 0.95)
    for sample in passes(slowed(GPU, 5.0), 1, 2 * RECENT, kinds="d"):
        predictor.fit.observe(sample)
    after = predictor.forecast(IDLE, Ask(prompt=500, output=20))
    assert (before.epoch, after.epoch) == (0, 1)
    assert predictor.share("e2e", 0.95) == predictor.ratio("e2e", 0.05) == UNSURE
    predictor.learn(before, "e2e", 4 * before.e2e_ms)
    for _ in range(18):
        predictor.learn(after, "e2e", 1.5 * after.e2e_ms)
        predictor.learn(before, "e2e", 4 * before.e2e_ms)
        assert predictor.share("e2e", 0.95) == UNSURE
    predictor.learn(after, "e2e", 1.5 * after.e2e_ms)
    assert predictor.share("e2e", 0.95) == pytest.approx(1.5)
    assert predictor.ratio("e2e", 0.05) == pytest.approx(1.5)
    told = predictor.certificate("e2e", 0.95)
    assert told.observations == counted.observations + 1


def test_what_cannot_be_compared_teaches_nothing() -> None:
    """A forecast of nothing and an outcome that is no time leave everything as it was."""
    predictor = Predictor(Fit(GPU))
    times, came = next(outcomes(1, 4))
    predictor.learn(times, "ttft", came)
    before = [predictor.share("ttft", percentile) for percentile in PERCENTILES]
    nothing = Times(ttft_ms=0, itl_ms=0, e2e_ms=0)
    predictor.learn(nothing, "ttft", 5.0)
    for outcome in (math.nan, math.inf, -1.0):
        predictor.learn(forecast(GPU, IDLE, Ask(prompt=1, output=1)), "ttft", outcome)
    assert [predictor.share("ttft", percentile) for percentile in PERCENTILES] == before
    assert predictor.certificate("ttft", 0.5).observations == 0

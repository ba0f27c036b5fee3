"""The conformal quantile: its claims hold on streams that are calm, that drift, that break, that are hostile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.stats import Certificate, Member, Quantile, QuantileState, lower, upper

ALPHA = 0.1
STILL = (1e-12,)
"""A gamma that corrects nothing: the baseline, a quantile of the window alone."""

values = st.floats(min_value=-1e9, max_value=1e9)
grids = st.sampled_from([(0.02,), (0.2,), (0.005, 0.02, 0.08), (0.1, 0.5)])


def misses(quantile: Quantile, stream: Iterable[float]) -> list[bool]:
    """Which values exceeded their prediction, from the first prediction on."""
    seen = []
    for value in stream:
        predicted = quantile.predict()
        if predicted is not None:
            seen.append(value > predicted)
        quantile.observe(value)
    return seen


def worst_share(seen: list[bool], run: int = 200) -> float:
    """The largest share of misses over disjoint runs of values."""
    return max(sum(seen[at : at + run]) / run for at in range(0, len(seen) - run, run))


def lengths(seed: int, count: int, centre: Callable[[int], float], spread: float = 1.0) -> list[float]:
    """Log-normal values, as output lengths are, around a centre that may move."""
    rng = ClockIds(SystemClock(), seed).random
    return [rng.lognormvariate(centre(at), spread) for at in range(count)]


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("gammas", [STILL, (0.01,), (0.005, 0.02, 0.08)])
def test_independent_values_are_missed_at_the_stated_rate(alpha: float, gammas: tuple[float, ...]) -> None:
    """On independent values the stated rate lies within the exact binomial bounds of what was missed, at 99.9 % each.
    The window alone moves with the values it holds, so its runs are drawn afresh; corrected levels need only one."""
    if gammas is STILL:
        runs = (
            misses(Quantile(alpha, window=150, gammas=STILL), lengths(seed, 151, lambda _: 5)) for seed in range(1500)
        )
        seen = [run[-1] for run in runs]
    else:
        seen = misses(Quantile(alpha, gammas=gammas), lengths(1, 15_000, lambda _: 5))
    assert lower(sum(seen), len(seen), 0.999) <= alpha <= upper(sum(seen), len(seen), 0.999)


def test_a_drifting_stream_is_missed_at_the_stated_rate() -> None:
    """Values that grow e-fold in 1,500 are missed at the stated rate, where the window alone misses too many."""
    stream = lengths(2, 12_000, lambda at: 5 + at / 1500)
    seen, still = misses(Quantile(ALPHA), stream), misses(Quantile(ALPHA, gammas=STILL), stream)
    assert lower(sum(seen), len(seen), 0.999) <= ALPHA <= upper(sum(seen), len(seen), 0.999)
    assert lower(sum(still), len(still), 0.999) > ALPHA


@pytest.mark.parametrize("step", [2.0, -2.0])
def test_an_abrupt_change_is_recovered_from(step: float) -> None:
    """When all values become e^2 times longer or shorter, no run of 200 misses twice what is stated; the window alone
    misses four times as much. From 100 values after the change on, the stated rate holds again."""
    at = 3000
    stream = lengths(3, 2 * at, lambda now: 5 if now < at else 5 + step)
    quantile, still = Quantile(ALPHA), Quantile(ALPHA, gammas=STILL)
    seen, fixed = misses(quantile, stream), misses(still, stream)
    assert worst_share(seen) < 2 * ALPHA
    if step > 0:
        assert worst_share(fixed) > 3 * ALPHA
    after = seen[at - quantile.needed + 100 :]
    assert lower(sum(after), len(after), 0.999) <= ALPHA <= upper(sum(after), len(after), 0.999)


def test_the_mixture_finds_the_gamma_that_suits_the_stream() -> None:
    """In the loss that a quantile minimises, two gammas together come within 3 % of the better one on a calm stream,
    where the fast one is much worse, and on a moving one, where the slow one is."""
    calm = lengths(4, 8000, lambda _: 5, 0.5)
    moving = lengths(4, 8000, lambda at: 5 + math.sin(at / 100), 0.5)
    slow, fast, mixed = (
        [pinball(gammas, stream) for stream in (calm, moving)] for gammas in ((0.002,), (0.2,), (0.002, 0.2))
    )
    assert fast[0] > 1.3 * slow[0] > 1.3 / 1.03 * mixed[0]
    assert slow[1] > 1.2 * fast[1] > 1.2 / 1.03 * mixed[1]


def pinball(gammas: tuple[float, ...], stream: list[float]) -> float:
    """The mean pinball loss, an infinite prediction taken as the extreme of the window."""
    quantile = Quantile(ALPHA, gammas=gammas)
    total = 0.0
    for at, value in enumerate(stream):
        predicted = quantile.predict()
        if predicted is not None:
            recent = stream[max(0, at - quantile.window) : at]
            off = value - min(max(predicted, min(recent)), max(recent))
            total += max((1 - ALPHA) * off, -ALPHA * off)
        quantile.observe(value)
    return total / len(stream)


def hostile(quantile: Quantile, ids: ClockIds, spite: float) -> float:
    """With probability `spite` a value that is missed if any can be, else one that is covered; never seen before."""
    predicted = quantile.predict()
    if predicted is None or math.isinf(predicted):
        return ids.random.uniform(-1e6, 1e6)
    return predicted + ids.random.uniform(1e-3, 1) * (1 if ids.random.random() < spite else -1)


@pytest.mark.parametrize("spite", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("gammas", [(0.02,), (0.3,), (0.005, 0.02, 0.08)])
def test_no_order_of_values_breaks_the_bound(gammas: tuple[float, ...], spite: float) -> None:
    """Whoever sees each prediction before choosing the value can't move the share of misses by more than the bound, at
    any time."""
    quantile, ids = Quantile(ALPHA, window=50, gammas=gammas), ClockIds(SystemClock(), 5)
    missed = count = 0
    for _ in range(5000):
        predicted, value = quantile.predict(), hostile(quantile, ids, spite)
        if predicted is not None:
            count += 1
            missed += value > predicted
            assert abs(missed / count - ALPHA) <= quantile.slack(count) + 1e-12
        quantile.observe(value)
    assert quantile.slack(count) < 0.05


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), max_size=40), max_size=8), st.sampled_from([(0.02,), (0.005, 0.02, 0.08)])
)
def test_what_is_forgotten_breaks_no_bound(streams: list[list[float]], gammas: tuple[float, ...]) -> None:
    """Whenever all values are thrown away: nothing is predicted until enough came again, and the share of misses, of
    all that was predicted, stays within the bound."""
    quantile = Quantile(0.1, gammas=gammas)
    missed = predicted = 0
    for stream in streams:
        quantile.forget()
        assert (quantile.predict(), quantile.largest) == (None, None)
        for value in stream:
            told = quantile.predict()
            predicted += told is not None
            missed += told is not None and value > told
            quantile.observe(value)
    if predicted:
        told_of = quantile.certificate()
        assert (told_of.observations, told_of.estimate) == (predicted, missed / predicted)
        assert missed / predicted <= 0.1 + quantile.slack(predicted) + 1e-12


def test_the_bound_for_one_gamma_is_that_of_the_paper() -> None:
    """(max(alpha, 1 - alpha) + gamma) / (gamma T): Gibbs and Candes 2021, proposition 4.1."""
    assert Quantile(0.1, gammas=(0.05,)).slack(1000) == pytest.approx((0.9 + 0.05) / (0.05 * 1000))
    assert Quantile(0.7, gammas=(0.05,)).slack(1000) == pytest.approx((0.7 + 0.05) / (0.05 * 1000))


@given(st.lists(st.integers(0, 3), min_size=30, max_size=300), st.sampled_from([0.1, 0.3, 0.5]), grids)
@settings(max_examples=100, deadline=None)
def test_ties_never_break_the_upper_bound(stream: list[int], alpha: float, gammas: tuple[float, ...]) -> None:
    """Where most values are equal, the share of misses stays under the certificate's upper bound at any time."""
    quantile = Quantile(alpha, window=40, gammas=gammas)
    for value in stream:
        quantile.observe(value)
        certificate = quantile.certificate()
        assert certificate.lower <= (certificate.estimate or 0.0) <= certificate.upper


def test_a_stream_of_one_value_is_predicted_by_that_value() -> None:
    """All answers cut at the same cap: the cap is predicted for ever, nothing is missed on purpose."""
    quantile = Quantile(ALPHA)
    for _ in range(3000):
        assert quantile.predict() in (None, 64.0)
        quantile.observe(64.0)


@pytest.mark.parametrize(("alpha", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.01, 99)])
def test_too_few_values_predict_nothing(alpha: float, needed: int) -> None:
    """The first prediction comes with the first value count whose largest value is the quantile, and is that value."""
    quantile = Quantile(alpha)
    assert quantile.needed == needed
    for value in range(needed):
        assert quantile.predict() is None
        assert quantile.certificate().estimate is None
        quantile.observe(value)
    assert quantile.predict() == needed - 1


@given(st.lists(values, min_size=20, max_size=120), grids, st.integers(0, 119))
@settings(max_examples=100, deadline=None)
def test_a_restart_changes_nothing(stream: list[float], gammas: tuple[float, ...], at: int) -> None:
    """State that went through JSON in the middle of a stream predicts the same for ever after."""
    quantile = Quantile(ALPHA, window=30, gammas=gammas)
    for value in stream[:at]:
        quantile.observe(value)
    saved = msgspec.json.decode(msgspec.json.encode(quantile.state()), type=QuantileState)
    restored = Quantile.from_state(saved)
    for value in stream[at:]:
        assert restored.predict() == quantile.predict()
        quantile.observe(value)
        restored.observe(value)
    assert (restored.state(), repr(restored)) == (quantile.state(), repr(quantile))
    assert restored.certificate() == quantile.certificate()


def test_a_state_that_no_quantile_has_is_refused() -> None:
    """A state file that was edited is refused rather than believed."""
    state = Quantile(ALPHA, window=10).state()
    for wrong in (
        {"levels": [0.1]},
        {"weights": [1.0, 0.0, 0.0]},
        {"values": [1.0] * 11},
        {"values": [math.nan]},
        {"missed": 1},
        {"alpha": 2.0},
    ):
        with pytest.raises(ValueError, match=r"the state holds|alpha is"):
            Quantile.from_state(msgspec.structs.replace(state, **wrong))


@given(st.lists(values, min_size=20, max_size=60), st.floats(0.05, 0.9), st.floats(0.05, 0.9))
def test_a_smaller_alpha_never_predicts_less(stream: list[float], one: float, other: float) -> None:
    """Of two quantiles of the same window, the one that may be exceeded less often lies at or above the other."""
    strict, loose = (Quantile(alpha, window=60, gammas=STILL) for alpha in sorted((one, other)))
    for value in stream:
        strict.observe(value)
        loose.observe(value)
        above, below = strict.predict(), loose.predict()
        assert above is None or below is None or above >= below


@given(st.lists(st.integers(-1000, 1000), min_size=20, max_size=200), grids)
@settings(deadline=None)
def test_only_the_order_of_values_matters(stream: list[int], gammas: tuple[float, ...]) -> None:
    """Any increasing change of unit carries each prediction with it, as seconds for milliseconds do."""
    plain, changed = (Quantile(ALPHA, window=50, gammas=gammas) for _ in range(2))
    for value in stream:
        assert changed.predict() == unit(plain.predict())
        plain.observe(value)
        changed.observe(unit(value))


def unit(value: float | None) -> float | None:
    return value if value is None or math.isinf(value) else 8.0 * value**3 + 5


@given(st.lists(values, min_size=20, max_size=200), grids)
@settings(deadline=None)
def test_a_finite_prediction_is_a_recent_value(stream: list[float], gammas: tuple[float, ...]) -> None:
    """What is predicted was seen within the window, so memory of more than the window is not kept."""
    quantile = Quantile(ALPHA, window=15, gammas=gammas)
    for at, value in enumerate(stream):
        predicted = quantile.predict()
        assert predicted is None or math.isinf(predicted) or predicted in stream[max(0, at - 15) : at]
        quantile.observe(value)
        assert len(quantile.state().values) <= 15


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_and_changes_nothing(value: float) -> None:
    """A value that has no rank is an error of the caller's, not a part of the stream."""
    quantile = Quantile(ALPHA)
    misses(quantile, [float(one) for one in range(50)])
    before = quantile.state()
    with pytest.raises(ValueError, match="finite"):
        quantile.observe(value)
    assert quantile.state() == before


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"gammas": ()}, "gammas"),
        ({"gammas": (0.0,)}, "gammas"),
        ({"alpha": 0.01, "window": 98}, "99 values"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings_: dict[str, float], message: str) -> None:
    """A setting that leaves the claim without ground is refused when the quantile is made."""
    with pytest.raises(ValueError, match=message):
        Quantile(**settings_)


def test_the_certificate_says_what_is_claimed() -> None:
    """Claim, method, what was seen, the bound and its error, the number of observations; JSON can hold it."""
    quantile: Quantile = Quantile(ALPHA)
    member: Member[float, QuantileState] = quantile
    seen = misses(quantile, lengths(6, 5000, lambda _: 5))
    certificate = member.certificate()
    assert certificate.method == "dtaci"
    assert certificate.observations == len(seen) == 5000 - quantile.needed
    assert certificate.estimate == sum(seen) / len(seen)
    assert (certificate.lower, certificate.error) == (0.0, 0.0)
    assert certificate.upper == pytest.approx(ALPHA + (1 + 0.08 + 0.005) / (0.005 * len(seen)))
    assert msgspec.json.decode(msgspec.json.encode(certificate), type=Certificate) == certificate
    assert repr(Quantile(ALPHA)) == "<Quantile alpha 0.1: 0 of 9 values>"
    assert repr(quantile).startswith("<Quantile alpha 0.1: ")
    assert f"missed {sum(seen)} of {len(seen)}>" in repr(quantile)

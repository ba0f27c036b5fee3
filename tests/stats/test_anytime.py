"""Tests and bounds that may be looked at whenever and however often: their error rates over many null runs, how soon
they see what is there, and that they go on where they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.stats import (
    Certificate,
    Detector,
    Difference,
    EProcess,
    Mean,
    Member,
    Seen,
    Share,
    Worse,
    at_most,
    certify,
    expected,
    lower,
    upper,
)
from trimtab.foundations.stats.detector import FRACTIONS


def seeded(seed: int) -> Any:
    return ClockIds(SystemClock(), seed).random


def not_above(hits: int, runs: int, rate: float) -> None:
    """So many of the runs are no evidence, at 99.9 %, against a rate of at most `rate`."""
    assert lower(hits, runs, 0.999) <= rate, f"{hits} of {runs} is more than {rate}"


def flips(random: Any, rate: float, count: int) -> Iterator[float]:
    return (float(random.random() < rate) for _ in range(count))


def arms(random: Any, new: float, old: float, share: float, count: int) -> Iterator[Seen]:
    """Losses of 0 and 1 of two arms, of which the new one gets a share of the traffic."""
    for _ in range(count):
        if random.random() < share:
            yield Seen("new", float(random.random() < new))
        else:
            yield Seen("old", float(random.random() < old))


# --- error rates


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_bets_against_a_true_hypothesis_rarely_pay(rate: float) -> None:
    """Of 3,000 runs that are looked at after each value, at most a share alpha ever reaches 1/alpha."""
    alarms = 0
    for seed in range(3000):
        bets, random = EProcess(rate), seeded(seed)
        for value in flips(random, rate, 150):
            bets.observe(value)
        alarms += bets.p_value <= 0.05
    not_above(alarms, 3000, 0.05)


def test_a_test_with_a_fixed_size_that_is_looked_at_often_errs_far_more() -> None:
    """The baseline on the same runs: an exact binomial test at 5 %, asked after each value."""
    alarms = 0
    for seed in range(300):
        hits = 0
        for count, value in enumerate(flips(seeded(seed), 0.3, 150), 1):
            hits += int(value)
            if 1 - at_most(hits - 1, count, 0.3) <= 0.05:
                alarms += 1
                break
    assert lower(alarms, 300, 0.999) > 0.1


def test_who_stops_when_it_suits_them_gains_nothing() -> None:
    """The mean of the e-value at the best moment that a reader without foresight finds is at most 1."""
    total, runs = 0.0, 3000
    for seed in range(runs):
        bets, random = EProcess(0.2), seeded(seed)
        for value in flips(random, 0.2, 200):
            bets.observe(value)
            if bets.e_value > 3:
                break
        total += bets.e_value
    assert total / runs <= 1.2


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_an_arm_that_is_no_worse_is_rarely_stopped(share: float) -> None:
    """1,000 canaries that are as good as what they replace, at alpha = .01."""
    alarms = 0
    for seed in range(1000):
        worse = Worse(0.01)
        for seen in arms(seeded(seed), 0.06, 0.05, share, 600):
            worse.observe(seen)
        alarms += worse.p_value <= 0.01
    not_above(alarms, 1000, 0.01)


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.5])
def test_bounds_hold_at_all_times_at_once(rate: float) -> None:
    """Of 400 runs, at most a share alpha ever excludes the true mean."""
    out = 0
    for seed in range(400):
        mean = Mean(0.1)
        for at, value in enumerate(flips(seeded(seed), rate, 300)):
            mean.observe(value)
            if at % 20 == 19:
                low, high = mean.bounds()
                if not low <= rate <= high:
                    out += 1
                    break
    not_above(out, 400, 0.1)


def test_differences_are_bounded_by_stratum() -> None:
    """Two strata of different difficulty that the arms get unlike shares of: no difference is claimed where none is,
    and the plain difference of both means is."""
    out = confused = 0
    for seed in range(150):
        random, difference = seeded(seed), Difference(0.1)
        sums = {"new": [0, 0.0], "old": [0, 0.0]}
        for _ in range(600):
            hard = random.random() < 0.5
            arm: Any = "new" if random.random() < (0.7 if hard else 0.3) else "old"
            loss = float(random.random() < (0.6 if hard else 0.05))
            difference.observe(Seen(arm, loss, "hard" if hard else "easy"))
            sums[arm][0] += 1
            sums[arm][1] += loss
        low, high = difference.bounds()
        out += not low <= 0 <= high
        confused += sums["new"][1] / sums["new"][0] - sums["old"][1] / sums["old"][0] > 0.1
    not_above(out, 150, 0.1)
    assert confused > 140


def test_false_alarms_are_a_run_length_apart() -> None:
    """The average of 300 runs to the first false alarm, those that had none in 3,000 values cut there, is no less than
    what was asked for."""
    asked, lengths = 300.0, []
    for seed in range(300):
        detector, length = Detector(0.1, asked), 3000
        for at, value in enumerate(flips(seeded(seed), 0.1, 3000), 1):
            detector.observe(value)
            if detector.alarmed:
                length = at
                break
        lengths.append(length)
    assert sum(lengths) / len(lengths) >= asked


def test_false_alarms_of_batches_are_a_run_length_of_batches_apart() -> None:
    """The same for batches of any size, whose average to the first false alarm is one of batches."""
    asked, lengths = 100.0, []
    for seed in range(200):
        random, detector, length = seeded(seed), Detector(0.1, asked), 800
        for at in range(1, 801):
            total = random.randrange(1, 30)
            detector.observe_counts(int(sum(flips(random, 0.1, total))), total)
            if detector.alarmed:
                length = at
                break
        lengths.append(length)
    assert sum(lengths) / len(lengths) >= asked


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_batch_is_the_product_of_its_bets(hits: int, misses: int) -> None:
    """In no order; one of a single value is that value, an empty one is nothing, what can't be changes nothing."""
    batch, one, value = Detector(0.2, 1000), Detector(0.2, 1000), Detector(0.2, 1000)
    batch.observe_counts(hits, hits + misses)
    factors = [(1 + f * 0.8 / 0.2) ** hits * (1 - f) ** misses for f in FRACTIONS]
    assert batch.evidence == pytest.approx(sum(factors) / len(factors) if hits + misses else 0)
    one.observe_counts(1, 1)
    value.observe(1.0)
    one.observe_counts(0, 0)
    with pytest.raises(ValueError, match="is no count"):
        one.observe_counts(hits + 1, hits)
    assert one.state() == value.state()


def test_a_certified_threshold_is_rarely_a_bad_one() -> None:
    """1,500 calibrations of 200 cases, thresholds of rising risk: the chosen one's true risk is above epsilon in at
    most a share delta of them. The one that looks best is wrong in about half."""
    risks = [0.02, 0.05, 0.08, 0.1, 0.11, 0.13, 0.2]
    bad = naive = chosen = 0
    for seed in range(1500):
        random = seeded(seed)
        cases = [random.random() for _ in range(200)]
        rows = [[float(case < risk) for case in cases] for risk in risks]
        choice = certify(risks, rows, epsilon=0.1, delta=0.1)
        bad += choice.threshold is not None and choice.threshold > 0.1
        chosen += choice.threshold is not None
        naive += max([risk for risk, row in zip(risks, rows, strict=True) if sum(row) / 200 <= 0.1], default=0) > 0.1
    not_above(bad, 1500, 0.1)
    assert chosen > 1400
    assert naive > 400


def test_an_expected_loss_is_kept_on_average() -> None:
    """Conformal risk control: the loss of the next case is at most epsilon on average over 2,000 calibrations of 15;
    with the largest threshold whose own cases stay below epsilon it is not."""
    risks = [at / 200 for at in range(1, 100)]
    kept = naive = 0.0
    for seed in range(2000):
        random = seeded(seed)
        cases = [random.random() for _ in range(15)]
        rows = [[float(case < risk) for case in cases] for risk in risks]
        choice = expected(risks, rows, epsilon=0.2)
        kept += choice.threshold or 0.0  # the true risk of a threshold is itself
        naive += max([risk for risk, row in zip(risks, rows, strict=True) if sum(row) / 15 <= 0.2], default=0.0)
    assert 0.1 < kept / 2000 <= 0.2 < naive / 2000


# --- power


def test_a_canary_that_doubles_its_failures_is_found() -> None:
    """5 % to 10 % at alpha = .001 and 5 % of the traffic, in the median of 150 runs within 520 of its requests, and
    after fewer where it is worse."""

    def found(rate: float, seed: int) -> int:
        worse, count = Worse(0.0), 0
        for seen in arms(seeded(seed), rate, 0.05, 0.05, 60_000):
            worse.observe(seen)
            count += seen.arm == "new"
            if worse.p_value <= 0.001:
                break
        return count

    double, four = (median(found(rate, seed) for seed in range(150)) for rate in (0.1, 0.2))
    assert double <= 520
    assert four <= 100


def test_a_rare_rate_is_bounded_by_what_is_seen_and_not_by_what_could_be() -> None:
    """5,000 values at .2 %: the upper bound is far below Hoeffding's, which holds at one time only."""
    mean = Mean(0.05)
    for value in flips(seeded(3), 0.002, 5000):
        mean.observe(value)
    low, high = mean.bounds()
    assert low <= 0.002 <= high < 0.008
    assert 0.002 + (3.0 / (2 * 5000)) ** 0.5 > 0.018


def test_a_rise_is_found_soon_though_it_comes_late() -> None:
    """After 20,000 good values at 1 %, 10 % are told within 120; a bet that began at the start is still poor."""
    random, detector, bets = seeded(5), Detector(0.01, 100_000), EProcess(0.01)
    for value in flips(random, 0.01, 20_000):
        detector.observe(value)
        bets.observe(value)
    assert not detector.alarmed
    took = 0
    for took, value in enumerate(flips(random, 0.1, 2000), 1):  # noqa: B007 - read behind the loop
        detector.observe(value)
        bets.observe(value)
        if detector.alarmed:
            break
    assert took <= 120
    assert bets.e_value < 1 / 0.05


# --- tables


def test_exact_bounds_are_those_of_the_tables() -> None:
    """Clopper and Pearson's: one-sided 95 % for 0 and 1 of n, two-sided 95 % of 10 of 100 and 1 of 20; and a million
    trials agree with the normal approximation, where that is good."""
    table = {(0, 10): 0.2589, (1, 10): 0.3942, (0, 300): 0.00994, (1, 100): 0.0466}
    for (hits, total), wanted in table.items():
        assert upper(hits, total) == pytest.approx(wanted, abs=6e-5)
    both = {(10, 100): (0.0490, 0.1762), (1, 20): (0.0013, 0.2487), (50, 100): (0.3983, 0.6017)}
    for (hits, total), (low, high) in both.items():
        assert lower(hits, total, 0.975) == pytest.approx(low, abs=6e-5)
        assert upper(hits, total, 0.975) == pytest.approx(high, abs=6e-5)
    assert upper(100_000, 1_000_000) == pytest.approx(0.1 + 1.6449 * 0.0003, abs=2e-6)


@given(st.integers(1, 60), st.data(), st.floats(0.001, 0.999))
def test_a_binomial_tail_is_its_sum(total: int, data: st.DataObject, rate: float) -> None:
    """Against the sum of all terms, in exact integers but for the powers."""
    from math import comb

    hits = data.draw(st.integers(0, total))
    whole = sum(comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in range(hits + 1))
    assert at_most(hits, total, rate) == pytest.approx(min(whole, 1.0), rel=1e-9)


# --- one interface

MADE: dict[str, Callable[[], Any]] = {
    "EProcess": lambda: EProcess(0.2),
    "Worse": lambda: Worse(0.05),
    "Mean": lambda: Mean(0.1),
    "Difference": lambda: Difference(0.1),
    "Detector": lambda: Detector(0.2, 50),
    "Share": lambda: Share(0.9),
}
TWO_ARMS = ("Worse", "Difference")


def values(name: str, seed: int, count: int, rate: float = 0.3) -> list[Any]:
    random = seeded(seed)
    if name in TWO_ARMS:
        return list(arms(random, rate, rate / 2, 0.4, count))
    return [bool(value) if name == "Share" else value for value in flips(random, rate, count)]


@pytest.mark.parametrize("name", MADE)
def test_state_goes_on_exactly_where_it_was(name: str) -> None:
    """Through JSON, in the middle of a stream; what comes behind is the same to the last bit."""
    first: Member[Any, Any] = MADE[name]()
    for value in values(name, 1, 120):
        first.observe(value)
    state: Any = first.state()
    again = type(first).from_state(msgspec.json.decode(msgspec.json.encode(state), type=type(state)))  # type: ignore[attr-defined]
    for value in values(name, 2, 120):
        first.observe(value)
        again.observe(value)
    assert again.certificate() == first.certificate()
    assert again.state() == first.state()
    assert isinstance(first.certificate(), Certificate)
    assert name in repr(first)


@pytest.mark.parametrize("name", MADE)
def test_nothing_seen_claims_nothing(name: str) -> None:
    """Before the first value: the whole range, or an error of 1."""
    certificate = MADE[name]().certificate()
    assert certificate.observations == 0
    assert certificate.estimate is None
    assert certificate.error == 1.0 or (certificate.lower, certificate.upper) in ((0.0, 1.0), (-1.0, 1.0))


@pytest.mark.parametrize("name", [name for name in MADE if name != "Share"])
@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_what_is_no_value_changes_nothing(name: str, wrong: float) -> None:
    """ValueError, and the state is as it was."""
    member = MADE[name]()
    for value in values(name, 1, 30):
        member.observe(value)
    before = member.state()
    with pytest.raises(ValueError, match="between"):
        member.observe(Seen("new", wrong) if name in TWO_ARMS else wrong)
    assert member.state() == before


@pytest.mark.parametrize("name", ["EProcess", "Mean", "Share"])
def test_workers_merge_into_what_one_would_claim(name: str) -> None:
    """Four streams merged: counts and estimate are those of all, the claim is no weaker than the best worker's alone,
    and under the hypothesis it is false no more often than it says."""
    parts = []
    for seed in range(4):
        part = MADE[name]()
        for value in values(name, seed, 200, rate=0.45):
            part.observe(value)
        parts.append(part)
    whole = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
    certificate = whole.certificate()
    assert certificate.observations == 800
    assert certificate.estimate == pytest.approx(sum(part.certificate().estimate for part in parts) / 4)
    width = certificate.upper - certificate.lower
    assert width <= min(part.certificate().upper - part.certificate().lower for part in parts)
    assert certificate.error <= min(part.certificate().error for part in parts)
    with pytest.raises(ValueError, match=r"different|merge"):
        whole.merge({"EProcess": EProcess(0.3), "Mean": Mean(0.2), "Share": Share(0.5)}[name])


def test_merged_bets_against_a_true_hypothesis_rarely_pay() -> None:
    """Four workers of 50 values each, merged at the end: 1,500 times."""
    alarms = 0
    for seed in range(1500):
        parts = []
        for worker in range(4):
            bets = EProcess(0.2)
            for value in flips(seeded(seed * 4 + worker), 0.2, 50):
                bets.observe(value)
            parts.append(bets)
        alarms += parts[0].merge(parts[1]).merge(parts[2].merge(parts[3])).p_value <= 0.05
    not_above(alarms, 1500, 0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=80), st.floats(0.05, 0.95))
def test_capital_is_never_less_than_nothing(stream: list[float], threshold: float) -> None:
    """No sequence ruins a bet to what is no number, and the p-value never rises."""
    bets, detector, mean = EProcess(threshold), Detector(threshold, 10), Mean(0.05)
    last = 1.0
    for value in stream:
        bets.observe(value)
        detector.observe(value)
        mean.observe(value)
        assert 0 < bets.e_value < float("inf")
        assert detector.evidence > 0
        assert bets.p_value <= last
        last = bets.p_value
        low, high = mean.bounds()
        assert 0 <= low < high <= 1


def test_settings_that_can_not_work_are_refused() -> None:
    """Each by what it takes."""
    for make in (
        lambda: EProcess(0), lambda: EProcess(1), lambda: Worse(1), lambda: Mean(0), lambda: Mean(0.1, low=1, high=1),
        lambda: Detector(0, 10), lambda: Detector(0.1, 0.5), lambda: Share(1),
        lambda: certify([], [], epsilon=0.1, delta=0.1), lambda: certify([1], [[0]], epsilon=0, delta=0.1),
        lambda: expected([1, 2], [[1], [0]], epsilon=0.1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            make()

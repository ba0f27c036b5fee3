"""A rate that is watched, and a level that is corrected by what came: error rates over null runs, power, and bounds
that hold for every sequence."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.test_anytime import flips, not_above, seeded
from trimtab.foundations.stats import Level, Member, Rate, RateState

RUNS, LENGTH = 2000, 1000


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_it_errs_no_more_often_than_it_says_however_often_somebody_looks(rate: float) -> None:
    """Looked at after every value where either bound might have moved past the true rate."""
    wrong = 0
    for run in range(RUNS):
        watched = Rate(0.05)
        for number, value in enumerate(flips(seeded(run), rate, LENGTH), 1):
            watched.observe(bool(value))
            off = abs(watched.hits / number - rate)
            if number in (1, 2, 5) or (number % 10 == 0 and off > 0.5 * (rate * (1 - rate) / number) ** 0.5):
                low, high = watched.bounds()
                if not low <= rate <= high:
                    wrong += 1
                    break
    not_above(wrong, RUNS, 0.05)


def test_it_soon_sees_that_a_promise_is_broken() -> None:
    """Of contracts for 95 %, where a tenth is missed: 95 of 100 runs know within 1,500 answers."""
    found = 0
    for run in range(100):
        watched = Rate()
        for value in flips(seeded(run), 0.1, 1500):
            watched.observe(bool(value))
        found += watched.bounds()[0] > 0.05
    assert found >= 95


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_bounds_lie_around_what_was_seen_and_mirror(hits: int, misses: int) -> None:
    watched = Rate.from_state(RateState(alpha=0.05, hits=hits, total=hits + misses))
    mirrored = Rate.from_state(RateState(alpha=0.05, hits=misses, total=hits + misses))
    low, high = watched.bounds()
    assert 0 <= low <= high <= 1
    if hits + misses:
        assert low <= hits / (hits + misses) <= high
    assert mirrored.bounds() == pytest.approx((1 - high, 1 - low))
    assert watched.certificate().method == "beta-binomial"


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 60))
def test_it_goes_on_where_it_was(values: list[bool], cut: int) -> None:
    whole, before = Rate(), Rate()
    member: Member[bool, RateState] = before
    for value in values[:cut]:
        member.observe(value)
    after = Rate.from_state(msgspec.json.decode(msgspec.json.encode(before.state()), type=RateState))
    for value in values[cut:]:
        after.observe(value)
    for value in values:
        whole.observe(value)
    assert after.certificate() == whole.certificate()


@pytest.mark.parametrize("state", [RateState(alpha=0.05, hits=2, total=1), RateState(alpha=0.05, hits=-1, total=1)])
def test_a_state_that_cannot_be_is_refused(state: RateState) -> None:
    with pytest.raises(ValueError, match="is no count"):
        Rate.from_state(state)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 0.2), st.floats(0.05, 1.0))
def test_a_level_holds_its_own_misses(seed: int, alpha: float, hardness: float) -> None:
    """Of a decision that is missed with the probability `hardness * level`: stricter is safer, and more than alpha is
    never missed for long, also where the level would have to fall below its floor."""
    random, level, missed = seeded(seed).random, Level(alpha), 0
    for _ in range(4000):
        late = random() < hardness * level.value
        missed += late
        level.observe(late)
        assert alpha <= level.value <= 1
    noise = (alpha / 4000) ** 0.5  # a level that its floor holds up half the time is above alpha by some of these
    bound = alpha + 1 / (level.gamma * 4000) + 7 * noise
    assert missed / 4000 <= bound


@pytest.mark.parametrize(("alpha", "gamma"), [(0.0, 0.1), (1.0, 0.1), (0.1, 0.0), (0.1, 2.0)])
def test_settings_that_cannot_work_are_refused(alpha: float, gamma: float) -> None:
    with pytest.raises(ValueError, match="are shares above 0"):
        Level(alpha, gamma=gamma)
    with pytest.raises(ValueError, match="is a share between 0 and 1"):
        Rate(0.0)

"""Sketches: each quantile is within 1 % of the true one whatever was observed, two are one, and old values leave."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import NS_PER_S
from trimtab.foundations.stats import Certificate, Member, Sketch, SketchState, Windowed
from trimtab.foundations.stats.sketch import ACCURACY, BUCKETS, LEAST, MOST

TAIL = 7
"""Buckets so few that ordinary values collapse: they reach down to 87 % of the largest one."""

latencies = st.floats(min_value=1e-3, max_value=1e6)
near = st.floats(min_value=50, max_value=100)
anything = st.one_of(
    st.floats(min_value=0, max_value=MOST), latencies, near, st.sampled_from([0.0, 5e-324, LEAST, 1.0, MOST])
)
streams = st.one_of(st.lists(latencies, max_size=60), st.lists(near, max_size=60), st.lists(anything, max_size=60))
shares = st.floats(min_value=0, max_value=1)


def sketched(values: Iterable[float], buckets: int = BUCKETS) -> Sketch:
    sketch = Sketch(buckets)
    for value in values:
        sketch.observe(value)
    return sketch


def exact(values: list[float], at: float) -> float:
    """The value of rank floor(at (n - 1)), counted from 0."""
    return sorted(values)[int(at * (len(values) - 1))]


@given(st.lists(latencies, min_size=1, max_size=200), shares)
@settings(max_examples=300, deadline=None)
def test_every_quantile_is_within_one_percent(values: list[float], at: float) -> None:
    """Of any stream over nine powers of ten, at any share."""
    true, found = exact(values, at), sketched(values).quantile(at)
    assert found is not None
    assert abs(found - true) <= ACCURACY * true


@given(st.integers(-34_000, 34_000), st.integers(-2, 2))
@settings(max_examples=300, deadline=None)
def test_rounding_does_not_break_it_at_a_bucket_s_edge(key: int, steps: int) -> None:
    """Floats at and beside the edges of buckets, over all powers of ten that are taken."""
    value = math.exp(key * math.log1p(2 * ACCURACY / (1 - ACCURACY)))
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.inf if steps > 0 else 0.0)
    found = sketched([value]).quantile(0.5)
    assert found is not None
    assert abs(found - value) <= ACCURACY * value


@given(streams, shares, st.sampled_from([TAIL, 1, BUCKETS]))
@settings(max_examples=500, deadline=None)
def test_a_certificate_holds_for_every_stream(values: list[float], at: float, buckets: int) -> None:
    """Zeros, the smallest and the largest floats, and values whose buckets were put together: the true value of the
    rank lies between the bounds."""
    told = sketched(values, buckets).certificate(at)
    assert told.observations == len(values)
    assert told.error == 0.0
    if not values:
        assert (told.estimate, told.lower, told.upper) == (None, 0.0, MOST)
        return
    assert told.estimate is not None
    assert told.lower <= told.estimate <= told.upper
    assert told.lower <= exact(values, at) <= told.upper


@given(streams, shares, st.sampled_from([TAIL, BUCKETS]))
@settings(max_examples=300, deadline=None)
def test_what_collapses_is_the_lowest_alone(values: list[float], at: float, buckets: int) -> None:
    """A value that is more than what `buckets` reach down to from the largest keeps its 1 %."""
    positive = [value for value in values if value >= LEAST]
    if not positive:
        return
    reach = max(positive) * math.exp((2 - buckets) * math.log1p(2 * ACCURACY / (1 - ACCURACY)))
    true, told = exact(values, at), sketched(values, buckets).certificate(at)
    if true > reach:
        assert told.estimate is not None
        assert abs(told.estimate - true) <= ACCURACY * true
        assert told.lower > 0


@given(streams, streams, streams, st.sampled_from([TAIL, BUCKETS]))
@settings(max_examples=500, deadline=None)
def test_merging_is_observing_all(one: list[float], two: list[float], more: list[float], buckets: int) -> None:
    """In either order, empty and collapsed ones too; it goes on as one sketch would, and both stay as they were."""
    first, second, both = sketched(one, buckets), sketched(two, buckets), sketched(one + two, buckets)
    before = first.state(), second.state()
    merged, other = first.merge(second), second.merge(first)
    assert merged.state() == other.state() == both.state()
    for value in more:
        merged.observe(value)
        both.observe(value)
    assert merged.state() == both.state()
    assert (first.state(), second.state()) == before


@given(streams, streams, st.sampled_from([TAIL, BUCKETS]), shares)
@settings(max_examples=300, deadline=None)
def test_a_restart_changes_nothing(values: list[float], more: list[float], buckets: int, at: float) -> None:
    """State that went through JSON is the same state, and goes on as if nothing had been."""
    sketch = sketched(values, buckets)
    saved = msgspec.json.decode(msgspec.json.encode(sketch.state()), type=SketchState)
    restored = Sketch.from_state(saved)
    assert restored.state() == sketch.state()
    for value in more:
        sketch.observe(value)
        restored.observe(value)
    assert restored.state() == sketch.state()
    assert restored.certificate(at) == sketch.certificate(at)


@given(st.lists(anything, max_size=300), st.sampled_from([1, TAIL, 300, BUCKETS]))
@settings(max_examples=200, deadline=None)
def test_memory_is_bounded(values: list[float], buckets: int) -> None:
    """Of values over 600 powers of ten no more buckets are held than was said, and none is lost."""
    sketch = sketched(values, buckets)
    assert sketch._store.length() <= buckets
    assert sketch.count == sketch.state().zeros + sum(sketch.state().counts) == len(values)


def test_the_buckets_reach_as_far_as_is_said() -> None:
    """The docstring's figure: from 1 down to 1.6e-18 nothing is put together, further down it is."""
    assert sketched([1.0, 1.7e-18]).certificate(0).lower > 0
    assert sketched([1.0, 1.5e-18]).certificate(0).lower == 0


@pytest.mark.parametrize("value", [-1e-300, -1.0, math.inf, -math.inf, math.nan, MOST * 2])
def test_what_is_no_measure_is_refused_and_changes_nothing(value: float) -> None:
    """Neither in a sketch nor in a window, also when it would be the first."""
    sketch, windowed = sketched([1.0, 2.0]), Windowed(10)
    before = sketch.state()
    with pytest.raises(ValueError, match="lies between 0"):
        sketch.observe(value)
    with pytest.raises(ValueError, match="lies between 0"):
        windowed.observe(value, 0)
    assert sketch.state() == before
    assert windowed.sketch(0).state() == Sketch().state()
    assert repr(windowed) == "<Windowed 1e-08 s: 0 values>"


def test_a_state_that_no_sketch_has_is_refused() -> None:
    """A state that was edited is refused rather than believed."""
    full = sketched([1.0, 1.1, 50.0], TAIL).state()
    assert full.collapsed
    open_ = sketched([2.0, 2.2, 50.0]).state()
    for state, wrong in (
        (full, {"counts": [1] * (TAIL + 1)}),
        (full, {"counts": [1] * (TAIL - 1)}),
        (open_, {"counts": [1, -1, 1]}),
        (open_, {"counts": [0, 1]}),
        (open_, {"counts": [1, 0]}),
        (open_, {"counts": [2**53 + 1]}),
        (open_, {"zeros": -1}),
        (open_, {"zeros": 2**53}),
        (open_, {"first": 40_000}),
        (open_, {"first": -40_000}),
        (open_, {"counts": []}),
        (Sketch().state(), {"first": 3}),
        (Sketch().state(), {"collapsed": True}),
        (Sketch().state(), {"buckets": 0}),
    ):
        with pytest.raises(ValueError, match=r"the state holds|at least one bucket"):
            Sketch.from_state(msgspec.structs.replace(state, **wrong))


def test_settings_that_cannot_work_are_refused() -> None:
    """When it is made or asked."""
    with pytest.raises(ValueError, match="at least one bucket"):
        Sketch(0)
    for at in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match="share from 0 to 1"):
            Sketch().quantile(at)
    with pytest.raises(ValueError, match="don't merge"):
        Sketch(100).merge(Sketch(101))
    for window_ns, parts in ((10, 0), (0, 1), (4, 5)):
        with pytest.raises(ValueError, match="has no"):
            Windowed(window_ns, parts)


def test_the_certificate_says_what_is_claimed() -> None:
    """It is a member as the others are; JSON holds what it says, before anything was observed too."""
    sketch = Sketch()
    member: Member[float, SketchState] = sketch
    for _ in range(2):
        told = member.certificate()
        assert msgspec.json.decode(msgspec.json.encode(told), type=Certificate) == told
        member.observe(100.0)
    assert told == Certificate(
        claim="the 0.5 quantile of what was observed",
        method="ddsketch",
        estimate=sketch.quantile(0.5),
        lower=pytest.approx(100 / 1.01, rel=0.01),
        upper=pytest.approx(100 / 0.99, rel=0.01),
        error=0.0,
        observations=1,
    )
    assert repr(Sketch()) == "<Sketch of 0>"
    assert repr(sketch) == "<Sketch of 2: median 100>"


# --- windows


@given(
    st.lists(st.tuples(st.integers(0, 400), latencies, st.booleans()), max_size=80),
    st.integers(0, 400),
    st.integers(1, 6),
    st.integers(6, 200),
)
@settings(max_examples=500, deadline=None)
def test_a_window_holds_what_it_says(
    steps: list[tuple[int, float, bool]], after: int, parts: int, window_ns: int
) -> None:
    """Nothing older than the window, all that is younger than the window less a part; no more sketches than parts."""
    windowed, now, seen = Windowed(window_ns, parts), 0, list[tuple[int, float]]()
    width = -(-window_ns // parts)

    def look() -> None:
        found = windowed.sketch(now)
        must = [value for at, value in seen if now - at <= width * (parts - 1)]
        may = [value for at, value in seen if now - at < width * parts]
        assert len(must) <= found.count <= len(may)
        assert found.state() == sketched(value for _, value in seen[len(seen) - found.count :]).state()

    for step, value, looks in steps:
        now += step
        windowed.observe(value, now)
        seen.append((now, value))
        assert len(windowed._kept) <= parts
        if looks:
            look()
    now += after
    look()


def test_old_values_leave() -> None:
    """A bad minute is in the figures for five minutes and in none after, whether or not anything new came."""
    windowed = Windowed(300 * NS_PER_S)
    for second in range(60):
        windowed.observe(9000.0, second * NS_PER_S)
    for second in range(60, 600):
        windowed.observe(100.0, second * NS_PER_S)
        if second < 300:
            assert windowed.sketch(second * NS_PER_S).quantile(0.99) == pytest.approx(9000, rel=ACCURACY)
        else:
            assert windowed.sketch(second * NS_PER_S).quantile(0.99) == pytest.approx(100, rel=ACCURACY)
    assert repr(windowed) == "<Windowed 300 s: 300 values>"
    assert windowed.sketch(10_000 * NS_PER_S).quantile(0.99) is None
    assert not windowed._kept


def test_a_clock_that_goes_back_loses_nothing() -> None:
    """A value behind the newest counts as the newest."""
    windowed = Windowed(50)
    windowed.observe(1.0, 100)
    windowed.observe(2.0, 60)
    assert windowed.sketch(60).count == windowed.sketch(100).count == 2
    assert windowed.sketch(149).count == 2
    assert windowed.sketch(150).count == 0
    for now_ns in (200, 160) * 10:
        windowed.observe(1.0, now_ns)
    assert len(windowed._kept) == 1


def test_the_sketch_of_a_window_is_its_own() -> None:
    """What is observed in it later, or merged from it, does not change the window's."""
    windowed = Windowed(50)
    windowed.observe(1.0, 0)
    windowed.sketch(0).observe(2.0)
    assert windowed.sketch(0).count == 1

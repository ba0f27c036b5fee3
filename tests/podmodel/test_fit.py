"""Coefficients are found from passes, at once and as they come, in spite of stalls, and after a change."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmodel.pods import COEFFICIENTS, GPU, loads, mean_error, passes, pods, slowed
from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.podmodel import Fit, FitState, Pod, Sample, fit
from trimtab.foundations.podmodel.fit import RECENT

seeds = st.integers(0, 10_000)


def learnt(samples: list[Sample], prior: Pod | None = None, memory: float = 400.0, pull: float = 1e-3) -> Fit:
    made = Fit(prior, memory=memory, pull=pull)
    for sample in samples:
        made.observe(sample)
    return made


@given(pods(serial=0.0), seeds)
@settings(deadline=None, max_examples=40)
def test_a_pod_is_recovered_from_its_passes(pod: Pod, seed: int) -> None:
    """From 200 passes without noise, at once and one by one, forecasts come out to 4 %; and where the prior has no
    weight, each coefficient to 0.1 %."""
    samples = passes(pod, seed, 200)
    assert mean_error(fit(samples), pod) < 0.04
    assert mean_error(learnt(samples).pod, pod) < 0.04
    for found in (fit(samples, pull=1e-9), learnt(samples, pull=1e-9).pod):
        for name in COEFFICIENTS:
            assert getattr(found, name) == pytest.approx(getattr(pod, name), rel=1e-3, abs=1e-3 * pod.base_ms), name


@given(pods(), seeds)
@settings(deadline=None, max_examples=30)
def test_the_overlap_is_recovered(pod: Pod, seed: int) -> None:
    """Where passes with both halves are among them, the share that is not hidden comes out too: at once from 300, and
    one by one roughly after 900, when what was learnt by wrong coefficients has been forgotten."""
    samples = passes(pod, seed, 900, kinds="dpm")
    assert fit(samples[:300]).serial == pytest.approx(pod.serial, abs=0.05)
    assert learnt(samples).pod.serial == pytest.approx(pod.serial, abs=0.1)


@given(pods(serial=0.0), seeds)
@settings(deadline=None, max_examples=30)
def test_a_pod_that_is_never_idle_learns_its_prompts(pod: Pod, seed: int) -> None:
    """No pass has a prompt alone; passes with prompts beside running sequences are foretold to 5 % all the same."""
    found = learnt(passes(pod, seed, 800, kinds="ddm")).pod
    assert mean_error(found, pod, "m") < 0.05


@given(
    st.lists(st.tuples(loads(), st.floats(1e-3, 1e5)), min_size=1, max_size=30),
    st.one_of(st.none(), pods()),
)
@settings(deadline=None, max_examples=60)
def test_no_samples_make_a_coefficient_negative(seen: list[tuple[dict[str, float], float]], prior: Pod | None) -> None:
    """Passes of any length whatever, which no pod explains, still leave finite coefficients of at least 0."""
    samples = [Sample(ms=ms, **load) for load, ms in seen if load["running"] or load["prompt"]]
    for found in (fit(samples, prior), learnt(samples, prior).pod):
        assert all(0 <= getattr(found, name) < math.inf for name in COEFFICIENTS)
        assert 0 <= found.serial <= 1


@given(pods(), seeds, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_order_does_not_matter(pod: Pod, seed: int, shuffler: object) -> None:
    """The same passes in another order give the same coefficients, to the last bit."""
    samples = passes(pod, seed, 40, kinds="dpm", noise=0.2)
    turned = list(samples)
    shuffler.shuffle(turned)  # type: ignore[attr-defined]
    assert fit(turned) == fit(samples)


@given(pods(serial=0.0), seeds)
@settings(deadline=None, max_examples=30)
def test_stalls_teach_little(pod: Pod, seed: int) -> None:
    """One pass of five ten times too long: the mean pass is forecast to 5 % all the same, where the mean of what was
    seen is off by 180 %."""
    stalls = ClockIds(SystemClock(), seed + 1).random
    samples = passes(pod, seed, 400, noise=0.03, wrong=lambda _: 10.0 if stalls.random() < 0.2 else 1.0)
    assert mean_error(fit(samples), pod) < 0.05
    assert mean_error(learnt(samples).pod, pod) < 0.05


@given(pods(serial=0.0), seeds, st.sampled_from([0.5, 2.0, 3.0]))
@settings(deadline=None, max_examples=30)
def test_a_change_of_pace_is_believed(pod: Pod, seed: int, pace: float) -> None:
    """When all passes take twice as long from now on, 16 of a kind later the mean pass is forecast to 5 % again."""
    made = learnt(passes(pod, seed, 400, noise=0.03))
    assert mean_error(made.pod, pod) < 0.05
    slower = slowed(pod, pace)
    for sample in passes(slower, seed + 1, 2 * RECENT, noise=0.03):
        made.observe(sample)
    assert mean_error(made.pod, slower) < 0.05


@pytest.mark.parametrize(("pace", "epoch"), [(5.0, 1), (0.2, 1), (1.7, 0), (0.6, 0)])
def test_a_machine_of_another_pace_begins_an_epoch(pace: float, epoch: int) -> None:
    """Beyond twice; what is nearer is the same machine on a bad day. Prompts alone say nothing of it."""
    made = learnt(passes(GPU, 5, 200, noise=0.03))
    assert made.epoch == 0
    slower = slowed(GPU, pace)
    for sample in passes(slower, 6, 2 * RECENT, kinds="p", noise=0.03):
        made.observe(sample)
    assert made.epoch == 0
    for sample in passes(slower, 7, 2 * RECENT, kinds="d", noise=0.03):
        made.observe(sample)
    assert made.epoch == epoch


def test_without_a_change_nothing_is_thrown_away() -> None:
    """Stalls of every fifth pass are no change of pace: what was learnt is kept."""
    rng = ClockIds(SystemClock(), 3).random
    made = learnt(passes(GPU, 3, 6000, noise=0.05, wrong=lambda _: 10.0 if rng.random() < 0.2 else 1.0))
    assert min(made.samples) > 300


def test_one_batch_size_alone_leaves_the_prior_its_shape() -> None:
    """Passes that don't tell base from sequence keep the proportion of what was believed before."""
    slower = Pod(base_ms=30, sequence_ms=0.3, held_ms=0.00045, prefill_ms=8, prompt_ms=0.1, attend_ms=2e-6)
    same = [Sample(ms=slower.decode_ms(8, 8000), running=8, held=8000) for _ in range(50)]
    found = learnt(same, GPU).pod
    assert found.decode_ms(8, 8000) == pytest.approx(slower.decode_ms(8, 8000), rel=1e-3)
    assert 30 < found.decode_ms(64, 64_000) < slower.decode_ms(64, 64_000) * 1.1
    assert found.prompt_pass_ms(1000, 500) == GPU.prompt_pass_ms(1000, 500)


@given(pods(), seeds, st.integers(0, 60))
@settings(deadline=None, max_examples=30)
def test_a_restart_changes_nothing(pod: Pod, seed: int, at: int) -> None:
    """State that went through JSON goes on as if nothing had been, and is not changed by what goes on from it."""
    samples = passes(pod, seed, 60, kinds="dpm", noise=0.3)
    made = learnt(samples[:at], GPU)
    saved = msgspec.json.encode(made.state())
    state = msgspec.json.decode(saved, type=FitState)
    restored = Fit.from_state(state)
    for sample in samples[at:]:
        made.observe(sample)
        restored.observe(sample)
    assert restored.state() == made.state()
    assert repr(restored) == repr(made)
    assert msgspec.json.encode(state) == saved


@pytest.mark.parametrize("wrong", [{"ms": 0.0}, {"ms": math.nan}, {"ms": math.inf}, {"running": 0.0}, {"held": -1.0}])
def test_a_pass_that_cannot_be_is_refused_and_changes_nothing(wrong: dict[str, float]) -> None:
    """No time, no number, nothing in the batch: an error of the caller's."""
    made = learnt(passes(GPU, 1, 20))
    before = made.state()
    sample = msgspec.structs.replace(Sample(ms=20, running=1, held=10), **wrong)
    for call in (made.observe, lambda one: fit([one])):
        with pytest.raises(ValueError, match="a pass takes time"):
            call(sample)
    assert made.state() == before


@pytest.mark.parametrize("memory", [0.5, math.inf, math.nan])
def test_settings_that_cannot_work_are_refused(memory: float) -> None:
    """A memory of less than a sample, or of one that JSON can't hold."""
    with pytest.raises(ValueError, match="memory"):
        Fit(memory=memory)


def test_a_state_that_no_fit_has_is_refused() -> None:
    """A state file that was edited is refused rather than believed."""
    state = learnt(passes(GPU, 1, 20)).state()
    moments = state.decode
    four = [[1.0] * 4] * 4
    for wrong in (
        {"memory": 0.0},
        {"decode": msgspec.structs.replace(moments, target=[1.0])},
        {"decode": msgspec.structs.replace(moments, gram=four[:2])},
        {"pull": 0.0},
        {"prefill": msgspec.structs.replace(moments, target=[0.0] * 3)},
        {"decode": msgspec.structs.replace(moments, target=[math.nan] * 4)},
        {"prefill": msgspec.structs.replace(moments, count=-1.0)},
        {"prefill": msgspec.structs.replace(moments, gram=[[-1.0] * 4] * 4)},
        {"prefill": msgspec.structs.replace(moments, ratios=[0.0])},
    ):
        with pytest.raises(ValueError, match=r"the state holds|memory|pull"):
            Fit.from_state(msgspec.structs.replace(state, **wrong))

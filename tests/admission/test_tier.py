"""A tier by itself: what it reckons of prompts on their way in, of replicas that come and go, of who leaves early."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import NS_PER_MS
from trimtab.core.contract import Latency
from trimtab.dataplane.admission.expected import OUTPUT, Expected
from trimtab.dataplane.admission.tier import Foreseen, Tier
from trimtab.dataplane.admission.turn import Turn
from trimtab.foundations.podmodel import Ask, Fit, Pod, Predictor, Sample

POD = Pod(base_ms=20, sequence_ms=1, held_ms=0.001, prefill_ms=10, prompt_ms=0.2, attend_ms=0, serial=1.0)
LENGTHS = st.lists(st.tuples(st.integers(50, 2000), st.integers(5, 60)), min_size=40, max_size=60)


def turn(ask: Ask, now: int = 0, ttft_ms: float = 2_000, itl_ms: float = 200, e2e_ms: float = 20_000) -> Turn:
    latency = Latency(ttft_ms=ttft_ms, itl_ms=itl_ms, e2e_ms=e2e_ms, percentile=0.95, deadline_ms=3 * e2e_ms)
    return Turn(rank=2, tenant="shop", at_ns=now, latency=latency, ask=ask, strict=True)


def next_one(tier: Tier, ask: Ask, now: int) -> Foreseen | None:
    """What one more would take, which then does not come."""
    running = tier.begin(turn(ask, now), now)
    foreseen = tier.foresee(running)
    tier.end(running, now, whole=False)
    return foreseen


def taught() -> Tier:
    """After sixty requests on an idle pod, one after the other."""
    tier = Tier(Predictor(Fit()))
    now = 0
    for number in range(60):
        now = alone(tier, 100 + 37 * number % 1500, 20 + number % 30, now)
    return tier


def alone(tier: Tier, prompt: int, output: int, now: int) -> int:
    """One request as the pod serves it; when it has ended."""
    running = tier.begin(turn(Ask(prompt=prompt, output=output), now), now)
    now += int(POD.intake_ms(prompt) * NS_PER_MS)
    tier.first(running, now)
    for wrote in range(1, output + 1):
        running.wrote = wrote
        now += int(POD.decode_ms(1, prompt + wrote) * NS_PER_MS) if wrote < output else 0
    tier.end(running, now, whole=True)
    return now


@settings(max_examples=20, deadline=None)
@given(LENGTHS)
def test_what_a_pod_takes_is_learnt_from_when_tokens_come(requests: list[tuple[int, int]]) -> None:
    """Whatever the requests were: those seen are enough to foresee one of them."""
    tier = Tier(Predictor(Fit()))
    now = 0
    for prompt, output in requests:
        now = alone(tier, prompt, output, now)
    prompt, output = requests[0]
    foreseen = next_one(tier, Ask(prompt=prompt, output=output), now)
    assert foreseen is not None
    came_ms = POD.intake_ms(prompt) + (output - 1) * POD.decode_ms(1, prompt + output / 2)
    assert foreseen.times.e2e_ms == pytest.approx(came_ms, rel=0.1)


def test_nothing_is_foreseen_of_what_nobody_has_seen() -> None:
    assert next_one(Tier(Predictor(Fit())), Ask(prompt=10, output=10), 0) is None


def test_a_prompt_waits_for_those_before_it() -> None:
    """Two prompts on their way in keep the third waiting for both; one that comes in late keeps it waiting longer, and
    with all in nobody waits."""
    tier = taught()
    now = 10**12
    ask = Ask(prompt=1000, output=50)
    idle = next_one(tier, ask, now)
    first, second = tier.begin(turn(ask, now), now), tier.begin(turn(ask, now), now)
    behind = next_one(tier, ask, now)
    assert idle is not None
    assert behind is not None
    assert behind.load.ahead_ms == pytest.approx(2 * POD.intake_ms(1000), rel=0.1)
    assert behind.times.ttft_ms == pytest.approx(idle.times.ttft_ms + behind.load.ahead_ms, rel=0.1)
    late = now + int(2 * POD.intake_ms(1000) * NS_PER_MS)  # twice as late as reckoned
    tier.first(first, late)
    assert tier.begin(turn(ask, late), late).load.ahead_ms == pytest.approx(POD.intake_ms(1000), rel=0.2)
    tier.end(second, late, whole=False)


def test_who_leaves_before_a_token_came_leaves_nothing() -> None:
    tier = taught()
    pod = tier.predictor.fit.pod
    ask = Ask(prompt=1000, output=50)
    running = tier.begin(turn(ask, 10**12), 10**12)
    assert (busy := next_one(tier, ask, 10**12)) is not None
    assert busy.intake == 1000
    tier.end(running, 10**12 + NS_PER_MS, whole=False)
    tier.end(running, 10**12 + NS_PER_MS, whole=False)
    idle = next_one(tier, ask, 10**12 + NS_PER_MS)
    assert idle is not None
    assert (idle.intake, idle.load.ahead_ms, idle.load.running) == (0, 0, 0)
    assert tier.predictor.fit.pod == pod


def test_requests_are_reckoned_to_the_replica_with_the_fewest() -> None:
    """Two replicas, two prompts: a third waits behind one of them. A replica that goes takes its own with it."""
    tier = taught()
    tier.resize(2)
    now = 10**12
    ask = Ask(prompt=1000, output=50)
    running = [tier.begin(turn(ask, now), now), tier.begin(turn(ask, now), now)]
    assert running[0].place is not running[1].place
    behind = next_one(tier, ask, now)
    assert behind is not None
    assert behind.intake == 1000
    tier.resize(1)
    for one in running:
        tier.end(one, now, whole=False)
    idle = next_one(tier, ask, now)
    assert idle is not None
    assert idle.intake == 0


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 4000)), min_size=1, max_size=80))
def test_expected_lengths_lie_between_those_seen(seen: list[tuple[int, int, int]]) -> None:
    """Of answers that end one after the other: between the shortest and the longest and what was believed, never above
    what the request may have."""
    expected = Expected()
    for bound, prompt, output in seen:
        expected.read(bound, min(prompt, bound))
        expected.wrote(("shop", "web"), output, ended=True)
    outputs = [OUTPUT, *(output for _, _, output in seen)]
    assert min(outputs) - 1e-6 <= expected.ask(("shop", "web"), 100, 10**6).output <= max(outputs) + 1e-6
    assert expected.ask(("shop", "web"), 100, 7).output <= 7
    assert 1 <= expected.ask(("shop", "web"), 100, 7).prompt <= 100


def test_of_many_callers_the_latest_are_kept() -> None:
    expected = Expected()
    for number in range(10_000):
        expected.wrote((f"tenant {number}", "web"), 500, ended=True)
    for _ in range(1000):
        expected.wrote(("tenant 9999", "web"), 100, ended=True)
    assert expected.ask(("tenant 9999", "web"), 100, 10**6).output == pytest.approx(100)
    assert expected.ask(("tenant 0", "web"), 100, 10**6).output == expected.ask(("nobody", "web"), 100, 10**6).output
    assert len(expected) <= 512


def test_answers_that_still_run_are_not_forgotten() -> None:
    """Of thirty that began together, ten with 20 tokens and twenty with 400, the short ones end first: what the others
    have written by then keeps the mean from falling to theirs, and in the end it is that of all."""
    expected, caller = Expected(), ("shop", "web")
    for token in range(1, 401):
        for number in range(30):
            length = 20 if number < 10 else 400
            if token <= length:
                expected.wrote(caller, 1, ended=token == length)
        if token == 20:
            assert expected.ask(caller, 100, 10**6).output > 60
    assert expected.ask(caller, 100, 10**6).output == pytest.approx((10 * 20 + 20 * 400) / 30, rel=0.3)


def test_who_is_late_because_the_pace_changed_makes_nobody_stricter() -> None:
    """Misses of those whom the pace of before had let in are counted, and move no level; those of now do."""
    tier = Tier(Predictor(Fit()))
    for number in range(40):
        tier.predictor.fit.observe(Sample(ms=POD.decode_ms(4, 4000 + number), running=4, held=4000 + number))
    for _ in range(50):
        tier.judge(0.9, missed=False)
    relaxed = tier.level(0.9)
    for number in range(40):
        tier.predictor.fit.observe(Sample(ms=5 * POD.decode_ms(4, 4000 + number), running=4, held=4000 + number))
    now = tier.predictor.fit.epoch
    assert now > 0
    for _ in range(10):
        tier.judge(0.9, missed=True, epoch=0)
    assert tier.level(0.9) == relaxed
    assert tier.certificate(0.9).estimate == pytest.approx(10 / 60)
    tier.judge(0.9, missed=True, epoch=now)
    assert tier.level(0.9) < relaxed

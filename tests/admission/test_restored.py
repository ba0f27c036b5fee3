"""What a tier has learned goes to another one: the same forecasts from the first request on, and no blind faith."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.clock import NS_PER_MS, SystemClock
from trimtab.core.contract import Latency
from trimtab.dataplane.admission.gates import Gates
from trimtab.dataplane.admission.tier import Foreseen, Tier, TierState
from trimtab.dataplane.admission.turn import Turn
from trimtab.foundations.podmodel import Ask, Fit, Load, Pod, Predictor
from trimtab.foundations.podmodel.predict import UNSURE

POD = Pod(base_ms=20, sequence_ms=1, held_ms=0.001, prefill_ms=10, prompt_ms=0.2, attend_ms=0, serial=1.0)
ASK = Ask(prompt=400, output=30)
CALLERS = st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9), st.integers(1, 900)), max_size=40)


def turn(ask: Ask, now: int) -> Turn:
    latency = Latency(ttft_ms=1000, itl_ms=100, e2e_ms=9000, percentile=0.95, deadline_ms=9000)
    return Turn(rank=2, tenant="shop", channel="web", at_ns=now, latency=latency, ask=ask)


def foreseen(tier: Tier, now: int) -> Foreseen | None:
    """Of one more request, which then does not come."""
    running = tier.begin(turn(ASK, now), now)
    found = tier.foresee(running)
    tier.end(running, now, whole=False)
    return found


def test_one_whose_pace_has_changed_before_learns_on_from_what_is_restored() -> None:
    """Its forecasts are of the epoch that it is in: one that fell back would be taken for long past."""
    tier = fresh()
    assert tier.predictor.share("ttft", 0.95) == UNSURE
    tier.predictor.fit.epoch = 2
    first = tier.predictor.forecast(Load(), ASK)
    for _ in range(20):
        tier.predictor.learn(msgspec.structs.replace(first, ttft_ms=100.0), "ttft", 100.0)
    tier.restore(taught().state())
    now = tier.predictor.forecast(Load(), ASK)
    for _ in range(40):
        tier.predictor.learn(now, "ttft", 2 * now.ttft_ms)
    assert tier.predictor.share("ttft", 0.95) >= 2


def fresh() -> Tier:
    return Tier(Predictor(Fit(), ()))


def served(tier: Tier, pod: Pod, count: int, now: int = 0) -> int:
    """So many requests on an idle pod, one after the other; when the last one has ended."""
    for number in range(count):
        ask = Ask(prompt=100 + 37 * number % 1500, output=20 + number % 30)
        running = tier.begin(turn(ask, now), now)
        now += int(pod.intake_ms(ask.prompt) * NS_PER_MS)
        tier.first(running, now)
        for wrote in range(1, int(ask.output) + 1):
            running.wrote = wrote
            now += int(pod.decode_ms(1, ask.prompt + wrote) * NS_PER_MS) if wrote < ask.output else 0
        tier.end(running, now, whole=True)
    return now


def taught(pod: Pod = POD) -> Tier:
    tier = fresh()
    served(tier, pod, 60)
    return tier


def through_json(state: TierState) -> TierState:
    return msgspec.json.decode(msgspec.json.encode(state), type=TierState)


@settings(max_examples=25, deadline=None)
@given(CALLERS, st.integers(0, 60))
def test_another_tier_foresees_the_same(callers: list[tuple[str, str, int]], count: int) -> None:
    """Times and lengths, at once; nothing where the first one knew too little, too."""
    first, second = fresh(), fresh()
    now = served(first, POD, count)
    for tenant, channel, output in callers:
        first.expected.read(1000, 300)
        first.expected.wrote((tenant, channel), output, ended=True)
    second.restore(through_json(first.state()))
    assert foreseen(second, now) == foreseen(first, now)
    assert (foreseen(second, now) is not None) == first.state().is_enough
    assert 5 <= count < 25 or first.state().is_enough == (count >= 25)
    for tenant, channel, _ in [*callers, ("nobody", "nowhere", 0)]:
        caller = (tenant, channel)
        own, other = first.expected.ask(caller, 800, 10**6), second.expected.ask(caller, 800, 10**6)
        assert (other.prompt, other.output) == (own.prompt, pytest.approx(own.output))
    assert second.state().fit == first.state().fit
    assert [one[:2] for one in second.state().outputs] == [one[:2] for one in first.state().outputs]


def test_a_machine_that_has_become_half_as_fast_is_believed_after_13_passes_of_each_kind() -> None:
    """What was restored is twice too fast: of 14 requests 13 prompts and 13 answers have taught, and forecasts are
    right to 5 %."""
    tier, slower = fresh(), Pod(base_ms=40, sequence_ms=2, held_ms=0.002, prefill_ms=20, prompt_ms=0.4, attend_ms=0)
    tier.restore(taught().state())
    now, came_ms = 10**12, slower.intake_ms(ASK.prompt)
    before = foreseen(tier, now)
    assert before is not None
    assert before.times.ttft_ms == pytest.approx(came_ms / 2, rel=0.05)
    now = served(tier, slower, 14, now)
    after = foreseen(tier, now)
    assert after is not None
    assert after.times.ttft_ms == pytest.approx(came_ms, rel=0.05)
    assert after.times.itl_ms == pytest.approx(slower.decode_ms(1, 415), rel=0.05)


def test_what_no_tier_knows_is_refused_and_changes_nothing() -> None:
    state, tier = taught().state(), taught()
    before = tier.state()
    gates = Gates(SystemClock())
    for wrong in (
        {"share": math.nan},
        {"share": -0.1},
        {"outputs": [("shop", "web", math.inf)]},
        {"fit": msgspec.structs.replace(state.fit, memory=0.0)},
    ):
        odd = msgspec.structs.replace(state, **wrong)
        with pytest.raises(ValueError, match=r"the state holds|memory"):
            tier.restore(odd)
        with pytest.raises(ValueError, match=r"the state holds|memory"):
            gates.restore({"small": state, "medium": odd})
    assert tier.state() == before
    gates.resize({"small": (1, 1)})
    assert not gates.states()["small"].is_enough


def test_gates_that_come_later_know_it_too() -> None:
    """An engine that is still starting has no gate yet. Models that nothing is known of stay as they are."""
    gates, state = Gates(SystemClock()), taught().state()
    gates.resize({"small": (2, 1)})
    gates.restore({"small": state, "medium": state})
    gates.resize({"small": (2, 1), "medium": (1, 1), "large": (1, 1)})
    states = gates.states()
    assert states["small"] == states["medium"] == state
    assert not states["large"].is_enough

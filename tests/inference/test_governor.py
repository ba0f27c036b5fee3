"""Which setting of a model's engines a request gets: what is measured decides, in either direction, and goes on to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.test_anytime import seeded
from trimtab.core.models import Setting
from trimtab.dataplane.inference import Governor

FAST = {"fast": Setting(endpoint="engine:fast", speculative=True)}


def play(
    governor: Governor,
    times: int,
    ms: Callable[[bool], float],
    *,
    tenant: str = "shop",
    running: int = 0,
    terms: dict[str, Setting] = FAST,
    wasted: int = 0,
) -> Counter[str]:
    """So many requests one after the other, of 100 tokens each: how often each reason decided, and `on` the setting."""
    seen: Counter[str] = Counter()
    for _ in range(times):
        chosen = governor.choose("small", terms, tenant, running)
        assert chosen is not None
        seen[chosen.why] += 1
        on = chosen.setting is not None
        seen["on"] += on
        governor.observe(
            "small", terms, tenant, running, chosen.setting, ms=ms(on), tokens=100, wasted=wasted if on else None
        )
    return seen


def noisy(seed: int, on: float, off: float) -> Callable[[bool], float]:
    """Times within 30 % of these."""
    random = seeded(seed).random
    return lambda is_on: (on if is_on else off) * (0.7 + 0.6 * random())


def test_who_gains_gets_it_with_a_certificate() -> None:
    """From alternating, to nearly all requests; the certificate says at which error, and the gain what it is worth."""
    governor = Governor()
    play(governor, 100, noisy(1, 1000, 2000))
    seen = play(governor, 320, noisy(2, 1000, 2000))
    assert seen["on"] == 320 - 320 // 16
    chosen = governor.choose("small", FAST, "shop", 0)
    assert chosen is not None
    assert (chosen.setting, chosen.why, chosen.about) == ("fast", "measured", "fast")
    assert chosen.certificate is not None
    assert chosen.certificate.error <= 0.05
    assert chosen.gain == pytest.approx(2, rel=0.2)


def test_who_loses_does_not() -> None:
    governor = Governor()
    play(governor, 100, noisy(1, 2000, 1500))
    assert play(governor, 320, noisy(2, 2000, 1500))["on"] == 320 // 32
    chosen = governor.choose("small", FAST, "shop", 0)
    assert chosen is not None
    assert (chosen.setting, chosen.why) == (None, "measured")
    assert chosen.certificate is not None


def test_tenants_differ() -> None:
    """One's texts repeat, another's do not: each gets what its own requests have shown."""
    governor = Governor()
    for _ in range(40):
        play(governor, 10, noisy(3, 1000, 2000), tenant="copies")
        play(governor, 10, noisy(4, 2000, 1500), tenant="writes")
    assert play(governor, 64, noisy(5, 1000, 2000), tenant="copies")["on"] == 60
    assert play(governor, 64, noisy(6, 2000, 1500), tenant="writes")["on"] == 2


def test_a_new_tenant_goes_by_all_of_them_and_learns_by_itself() -> None:
    governor = Governor()
    play(governor, 100, noisy(1, 1000, 2000))
    seen = play(governor, 8, noisy(2, 1000, 2000), tenant="new")
    assert (seen["measured for all"], seen["on"]) == (7, 7)
    play(governor, 400, noisy(3, 2000, 1500), tenant="new")
    assert play(governor, 64, noisy(4, 2000, 1500), tenant="new")["on"] == 2


def test_a_change_is_found() -> None:
    """What gained, and loses from some day on."""
    governor = Governor()
    play(governor, 200, noisy(1, 1000, 2000))
    play(governor, 600, noisy(2, 2500, 1500))
    assert play(governor, 64, noisy(3, 2500, 1500))["on"] == 2


def test_more_requests_than_where_it_lost_do_not_try_it_often() -> None:
    """A gain does not grow with the number of requests that run: neighbours are believed until more is known."""
    governor = Governor()
    play(governor, 800, noisy(1, 2000, 1500), running=4)
    seen = play(governor, 8 * 41, noisy(2, 2000, 1500), running=40)
    assert (seen["neighbour"], seen["on"]) == (7 * 41, 41)
    seen = play(governor, 16, noisy(3, 1000, 2000), running=0)
    assert seen["neighbour"] == 0
    play(governor, 400, noisy(4, 1000, 2000), running=2)
    assert play(governor, 16, noisy(5, 1000, 2000), running=1)["neighbour"] == 14


def test_nobody_seems_fast_for_being_alone() -> None:
    """Eight run on two replicas; who tries the setting finds nobody there, and takes less time for that alone. Nothing
    is learned of it for those who run together."""
    governor, random = Governor(), seeded(11).random
    seen: Counter[str] = Counter()
    for _ in range(30 * 8 * 8):
        chosen = governor.choose("small", FAST, "shop", 7, replicas=2)
        assert chosen is not None
        on = chosen.setting is not None
        seen[chosen.why] += 1
        seen["on"] += on
        ms = (700 if on else 1500) * (0.7 + 0.6 * random())
        governor.observe("small", FAST, "shop", 0 if on else 3, chosen.setting, ms=ms, tokens=100)
    assert (seen["measured"], seen["on"]) == (0, 30 * 8)


@pytest.mark.parametrize(("running", "share"), [(0, 2), (1, 8), (9, 8)])
def test_those_who_try_it_do_so_one_after_the_other(running: int, share: int) -> None:
    """As many as run; where nothing is known half of the requests that run alone, and an eighth of others."""
    governor, turns = Governor(), []
    for _ in range(4 * share * (running + 1)):
        chosen = governor.choose("small", FAST, "shop", running)
        assert chosen is not None
        turns.append(chosen.setting is not None)
    at_once = running + 1
    assert turns == 4 * ([False] * (share - 1) * at_once + [True] * at_once)


def test_too_much_in_vain_is_off_however_fast() -> None:
    """Its tier allows two tokens for each one written; ten are proposed in vain."""
    governor = Governor()
    terms = {"fast": Setting(endpoint="engine:fast", speculative=True, overhead=2)}
    assert play(governor, 1, noisy(1, 1000, 2000), terms=terms, wasted=1000)["exploring"] == 1
    seen = play(governor, 129, noisy(2, 1000, 2000), terms=terms, wasted=1000)
    assert seen["overhead"] >= 126
    assert 1 <= seen["on"] <= 3
    assert governor.wasted("small", "fast", "shop") == pytest.approx(10)
    assert governor.wasted("small", "fast", "another") == pytest.approx(10)


def test_what_an_engine_tells_of_all_its_answers_counts_for_whom_nothing_else_does() -> None:
    governor = Governor()
    terms = {"fast": Setting(endpoint="http://10.0.0.1/v1", speculative=True, overhead=2)}
    governor.told("small", "fast", 5.0)
    chosen = governor.choose("small", terms, "shop", 0)
    assert chosen is not None
    assert (chosen.setting, chosen.why) == (None, "overhead")


def test_above_the_declared_number_it_is_off() -> None:
    governor = Governor()
    terms = {"fast": Setting(endpoint="engine:fast", speculative=True, most_running=8)}
    play(governor, 100, noisy(1, 1000, 2000), terms=terms, running=7)
    assert play(governor, 100, noisy(2, 1000, 2000), terms=terms, running=8) == {"batch": 100, "on": 0}


def test_whom_it_is_not_for() -> None:
    terms = {"fast": Setting(endpoint="engine:fast", tenants=["shop"])}
    governor = Governor()
    assert governor.choose("small", terms, "other", 0) is None
    assert governor.choose("small", {}, "shop", 0) is None
    assert governor.choose("small", terms, "shop", 0) is not None


def test_of_several_the_one_that_gains_most() -> None:
    governor = Governor()
    terms = {"fast": Setting(endpoint="engine:fast"), "wide": Setting(endpoint="engine:wide")}
    pace, random = {"fast": 700, "wide": 1400, None: 2000}, seeded(7).random
    seen: Counter[str | None] = Counter()
    for number in range(1000):
        chosen = governor.choose("small", terms, "shop", 0)
        assert chosen is not None
        seen[chosen.setting] += number >= 500
        ms = pace[chosen.setting] * (0.7 + 0.6 * random())
        governor.observe("small", terms, "shop", 0, chosen.setting, ms=ms, tokens=100)
    assert seen["fast"] > 400


def test_short_answers_say_nothing() -> None:
    governor = Governor()
    for _ in range(500):
        chosen = governor.choose("small", FAST, "shop", 0)
        assert chosen is not None
        governor.observe("small", FAST, "shop", 0, chosen.setting, ms=10.0 if chosen.setting else 90.0, tokens=7)
    assert chosen.why == "exploring"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 3, 9]))
def test_of_two_that_are_alike_it_seldom_claims_a_gain(seed: int, running: int) -> None:
    """It may decide by chance, with its error; what it then gives up or gains is nothing. Never less than a share
    of either is tried, so that a gain that comes later is found."""
    governor = Governor()
    seen = play(governor, 400, noisy(seed, 1500, 1500), running=running)
    assert 400 // 64 <= seen["on"] <= 400 - 400 // 32

"""Rates: a burst at once, then the declared pace, and a wait that is exact to the nanosecond."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spend.world import KEY, NONE, HandClock, Rates, S, channel, entry, key, rates
from trimtab.core.errors import Code, Refusal
from trimtab.core.tenancy import Channel, KeyEntry, Limits, Rate
from trimtab.dataplane.spend import MemoryStore, RateView

PACES = st.one_of(
    st.sampled_from([0.1, 1 / 3, 0.5, 1.0, 3.0, 7.0, 10.0, 1e3, 123_456.789, 7e8, 1e9]),
    st.floats(1e-3, 1e9, allow_nan=False),
)


def rate(per_s: float, burst: int) -> Rate:
    return Rate(per_s=per_s, burst=burst)


def who(own: Limits = NONE, tenants: Limits = NONE, channels: Limits = NONE) -> tuple[KeyEntry, str, Channel]:
    """A key, and the channel that it speaks through."""
    bot = channel(limits=channels)
    return entry(own=key(limits=own), limits=tenants, channels={"bot": bot}), "bot", bot


def wait_ns(refusal: Refusal | None) -> int:
    assert refusal is not None
    assert refusal.code is Code.RATE_LIMITED
    assert refusal.retry_after_s is not None
    return round(refusal.retry_after_s * S)


class Bucket:
    """The reference: a leaky bucket in exact fractions."""

    def __init__(self, per_s: float, burst: int) -> None:
        self.per_s, self.burst, self.level = Fraction(repr(per_s)), burst, Fraction(0)

    def leak(self, ns: int) -> None:
        self.level = max(Fraction(0), self.level - self.per_s * ns / S)

    def wait_ns(self, cost: int) -> Fraction:
        """Until it takes `cost`; 0: now."""
        return max(Fraction(0), (self.level + cost - self.burst) / self.per_s * S)

    def add(self, amount: int) -> None:
        self.level = max(Fraction(0), self.level + amount)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("charge"), st.integers(0, 60)),
        st.tuples(st.just("true_up"), st.tuples(st.integers(0, 60), st.integers(0, 60))),
        st.tuples(st.just("pass"), st.floats(0, 1.5)),  # of the time that fills the bucket
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(PACES, st.integers(1, 50), STEPS)
def test_it_is_a_leaky_bucket(per_s: float, burst: int, steps: list[tuple[str, object]]) -> None:
    """Charges, debts and credits at any pace are answered as an exact leaky bucket answers them.

    The wait may be longer by a nanosecond, into which it is rounded, and by one part in 10^9, into which the pace is.
    """
    clock, bucket = HandClock(), Bucket(per_s, burst)
    limiter, speaker = Rates(clock), who(rates(tokens=rate(per_s, burst)))
    for kind, value in steps:
        if kind == "pass":
            ns = int(value * burst / bucket.per_s * S)  # type: ignore[operator]
            clock.move(ns)
            bucket.leak(ns)
        elif kind == "true_up":
            estimated, actual = value  # type: ignore[misc]
            limiter.true_up(*speaker, estimated, actual)
            bucket.add(actual - estimated)
        else:
            assert isinstance(value, int)
            refusal = limiter.charge(*speaker, value)
            expected = bucket.wait_ns(value)
            if value > burst:
                assert refusal is not None
                assert refusal.code is Code.LARGER_THAN_LIMIT
            elif refusal is None:
                assert expected == 0
                bucket.add(value)
            else:
                slack = 1 + (bucket.level + burst) / bucket.per_s  # ns: 10^-9 of the time that it takes to leak
                assert expected <= wait_ns(refusal) <= expected + slack + wait_ns(refusal) / 2**50


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(PACES, st.integers(1, 1000)), min_size=3, max_size=3),
    st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 10**9)), max_size=6),
    st.integers(1, 1000),
)
def test_the_wait_is_exact(limits: list[tuple[float, int]], before: list[tuple[int, int]], cost: int) -> None:
    """Whatever was charged: who retries after exactly the told time succeeds, and a nanosecond earlier does not."""
    own, tenants, channels = (rates(tokens=rate(per_s, burst)) for per_s, burst in limits)
    clock = HandClock()
    limiter, speaker = Rates(clock), who(own, tenants, channels)
    for tokens, ns in before:
        limiter.charge(*speaker, tokens)
        clock.move(ns)
    cost = min([cost, *(burst for _, burst in limits)])
    while (refusal := limiter.charge(*speaker, cost)) is None:
        pass
    told_ns = wait_ns(refusal)
    if told_ns >= 1 << 50:
        return  # two weeks: seconds as a float hold no nanoseconds there
    clock.move(told_ns - 1)
    assert wait_ns(limiter.charge(*speaker, cost)) == 1
    clock.move(1)
    assert limiter.charge(*speaker, cost) is None


def test_a_burst_at_once_then_the_pace() -> None:
    """Ten a second with a burst of 20 lets 20 through at once, and from then on one each 100 ms."""
    clock, speaker = HandClock(), who(rates(requests=rate(10, 20)))
    limiter = Rates(clock)
    assert [limiter.charge_request(speaker[0]) for _ in range(20)] == [None] * 20
    for _ in range(5):
        assert wait_ns(limiter.charge_request(speaker[0])) == S // 10
        clock.move(S // 10)
        assert limiter.charge_request(speaker[0]) is None


@pytest.mark.parametrize("per_s", [3.0, 7e8, 1e9, 0.3])
def test_the_pace_does_not_drift(per_s: float) -> None:
    """A hundred thousand tokens, booked one after the other, last as long as their number says, to one part in 10^9,
    and never less."""
    limiter, speaker = Rates(HandClock()), who(rates(tokens=rate(per_s, 1)))
    for _ in range(100_000):
        limiter.true_up(*speaker, 0, 1)
    exactly_s = 100_000 / Fraction(repr(per_s))
    assert exactly_s * (1 - Fraction(1, 10**15)) <= Fraction(limiter.view(*speaker)[0].reset_s)
    assert Fraction(limiter.view(*speaker)[0].reset_s) <= exactly_s * (1 + Fraction(1, 10**9))


def test_all_limits_of_a_call_are_charged_or_none() -> None:
    """While the tenant's limit refuses, its keys' own limits lose nothing."""
    clock, speaker = HandClock(), who(rates(requests=rate(1, 5)), tenants=rates(requests=rate(1, 1)))
    limiter = Rates(clock)
    assert limiter.charge_request(speaker[0]) is None
    for _ in range(10):
        refusal = limiter.charge_request(speaker[0])
        assert refusal is not None
        assert refusal.rule == "tenant commerce requests"
    generous = who(rates(requests=rate(1, 5)))
    assert [limiter.charge_request(generous[0]) for _ in range(4)] == [None] * 4
    assert limiter.charge_request(generous[0]) is not None


def test_the_longest_wait_is_told() -> None:
    """Where several limits refuse, the refusal names the one that holds longest, since only then a retry helps."""
    own, tenants = rates(tokens=rate(100, 50)), rates(tokens=rate(10, 50))
    limiter, speaker = Rates(HandClock()), who(own, tenants, own)
    assert limiter.charge(*speaker, 50) is None
    refusal = limiter.charge(*speaker, 20)
    assert refusal is not None
    assert (refusal.rule, refusal.retry_after_s) == ("tenant commerce tokens", 2.0)
    assert refusal.message == (
        "the tenant commerce tokens limit is used up (10 a second, at most 50 at once); retry in 2 s"
    )


def test_limits_are_named_by_what_they_limit() -> None:
    """`rule` names the key, tenant or channel, and requests or tokens."""
    tight = rates(requests=rate(1, 1), tokens=rate(1, 1))
    names = []
    for speaker in (who(tight), who(NONE, tight), who(NONE, NONE, tight)):
        limiter = Rates(HandClock())
        for _ in range(2):
            refusals = (
                limiter.charge_request(speaker[0]),
                limiter.charge(*speaker, 1),
            )
            names += [refusal.rule for refusal in refusals if refusal]
    assert names == [
        f"key {KEY} requests",
        f"key {KEY} tokens",
        "tenant commerce requests",
        "tenant commerce tokens",
        "channel commerce/bot requests",
    ]


def test_more_than_the_burst_is_refused_for_good() -> None:
    """A request that no waiting makes small enough is `larger_than_limit`, without a time, and charges nothing, also
    where another limit would only have had it wait."""
    limiter, speaker = Rates(HandClock()), who(rates(tokens=rate(1, 100)), rates(tokens=rate(1, 50)))
    assert limiter.charge(*speaker, 50) is None
    refusal = limiter.charge(*speaker, 60)
    assert refusal is not None
    assert (refusal.code, refusal.rule, refusal.retry_after_s) == (
        Code.LARGER_THAN_LIMIT,
        "tenant commerce tokens",
        None,
    )
    assert "60 tokens" in refusal.message
    assert limiter.view(*speaker)[0].remaining == 0


def test_nothing_is_refused_or_shown_where_nothing_is_declared() -> None:
    """No limits: no refusal, no headers, no state."""
    kept = MemoryStore(HandClock())
    limiter, speaker = Rates(HandClock(), kept), who()
    assert limiter.charge_request(speaker[0]) is None
    assert limiter.charge(*speaker, 10**9) is None
    limiter.true_up(*speaker, 0, 10**9)
    assert limiter.view(*speaker) == []
    assert repr(kept).endswith(" 0 rates in use>")


def test_a_debt_makes_later_requests_wait() -> None:
    """Tokens used beyond the estimate are owed, beyond the burst too, by key, tenant and channel alike."""
    clock, same = HandClock(), rates(tokens=rate(10, 100))
    for speaker in (who(same), who(NONE, same), who(NONE, NONE, same)):
        limiter = Rates(clock)
        assert limiter.charge(*speaker, 100) is None
        limiter.true_up(*speaker, 100, 150)
        assert limiter.view(*speaker) == [RateView("tokens", 100, 0, 15.0)]
        assert wait_ns(limiter.charge(*speaker, 1)) == 51 * S // 10


def test_a_credit_never_fills_above_the_burst() -> None:
    """Tokens that were not used come back, but a bucket that is full stays full, also one that filled up meanwhile."""
    clock, speaker = HandClock(), who(rates(tokens=rate(10, 100)))
    limiter = Rates(clock)
    assert limiter.charge(*speaker, 100) is None
    limiter.true_up(*speaker, 100, 30)
    assert limiter.view(*speaker) == [RateView("tokens", 100, 70, 3.0)]
    clock.move(60 * S)
    limiter.true_up(*speaker, 100, 0)
    assert limiter.charge(*speaker, 100) is None
    assert wait_ns(limiter.charge(*speaker, 1)) == S // 10


def test_headers_show_the_tightest_limit() -> None:
    """Of key, tenant and channel the one with the least remaining is shown, for requests and for tokens."""
    speaker = who(
        rates(requests=rate(10, 20)), rates(requests=rate(1, 30), tokens=rate(5, 100)), rates(tokens=rate(1, 100))
    )
    limiter = Rates(HandClock())
    assert limiter.charge_request(speaker[0]) is None
    assert limiter.charge(*speaker, 40) is None
    assert limiter.view(*speaker) == [RateView("requests", 20, 19, 0.1), RateView("tokens", 100, 60, 40.0)]


def test_a_new_rate_takes_over_the_old_state() -> None:
    """A reload keeps what is used up: the bucket is not full again, and from then on fills at the new pace."""
    clock = HandClock()
    limiter = Rates(clock)
    for _ in range(10):
        assert limiter.charge_request(who(rates(requests=rate(1, 10)))[0]) is None
    slower, faster = who(rates(requests=rate(1, 5)))[0], who(rates(requests=rate(100, 10)))[0]
    assert wait_ns(limiter.charge_request(slower)) == 6 * S
    clock.move(10 * S)
    assert limiter.charge_request(faster) is None
    assert limiter.view(faster, "bot", channel())[0].reset_s == 0.01


def test_what_is_no_longer_in_use_is_forgotten() -> None:
    """Ten thousand keys that stopped calling leave nothing behind once others have gone on for a while; at no time are
    more than about twice as many kept as are in use, however long some stay in use."""
    clock = HandClock()
    kept = MemoryStore(clock)
    limiter = Rates(clock, kept)
    often, seldom = rates(requests=rate(1, 1)), rates(requests=rate(0.001, 1))
    for number in range(200):
        assert limiter.charge_request(entry(own=key(id=f"key_{number:016x}", limits=seldom))) is None
    for number in range(200, 10_000):
        assert limiter.charge_request(entry(own=key(id=f"key_{number:016x}", limits=often))) is None
        clock.move(S // 50)  # 50 of these are in use at any time
        in_use = int(repr(kept).split()[-4])
        assert in_use <= 2 * 250 + 2, number
    one = entry(own=key(id="key_" + "f" * 16, limits=often))
    for _ in range(1000):
        clock.move(2 * S)
        assert limiter.charge_request(one) is None
    assert repr(kept).endswith(" 1 rates in use>")

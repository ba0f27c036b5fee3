"""Tail sampling: which traces are kept, decided by what became of the request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.records import row
from trimtab.controlplane.telemetry import Sampler
from trimtab.controlplane.telemetry.sampling import LEAST
from trimtab.core.record import Record
from trimtab.core.rows import Met, TraceRow
from trimtab.core.telemetry import Telemetry
from trimtab.surfaces.twin import VirtualLoop


class Time:
    """A clock that is told the time."""

    def __init__(self) -> None:
        loop = VirtualLoop()
        self.offload = loop.clock.offload
        loop.close()
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    wall_ns = now_ns


def asked(low: int = 0, parent: bool = False, sampled: bool = False, **fields: object) -> Record:
    """A request that went well; `low`: the trace id's lowest bits, which the share is taken by."""
    trace = TraceRow(
        trace_id=f"{1 << 100 | low:032x}", span_id="b7ad6b7169203331", parent_span_id=None, sampled=sampled
    )
    trace.parent_span_id = "00f067aa0ba902b7" if parent else None
    made = {
        "trace": trace,
        "tenant": "shop",
        "channel": "web",
        "status": 200,
        "e2e_ms": 100.0,
        "met": Met(latency=True),
    }
    return row(**(made | fields))


def none_of_the_rest(**terms: object) -> Sampler:
    return Sampler(Telemetry(share=0, **terms), Time())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (asked(), None),
        (asked(status=500, code="internal_error"), "error"),
        (asked(status=503, code="no_replica", tenant=None), "error"),
        (asked(status=502, code="upstream_failed", met=Met(latency=False)), "error"),
        (asked(met=Met(latency=False)), "missed"),
        (asked(met=Met(latency=True, cost=False)), "missed"),
        (asked(met=Met(latency=True, quality=False)), "missed"),
        (asked(status=429, code="rate_limited", met=Met()), None),
        (asked(status=403, code="model_not_allowed", met=Met()), None),
        (asked(status=499, code="client_closed", met=Met()), None),
        (asked(parent=True, sampled=True), "caller"),
        (asked(parent=True), None),
        (asked(sampled=True), None),
        (asked(parent=True, sampled=True, tenant=None, status=401), None),
        (asked(status=500, kind="adjust"), None),
        (asked(status=500, trace=None), None),
    ],
)
def test_what_is_kept_whatever_the_share(record: Record, why: str | None) -> None:
    """Faults of the gateway's, missed contracts, and what a caller with a key wants; not what was refused to somebody,
    who could otherwise fill the collector by it."""
    assert none_of_the_rest().keeps(record) == why


def test_callers_decide_only_where_they_may() -> None:
    assert none_of_the_rest(callers=False).keeps(asked(parent=True, sampled=True)) is None


@given(st.lists(st.integers(0, (1 << 56) - 1), min_size=400, max_size=400, unique=True), st.floats(0.1, 0.9))
def test_of_the_rest_a_share_is_kept_and_everywhere_the_same(lows: list[int], share: float) -> None:
    """Two gateways keep the same traces."""
    one, other = (Sampler(Telemetry(share=share, slow=None), Time()) for _ in range(2))
    kept = [one.keeps(asked(low)) for low in lows]
    assert kept == [other.keeps(asked(low)) for low in lows]
    assert set(kept) <= {"share", None}


def test_the_share_is_a_share_of_ids_that_are_even() -> None:
    """Of ids spread evenly exactly so many are kept."""
    sampler = Sampler(Telemetry(share=0.05, slow=None), Time())
    step = (1 << 56) // 1000
    assert sum(sampler.keeps(asked(number * step)) == "share" for number in range(1000)) == pytest.approx(50, abs=1)


def slow_ones(sampler: Sampler, *ms: float) -> list[bool]:
    return [sampler.keeps(asked(e2e_ms=one)) == "slow" for one in ms]


def test_slow_is_beside_the_channels_own_last_minutes() -> None:
    """Nothing is slow before enough is known; then who takes longer than nearly all others is kept, on this channel."""
    assert not any(slow_ones(none_of_the_rest(slow=0.99), *[100.0] * (LEAST - 1), 9000.0))
    sampler = none_of_the_rest(slow=0.99)
    assert not any(slow_ones(sampler, 5000.0, *[100.0 + number % 10 for number in range(LEAST + 99)]))
    assert slow_ones(sampler, 108.0, 5001.0, 103.0) == [False, True, False]
    assert sampler.keeps(asked(channel="other", e2e_ms=5001.0)) is None, "nothing is known of that channel"
    assert sampler.keeps(asked(e2e_ms=9000.0, status=429, met=Met())) is None, "only answers are slow"


def test_slow_is_what_it_is_now() -> None:
    """A channel that has become slower is kept at first, and no more once that is how it is; of what was long ago
    nothing is known."""
    time = Time()
    sampler = Sampler(Telemetry(share=0, slow=0.99), time)
    slow_ones(sampler, *[100.0] * 200)
    kept = slow_ones(sampler, *[1000.0] * 400)
    assert kept[1]
    assert not any(kept[100:])
    time.ns += 600 * 10**9
    assert not any(slow_ones(sampler, *[9000.0] * 51))


def test_slowness_can_be_left_out() -> None:
    sampler = none_of_the_rest(slow=None)
    assert not any(slow_ones(sampler, *[100.0] * 300, 9000.0))

"""Live quantiles: exact to 1 % over a stated window, of what was answered, and gone when it is over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.gateway import Gateway
from support.records import row
from support.scrape import parsed, scrape, value
from support.upstream import ScriptedUpstream
from trimtab.controlplane.metrics import Counts, Declared
from trimtab.controlplane.metrics.of_requests import LIVE_QUANTILES, LIVE_S
from trimtab.core.clock import NS_PER_S, SystemClock
from trimtab.core.rows import InterToken

E2E = "trimtab_live_request_duration_seconds"
TTFT = "trimtab_live_time_to_first_token_seconds"
ITL = "trimtab_live_inter_token_p95_seconds"
WEB = {"tenant": "t", "channel": "web"}


class Clock(SystemClock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:  # type: ignore[override]
        return self.now


def counting(most: int = 100) -> tuple[Counts, Clock]:
    clock = Clock()
    channels = frozenset({"web", "chat"})
    return Counts(lambda: Declared({"t": channels}, frozenset()), clock, most), clock


def answered(**fields: object) -> Any:
    return row(**({"tenant": "t", "channel": "web", "status": 200, "path": "direct", "tier": "S"} | fields))


def read(counts: Counts) -> dict[str, Any]:
    return parsed("".join(counts.pieces()))


def gaps(p95: float) -> InterToken:
    return InterToken(p50=1.0, p95=p95, max=1000.0)


@given(st.lists(st.floats(min_value=0.01, max_value=1e6), min_size=1, max_size=100))
@settings(max_examples=50, deadline=None)
def test_they_are_within_one_percent(times_ms: list[float]) -> None:
    """Each quantile of each figure is that near to the value of its rank, whatever the latencies were."""
    counts, _ = counting()
    for ms in times_ms:
        counts.write(answered(e2e_ms=ms, ttft_ms=ms / 2, itl=gaps(ms / 3)))
    found = read(counts)
    for at in LIVE_QUANTILES:
        true = sorted(times_ms)[int(at * (len(times_ms) - 1))] / 1000
        quantile = {"q": str(at)}
        assert value(found, E2E, **WEB, **quantile) == pytest.approx(true, rel=0.01)
        assert value(found, TTFT, **WEB, **quantile) == pytest.approx(true / 2, rel=0.01)
        assert value(found, ITL, tier="S", **quantile) == pytest.approx(true / 3, rel=0.01)


def test_what_is_older_than_the_window_is_in_none() -> None:
    """A slow minute is seen for as long as is said, then its channel has no series."""
    counts, clock = counting()
    clock.now = 1000 * LIVE_S * NS_PER_S
    counts.write(answered(e2e_ms=9000.0, ttft_ms=8000.0, itl=gaps(700.0)))
    clock.now += (LIVE_S - 61) * NS_PER_S
    found = read(counts)
    assert value(found, E2E, q="0.99") == pytest.approx(9, rel=0.01)
    assert value(found, ITL, q="0.99") == pytest.approx(0.7, rel=0.01)
    clock.now += 61 * NS_PER_S
    found = read(counts)
    assert [found[name].samples for name in (E2E, TTFT, ITL)] == [[], [], []]
    assert value(found, "trimtab_request_duration_seconds_count") == 1


def test_channels_and_tiers_are_apart() -> None:
    """Each has its own; a channel's are over its tiers, a tier's over its channels."""
    counts, _ = counting()
    counts.write(answered(e2e_ms=100.0, ttft_ms=10.0, itl=gaps(1.0)))
    counts.write(answered(e2e_ms=300.0, ttft_ms=30.0, itl=gaps(3.0), channel="chat"))
    counts.write(answered(e2e_ms=900.0, ttft_ms=90.0, itl=gaps(9.0), channel="chat", tier="L"))
    found = read(counts)
    assert value(found, E2E, **WEB, q="0.99") == pytest.approx(0.1, rel=0.01)
    assert value(found, E2E, channel="chat", q="0.5") == pytest.approx(0.3, rel=0.01)
    assert value(found, TTFT, channel="web", q="0.5") == pytest.approx(0.01, rel=0.01)
    assert value(found, ITL, tier="L", q="0.5") == pytest.approx(0.009, rel=0.01)
    assert {one.labels["tier"] for one in found[ITL].samples} == {"S", "L"}


def test_only_what_was_answered_counts_and_only_a_model_s_own_stream() -> None:
    """A refusal is no fast answer, and a stored one says nothing of a tier; a whole answer has no first token."""
    counts, _ = counting()
    counts.write(answered(e2e_ms=1.0, ttft_ms=1.0, itl=gaps(1.0), status=429, code="queue_full"))
    counts.write(answered(e2e_ms=1.0, ttft_ms=1.0, itl=gaps(1.0), status=502))
    found = read(counts)
    assert [found[name].samples for name in (E2E, TTFT, ITL)] == [[], [], []]
    counts.write(answered(e2e_ms=50.0, ttft_ms=5.0, itl=gaps(1.0), path="cache-exact"))
    found = read(counts)
    assert value(found, E2E, q="0.5") == pytest.approx(0.05, rel=0.01)
    assert value(found, TTFT, q="0.5") == pytest.approx(0.005, rel=0.01)
    assert found[ITL].samples == []
    counts.write(answered(e2e_ms=70.0, channel="chat"))
    assert {one.labels["channel"] for one in read(counts)[TTFT].samples} == {"web"}


def test_what_is_no_latency_costs_no_other_figure() -> None:
    """It is a failed record, and all else of it counts."""
    counts, _ = counting()
    counts.write(answered(e2e_ms=-5.0, itl=gaps(1.0)))
    found = read(counts)
    assert value(found, "trimtab_metrics_failed_total") == 1
    assert value(found, "trimtab_requests_total") == value(found, "trimtab_request_duration_seconds_count") == 1
    assert found[E2E].samples == []


def test_names_that_nobody_declares_share_one() -> None:
    """A caller opens no sketch by what it sends, nor a series."""
    counts, _ = counting(most=5)
    for number in range(200):
        counts.write(answered(e2e_ms=1.0, channel=f"c{number}", tenant=f"t{number}", tier=f"T{number}", itl=gaps(1.0)))
    found = read(counts)
    assert {(one.labels["tenant"], one.labels["channel"]) for one in found[E2E].samples} == {("other", "other")}
    assert found[ITL].samples == []
    assert len(counts._live._channels) == 1


def test_a_gateway_shows_them(tmp_path: Path) -> None:
    """What it answered a moment ago, as its records have it."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("Hello", stream=True, temperature=1)
            found = await scrape(gateway)
            (record,) = gateway.records
        web = {"tenant": "shop", "channel": "web", "q": "0.5"}
        assert value(found, E2E, **web) * 1000 == pytest.approx(record.e2e_ms, rel=0.01)
        assert value(found, TTFT, **web) * 1000 == pytest.approx(record.ttft_ms, rel=0.01)
        assert record.itl is not None
        assert value(found, ITL, tier=record.tier, q="0.5") * 1000 == pytest.approx(record.itl.p95, rel=0.01)

    asyncio.run(main())

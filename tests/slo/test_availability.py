"""Availability as users saw it: an exact sum whatever came, gaps by their neighbours, what fallbacks can carry."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway import OTHER_KEY, Gateway, chat, post
from support.rawhttp import RawClient
from support.records import row
from support.scrape import scrape, value
from support.slo import HOUR, MINUTE, NOW, answer, failure, seeded
from support.upstream import ScriptedUpstream
from trimtab.controlplane.slo import Engine, Objective, Window
from trimtab.controlplane.slo.ahead import ahead
from trimtab.controlplane.slo.availability import Availability, Tally
from trimtab.controlplane.slo.gaps import between
from trimtab.controlplane.slo.judge import FAILED
from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import Code
from trimtab.core.models import Model
from trimtab.core.record import ALIVE_S, Record
from trimtab.core.rows import Attempt, CostRow, GatewayRow
from trimtab.surfaces.memory import Bound

CODES = [None, *Code]
ALWAYS = Objective(
    id="shop/bot/availability",
    kind="availability",
    tenant="shop",
    channel="bot",
    window=Window.parse("30d"),
    target=0.99,
)


def numbered(rows: list[Record], worker: int = 0) -> list[Record]:
    for seq, one in enumerate(rows, 1):
        one.worker, one.seq = worker, seq
    return rows


def tallied(
    rows: list[Record], since_ns: int = NOW - 24 * HOUR, target: float | None = None, recorded: bool = False
) -> Availability:
    tally = Tally("shop", "bot", since_ns, lambda replica: replica)
    for one in rows:
        tally.add(one)
    return tally.result(NOW, target, lambda name: recorded)


def gateway(at_ns: int, event: str, supervisor: str = "1-1") -> Record:
    told = GatewayRow(event=event, supervisor=supervisor)  # type: ignore[arg-type]  # of the callers here
    return row(kind="gateway", t_wall_ns=at_ns, gateway=told)


def by_cause(found: Availability) -> dict[str, int]:
    return {part.cause: part.requests for part in (*found.parts, *found.not_owed) if part.requests}


coded = st.tuples(st.sampled_from(CODES), st.booleans(), st.booleans(), st.integers(0, 5))


@given(st.lists(coded, max_size=40))
def test_every_request_is_in_exactly_one_part(drawn: list[tuple[Code | None, bool, bool, int]]) -> None:
    """Whatever code it ended with, begun or not; bad is what the objective calls bad, refusals on arrival too."""
    rows, asked = [], 0
    for code, begun, mine, refused in drawn:
        one = answer(NOW - HOUR, None) if code is None else failure(NOW - HOUR, code.wire, code.status)
        one.channel, one.ttft_ms = "bot" if mine else "else", 5.0 if begun else None
        rows += [one, answer(NOW - HOUR, None, kind="refused", count=refused, code="overloaded", status=503)]
        asked += mine + refused
    found = tallied(numbered(rows))
    assert found.asked == asked == found.owed + sum(part.requests for part in found.not_owed)
    assert found.owed == found.answered + found.bad == found.answered + sum(part.requests for part in found.parts)
    for part in (*found.parts, *found.not_owed):
        assert sum(part.codes.values()) == part.requests
    engine = Engine([ALWAYS])
    for one in rows:
        engine.observe(one)
    (status,) = engine.at(NOW)
    assert (status.budget.events, status.budget.spent) == (found.owed, found.bad)
    assert found.certificate.lower <= (found.bad / found.owed if found.owed else 0) <= found.certificate.upper


def test_the_causes_are_told_apart() -> None:
    """Each code of a failure has its cause; a stream that has begun and the template stand by themselves."""
    rows = [failure(NOW - HOUR, code, 503) for code in sorted(FAILED)]
    begun = failure(NOW - HOUR)
    begun.ttft_ms = 5.0
    told = answer(NOW - HOUR, None, code="queue_full", path="template")
    rescued = answer(NOW - HOUR, False, attempts=[Attempt(replica="a", start_ms=0, outcome="dropped")])
    rows += [begun, told, rescued, failure(NOW - HOUR, "client_closed", 499), failure(NOW - HOUR, "cost_cap", 429)]
    found = tallied(numbered(rows), target=0.9)
    assert by_cause(found) == {
        "overloaded": 1, "room": 2, "providers": 2, "stream": 1, "deadline": 1, "draining": 1, "store": 1, "fault": 1,
        "left": 1, "limits": 1,
    }  # fmt: skip
    assert (found.late, found.rescued, found.told, found.allowed) == (1, 1, 1, 1)
    assert [(one.name, one.attempts, one.failed, one.minutes, one.out) for one in found.providers] == [
        ("a", 1, 1, 1, 1)
    ]


def test_what_a_lost_gateway_was_answering_counts_unless_it_has_a_row() -> None:
    """By the lease that nobody ended; one that was taken back is none."""
    lost = [("rec_1", 5), ("rec_2", 5), ("rec_2", -5)]
    rows = [row(kind="lost", of=of, tenant="shop", channel="bot", t_wall_ns=NOW - HOUR, cost=CostRow(settled_nanousd=n))
            for of, n in lost]  # fmt: skip
    assert by_cause(tallied(numbered(rows))) == {"lost": 1}
    assert by_cause(tallied(rows, recorded=True)) == {}


def test_rows_that_the_journal_lost_are_counted() -> None:
    """A number without a row, of whoever; what is before the window only says where numbers stood."""
    rows = numbered([answer(NOW - 30 * HOUR), answer(NOW - HOUR), answer(NOW - HOUR), answer(NOW - HOUR)])
    del rows[2]
    found = tallied(rows)
    assert (found.unrecorded, found.asked) == (1, 2)


# --- gaps


def around(gap_ns: int, per_minute: int, *between: Record) -> list[Record]:
    """An hour of steady requests, the gap, and another hour, up to now."""
    ends, begins = NOW - HOUR - gap_ns, NOW - HOUR
    step = MINUTE // per_minute
    before = [answer(at, e2e_ms=1000.0) for at in range(ends - HOUR, ends, step)]
    after = [answer(at, e2e_ms=1000.0) for at in range(begins + 1, NOW, step)]
    return numbered([gateway(ends - HOUR - 1, "start"), *before, *between, *after])


def test_a_gap_is_estimated_from_the_minutes_around() -> None:
    """Ten minutes without a gateway at 60 a minute: 600 requests, in an interval that knows that the minute before may
    have been served; nothing of it is in the sum."""
    gap = 10 * MINUTE
    rows = around(gap, 60, gateway(NOW - HOUR, "start", "2-9"))
    found = tallied(rows)
    missing = found.missing
    assert (missing.restarts, missing.lost, missing.waited_s) == (1, 1, 0)
    assert missing.away_s == pytest.approx(600, abs=2)
    assert missing.expected == pytest.approx(600, rel=0.02)
    assert 480 < missing.low < missing.expected < missing.high < 680
    assert found.asked == found.answered == sum(one.kind == "request" for one in rows)


def test_a_gateway_that_was_lost_may_have_been_there_for_a_minute_more() -> None:
    """Half a minute without a row is no proof that nobody was there; after a clean stop it is."""
    gap = MINUTE // 2
    lost = tallied(around(gap, 60, gateway(NOW - HOUR, "start", "2-9"))).missing
    assert (lost.low, lost.high > 20) == (0, True)
    stop = gateway(NOW - HOUR - gap + 2 * NS_PER_S, "stop")
    assert tallied(around(gap, 60, stop, gateway(NOW - HOUR, "start", "2-9"))).missing.low > 10


def test_who_waits_for_the_next_gateway_is_not_missing() -> None:
    """The same supervisor held the socket: of a lost process what it was answering, a request a second that takes one;
    of a planned stop nothing."""
    lost = tallied(around(10 * MINUTE, 60, gateway(NOW - HOUR, "start"))).missing
    assert (lost.restarts, lost.lost, lost.away_s) == (1, 1, 0)
    assert lost.waited_s == pytest.approx(600, abs=2)
    assert lost.expected == pytest.approx(1, rel=0.02)
    assert lost.low == 0
    assert 1 <= lost.high <= 5
    stopped = gateway(NOW - HOUR - 10 * MINUTE + 2 * NS_PER_S, "stop")
    planned = tallied(around(10 * MINUTE, 60, stopped, gateway(NOW - HOUR, "start"))).missing
    assert (planned.restarts, planned.lost, planned.expected, planned.high) == (1, 0, 0, 0)


def test_a_gateway_that_says_nothing_for_longer_than_it_may_was_not_there() -> None:
    """Its word once a minute bounds how long it was away, with no requests at all to tell."""
    rows = [gateway(NOW - 3 * HOUR, "start"), gateway(NOW - 2 * HOUR, "alive"), gateway(NOW - HOUR, "start", "2-2")]
    tally = Tally(None, None, NOW - 24 * HOUR, lambda replica: replica)
    for one in numbered(rows):
        tally.add(one)
    missing = tally.result(NOW, None, lambda name: False).missing
    assert (missing.restarts, missing.away_s, missing.expected, missing.low) == (1, 3600, 0, 0)
    assert missing.high > 0
    assert ALIVE_S < 3600


@given(st.integers(0, 300), st.floats(0.001, 10))
def test_the_interval_is_that_of_the_binomial(seen: int, ratio: float) -> None:
    """It holds what is expected, and grows with the ratio."""
    low, high = between(seen, ratio)
    assert low <= seen * ratio <= high + 1
    wider = between(seen, ratio * 2)
    assert wider[0] >= low
    assert wider[1] >= high


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 400 drawn pairs at one rate at most 5 % lie outside, and a few more by chance."""
    random = seeded(7).random
    outside = 0
    for _ in range(400):
        near = sum(random() < 0.3 for _ in range(400))
        gap = sum(random() < 0.3 for _ in range(40))
        low, high = between(near, 0.1)
        outside += not low <= gap <= high
    assert outside <= 32


# --- ahead


def models() -> list[Model]:
    return [
        Model(endpoint="https://a.example/v1", tier="S", context=1, slots=1, availability=0.999),
        Model(endpoint=["https://b.example/v1", "https://a.example/v1"], tier="M", context=1, slots=1),
    ]


def test_fallbacks_carry_what_is_left_of_all_being_down_at_once() -> None:
    """One provider measured at a quarter of its minutes, the other by its promise; restarts by their time, faults of
    ours by their share: the terms add up."""
    minutes = [
        answer(NOW - 20 * MINUTE + at * MINUTE, attempts=[
            Attempt(replica="b.example", start_ms=0, outcome="dropped" if at % 4 == 0 else "success")
        ])
        for at in range(20)
    ]  # fmt: skip
    found = tallied(numbered([*minutes, *(failure(NOW - MINUTE, "internal_error", 500) for _ in range(5))]), target=0.9)
    budget = ahead(found, models())
    assert [(one.provider, one.by, one.share) for one in budget.providers] == [
        ("a.example", "promise", pytest.approx(0.001)),
        ("b.example", "minutes", 0.25),
    ]
    terms = {term.cause: term.share for term in budget.terms if term.share}
    assert terms == {"providers": pytest.approx(0.00025), "ours": 0.2}
    assert budget.carried == pytest.approx(1 - sum(terms.values()))
    assert budget.least < budget.carried
    assert budget.promised == pytest.approx(0.999)
    assert budget.through == 0


# --- on arrival


class Used:
    """Bytes of a limit of 100."""

    bytes = 96


def test_refusals_on_arrival_are_written_by_whose_they_were(tmp_path: Path) -> None:
    """One row a channel with the count, which the objective, the metrics and the sum have; who asks for no answer of a
    model, or has no key, is nobody's."""

    async def main() -> None:
        full = Bound(100, lambda: Used.bytes, "test")
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, memory=[full]) as gateway:
            gateway.ladder.look()
            asked = [chat()] * 3 + [chat("x", "trimtab-channel: fresh"), chat(key=OTHER_KEY), chat(key="tt-nobody")]
            asked += [
                post(b"{}", "x-api-key: " + OTHER_KEY, key=None, path="/v1/messages"),
                post(b"{}", path="/v1/feedback"),
            ]
            for one in asked:
                async with RawClient(gateway.port) as client:
                    client.send(one)
                    assert (await client.answer()).status == 503
            gateway.presence.tell()
            gateway.presence.tell()
            told = {(row.channel, row.route): row.count for row in gateway.records}
            path = "/v1/chat/completions"
            other = {("desk", path): 1, ("desk", "/v1/messages"): 1, (None, path): 1}
            assert told == {("web", path): 3, ("fresh", path): 1, **other}
            assert {(row.kind, row.code, row.status) for row in gateway.records} == {("refused", "overloaded", 503)}
            found = await scrape(gateway)
            assert value(found, "trimtab_requests_total", channel="web", code="overloaded") == 3
            assert value(found, "trimtab_http_refused_total", code="overloaded") == 8
        tally = Tally("shop", None, 0, lambda replica: None)
        for one in gateway.records:
            tally.add(one)
        assert by_cause(tally.result(NOW, None, lambda name: False)) == {"arrival": 4}

    asyncio.run(main())

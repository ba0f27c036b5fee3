"""The engine: budgets to the last request, states that don't lie, alerts within their allowance, the same from the same
rows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.slo import DAY, HOUR, MINUTE, NOW, answer, failure, latency, paid, spend, traffic
from trimtab.controlplane.slo import Engine, EngineState, Objective, Status
from trimtab.controlplane.slo.forecast import empty_s
from trimtab.core.record import Record
from trimtab.core.rows import GuardRow, Met
from trimtab.foundations.stats import lower


def asked(objective: Objective, rows: list[Record], now: int = NOW) -> Status:
    engine = Engine([objective])
    engine.trim(now)
    for row in rows:
        engine.observe(row)
    (status,) = engine.at(now)
    return status


def steady(good: int, bad: int, span: int = DAY) -> list[Record]:
    """So many of each, evenly mixed over the last `span`."""
    count = good + bad
    return [answer(NOW - span + 1 + index * span // count, (index * bad) % count >= bad) for index in range(count)]


# --- budgets


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(["0.9", "0.95", "0.99", "0.9995"]))
def test_a_budget_is_counted_to_the_last_request(good: int, bad: int, target: str) -> None:
    """Allowed is the whole part of the allowed share of all, as the decimals say; left may be below zero."""
    rows = [answer(NOW - HOUR, True)] * good + [answer(NOW - HOUR, False)] * bad
    budget = asked(latency(float(target)), rows).budget
    thousandths = round((1 - float(target)) * 10_000)
    assert budget.allowance == (good + bad) * thousandths // 10_000
    assert (budget.spent, budget.left) == (bad, budget.allowance - bad)


@given(st.lists(st.tuples(st.integers(0, 40 * 24), st.integers(-(10**6), 10**9)), max_size=40))
def test_money_is_summed_to_the_nano_dollar(rows: list[tuple[int, int]]) -> None:
    """Over the rows of the window, what was adjusted and what was lost included."""
    kinds = ("request", "adjust", "lost")
    made = [paid(NOW - hours * HOUR, nano, kinds[index % 3]) for index, (hours, nano) in enumerate(rows)]
    budget = asked(spend(10**9), made).budget
    assert budget.spent == sum(nano for hours, nano in rows if hours <= 30 * 24)
    assert budget.left == 10**9 - budget.spent


def test_a_budget_of_the_calendar_begins_anew() -> None:
    """A day turns at midnight of its zone; grants that run are part of it."""
    objective = spend(100, "day", grants=((NOW + 1, 50), (NOW, 1000)))
    status = asked(objective, [paid(NOW - 13 * HOUR, 70), paid(NOW - 11 * HOUR, 40)])
    assert (status.budget.spent, status.budget.allowance) == (40, 150)
    assert status.until_ns - status.since_ns == DAY


def test_what_a_caller_is_not_owed_does_not_count() -> None:
    """Availability: failures and full queues against answers; wrong keys, spent rates and hang-ups are nobody's."""
    objective = latency(kind="availability", target=0.5001)
    rows = [answer(NOW - HOUR)] * 3 + [failure(NOW - HOUR)] + [failure(NOW - HOUR, "queue_full", 429)]
    nobodys = {"invalid_api_key": 401, "rate_limited": 429, "budget_exhausted": 429, "client_closed": 499}
    rows += [failure(NOW - HOUR, code, status) for code, status in nobodys.items()]
    rows += [failure(NOW - HOUR, "upstream_failed", 200)]  # a stream that broke
    budget = asked(objective, rows).budget
    assert (budget.events, budget.spent) == (6, 3)


def test_each_kind_reads_its_own_part_of_a_record() -> None:
    """Thresholds of slo.yaml, guards that blocked, prices, verdicts; shadows are nobody's requests."""
    blocked = [GuardRow(stage="out", check="deny", hits=1, action="blocked")]
    slow = answer(NOW - HOUR, True, e2e_ms=900.0, ttft_ms=700.0)
    rows = [slow, answer(NOW - HOUR, guards=blocked), answer(NOW - HOUR, kind="shadow"), paid(NOW - HOUR, 7)]
    rows += [answer(NOW - HOUR, None, kind="verdict", status=None, met=Met(quality=False))]

    def spent(**more: Any) -> tuple[int, int]:
        budget = asked(latency(**more), rows).budget
        return budget.events, budget.spent

    assert spent(e2e_ms=1000.0) == (2, 1)  # of the blocked one no time is known
    assert spent(ttft_ms=500.0) == (2, 2)
    assert spent(kind="guard") == (3, 1)
    assert spent(kind="cost", usd_nano=6) == (1, 1)
    assert spent(kind="quality") == (1, 1)
    assert spent(route="/v1/messages") == (0, 0)


# --- states


@pytest.mark.parametrize(
    ("rows", "state", "why"),
    [
        ([], "insufficient_data", "0 of 20 events"),
        (steady(19, 0), "insufficient_data", "19 of 20 events"),
        (steady(200, 0), "ok", ""),
        (steady(180, 20), "exhausted", "more is spent"),
        ([answer(NOW - 2 * DAY)] * 100, "insufficient_data", "no event in the last 1d"),
    ],
    ids=["nothing", "too few", "fine", "overdrawn", "silent"],
)
def test_states_say_what_is_known(rows: list[Record], state: str, why: str) -> None:
    """Too little, or nothing lately, is no green."""
    status = asked(latency(), rows)
    assert status.state == state
    assert why in status.why


def test_what_cant_be_told_is_said() -> None:
    """Nobody judged quality; requests without a price make a spent sum a guess."""
    quality = asked(latency(kind="quality"), [answer(NOW - HOUR)] * 50)
    assert (quality.state, quality.why) == ("insufficient_data", "of 50 requests nothing can be told")
    money = asked(spend(100), [paid(NOW - HOUR, 10), paid(NOW - HOUR, None)])
    assert (money.state, money.why) == ("insufficient_data", "1 requests have no price")
    assert asked(spend(100), [paid(NOW - HOUR, 100), paid(NOW - HOUR, None)]).state == "exhausted"


def test_a_budget_below_its_line_freezes_releases() -> None:
    """With the reason; too little to count freezes nothing, nor does a budget that has the right to be spent."""
    assert asked(latency(), steady(960, 40)).frozen is None
    assert "20.0% of the budget of shop/bot/latency is left" in (
        asked(latency(freeze_below=0.3), steady(960, 40)).frozen or ""
    )
    assert asked(latency(), steady(5, 10)).frozen is None
    spent = asked(latency(), steady(950, 50))
    assert (spent.state, spent.why, spent.budget.left) == ("exhausted", "nothing is left", 0)
    assert spent.frozen is not None
    assert "-100.0%" in (asked(latency(), steady(900, 100)).frozen or "")
    assert asked(spend(100), [paid(NOW - HOUR, 500)]).frozen is None


# --- the same from the same rows


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.integers(0, 1000))
def test_the_state_is_the_same_bytes_from_the_same_rows(random: Any, seed: int) -> None:
    """In any order, in one go or with a stop between, with asking and forgetting between or without."""
    objectives = [latency(), latency(id="day", window="month", kind="availability"), spend(10**6)]
    rows = [answer(NOW - random.randrange(40 * DAY), random.random() < 0.9) for _ in range(80)]
    rows += [paid(NOW - random.randrange(40 * DAY), random.randrange(1000), "adjust") for _ in range(20)]
    for number, row in enumerate(rows):
        row.worker, row.seq = number % 2, number
    straight = Engine(objectives)
    for row in rows:
        straight.observe(row)
    straight.trim(NOW)
    random.shuffle(rows)
    cut = random.randrange(len(rows))
    other = Engine(objectives)
    for row in rows[:cut]:
        other.observe(row)
    other.trim(NOW - HOUR)
    other.at(NOW - HOUR)
    other = Engine.from_state(objectives, msgspec.json.decode(msgspec.json.encode(other.state()), type=EngineState))
    for row in rows[cut:]:
        other.observe(row)
    other.trim(NOW)
    assert msgspec.json.encode(other.state()) == msgspec.json.encode(straight.state())
    assert other.at(NOW) == straight.at(NOW)
    with pytest.raises(ValueError, match="other objectives"):
        Engine.from_state(objectives[:1], straight.state())


def test_memory_is_bounded() -> None:
    """Of rows of 100 days no more is kept than windows reach, also while they are read in one go."""
    engine = Engine([latency(window="30d")])
    engine.trim(NOW)
    for minute in range(0, 100 * 24 * 60, 7):
        engine.observe(answer(NOW - minute * MINUTE))
    state = engine.state().tracks["shop/bot/latency"]
    assert len(state.fine) <= 26 * 60 + 1
    assert len(state.coarse) <= 31 * 24 + 1


# --- alerts


def alerts_over(objective: Objective, rows: list[Record], start: int, end: int, step: int) -> list[tuple[str, int]]:
    """(severity, since) of each alert, asked every `step`, where rows come as they happen."""
    engine, found, left = Engine([objective]), [], iter(rows)
    row = next(left, None)
    for now in range(start, end, step):
        while row is not None and row.t_wall_ns <= now:
            engine.observe(row)
            row = next(left, None)
        engine.trim(now)
        for alert in engine.at(now)[0].alerts:
            if not found or (alert.severity, alert.since_ns or 0) not in found:
                found.append((alert.severity, alert.since_ns or 0))
    return found


def test_pages_on_nothing_stay_within_their_allowance() -> None:
    """At exactly the share that is allowed, twelve runs of a day with an allowance of one page a week: no more false
    ones than chance would give such a rate in twelve days."""
    pages = 0
    for seed in range(12):
        start = NOW - DAY
        rows = list(traffic(seed, start, NOW, per_hour=40, bad=0.05))
        found = alerts_over(latency(false_pages_per_year=52), rows, start + HOUR, NOW, 20 * MINUTE)
        pages += sum(severity == "page" for severity, _ in found)
    assert lower(pages, 12, 0.999) <= 1 / 7, pages


def test_the_workbooks_rule_alone_would_page_on_nothing() -> None:
    """Why the two windows need evidence beside them: one bad request of two an hour is a burn of 10."""
    rows = [answer(NOW - DAY + index * HOUR) for index in range(24)] + [answer(NOW - MINUTE, False)]
    status = asked(latency(0.99), rows)
    assert (status.burns["5m"] or 0) > 14.4
    assert (status.burns["1h"] or 0) > 14.4
    assert status.alerts == ()


@pytest.mark.parametrize(("bad", "severity", "within"), [(1.0, "page", 5), (0.5, "page", 30), (0.12, "ticket", 180)])
def test_an_incident_is_found(bad: float, severity: str, within: int) -> None:
    """A share of bad ones that begins to be much higher pages within minutes; one that is little higher, a ticket
    within hours; the certificate says with what error."""
    begin = NOW - within * MINUTE
    rows = [*traffic(1, NOW - 2 * DAY, begin, 600, 0.01), *traffic(2, begin, NOW, 600, bad)]
    status = asked(latency(), rows)
    found = [alert for alert in status.alerts if alert.severity == severity]
    assert found, status
    assert found[0].since_ns is not None
    assert begin < found[0].since_ns <= NOW
    assert found[0].certificate.method == "e-detector"
    assert found[0].certificate.error < 2e-4
    assert status.state in ("burning", "exhausted")
    assert all(one.alerts == () for one in [asked(latency(), [r for r in rows if r.t_wall_ns < begin], begin)])


def test_an_alert_ends_when_its_cause_does() -> None:
    """An hour after the last bad minute nothing pages any more, and a second incident pages again."""
    bad_from, bad_to = NOW - 6 * HOUR, NOW - 5 * HOUR
    rows = [
        *traffic(1, NOW - DAY, bad_from, 600, 0.01),
        *traffic(2, bad_from, bad_to, 600, 0.9),
        *traffic(3, bad_to, NOW - HOUR, 600, 0.01),
        *traffic(4, NOW - HOUR, NOW, 600, 0.9),
    ]
    pages = [
        since for severity, since in alerts_over(latency(), rows, NOW - DAY, NOW, 10 * MINUTE) if severity == "page"
    ]
    assert len(pages) == 2
    engine = Engine([latency()])
    for row in rows:
        engine.observe(row)
    assert not [one for one in engine.at(NOW - HOUR)[0].alerts if one.severity == "page"]
    assert [one for one in engine.at(NOW)[0].alerts if one.severity == "page"]


def test_an_alert_does_not_flap() -> None:
    """One of a few bad minutes outlasts the good ones that follow, for half an hour."""
    bad_from = NOW - 46 * MINUTE
    rows = [*traffic(1, bad_from, bad_from + 6 * MINUTE, 600, 1.0), *traffic(2, bad_from + 6 * MINUTE, NOW, 600, 0.0)]
    engine = Engine([latency()])
    for row in rows:
        engine.observe(row)
    paging = [any(one.severity == "page" for one in engine.at(bad_from + at * MINUTE)[0].alerts) for at in range(46)]
    assert paging == sorted(paging[:20]) + sorted(paging[20:], reverse=True)
    assert 30 <= sum(paging) <= 36


def test_an_alert_cites_who_raised_it() -> None:
    """The e-detector, the pairs of windows that are over, or both."""
    rows = [*traffic(1, NOW - 2 * DAY, NOW - HOUR, 600, 0.01), *traffic(2, NOW - HOUR, NOW, 600, 1.0)]
    page = next(one for one in asked(latency(), rows).alerts if one.severity == "page")
    assert page.by == ("e-detector", "5m/1h", "30m/6h") or page.by == ("e-detector", "5m/1h")
    assert page.burn == pytest.approx(20, rel=0.01)


def test_money_pages_when_it_is_spent_and_warns_before() -> None:
    """By an exact sum, and by a forecast whose slowest pace is too fast."""
    rows = [paid(NOW - 24 * HOUR + index * 10 * MINUTE, 100) for index in range(144)]
    (page,) = asked(spend(14_000), rows).alerts
    assert (page.severity, page.by, page.certificate.error) == ("page", ("spent",), 0.0)
    (ticket,) = asked(spend(20_000), rows).alerts
    assert (ticket.severity, ticket.by) == ("ticket", ("forecast",))
    assert asked(spend(10**7), rows).alerts == ()


# --- forecasts


def test_a_forecast_is_an_interval_around_what_happens() -> None:
    """Traffic and share go on as in the look-back: the budget is gone between the earliest and the latest."""
    before = list(traffic(1, NOW - 20 * DAY, NOW - DAY, 100, 0.01))
    now = list(traffic(2, NOW - DAY, NOW, 200, 0.12))
    ahead = asked(latency(), [*before, *now]).forecast
    assert ahead is not None
    assert ahead.earliest_ns is not None
    assert ahead.expected_ns is not None
    assert ahead.latest_ns is not None
    assert NOW < ahead.earliest_ns < ahead.expected_ns < ahead.latest_ns
    engine = Engine([latency()])
    for row in [*before, *now]:
        engine.observe(row)
    gone = None
    for hour, start in enumerate(range(NOW, NOW + 20 * DAY, HOUR)):
        for row in traffic(100 + hour, start, start + HOUR, 200, 0.12):
            engine.observe(row)
        engine.trim(start + HOUR)
        if engine.at(start + HOUR)[0].budget.left <= 0:
            gone = start + HOUR
            break
    assert gone is not None
    assert ahead.earliest_ns <= gone <= ahead.latest_ns


@given(
    st.integers(1, 200),
    st.integers(-20, 5),
    st.dictionaries(st.integers(1, 50), st.integers(0, 30), max_size=5),
    st.integers(1, 60),
)
def test_a_pace_is_followed_step_by_step(left: int, slope: int, back: dict[int, int], horizon: int) -> None:
    """What leaves a window gives back what it took: as a walk second by second finds it, to the second."""
    walked, have = None, left
    for second in range(1, horizon + 1):
        have += slope
        if have <= 0:
            walked = second
            break
        have += back.get(second, 0)
    found = empty_s(left, slope, sorted(back.items()), horizon)
    assert (found is None) == (walked is None)
    assert found is None or walked is None or walked - 1 < found <= walked


def test_there_is_no_forecast_of_too_little() -> None:
    """Below 20 events of the look-back, or of what the target needs."""
    assert asked(latency(0.99), steady(99, 0)).forecast is None
    assert asked(latency(), [answer(NOW - HOUR)] * 19).forecast is None
    fine = asked(latency(), steady(200, 0)).forecast
    assert fine is not None
    assert fine.expected_ns is None
    assert fine.until_ns == NOW + 30 * DAY

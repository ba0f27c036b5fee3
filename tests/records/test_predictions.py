"""What was foreseen beside what came: figures as defined, groups, time, and what does not count."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from support.records import CLOCK, HOUR, IDS, asked, row
from trimtab.cli import cli
from trimtab.controlplane.records import Journal
from trimtab.controlplane.records.predictions import Foreseen, foreseen
from trimtab.core.outcome import learnt_ms, outcome_ms
from trimtab.core.record import Record
from trimtab.core.rows import Attempt
from trimtab.foundations.stats import at_most


def lines(rows: Iterable[Record], figure: str = "ttft") -> list[Foreseen]:
    return [line for line in foreseen(rows, ["tier"]).lines if line.figure == figure]


def test_outcomes_count_from_when_the_request_was_sent() -> None:
    """As forecasts do; the mean gap is that of all tokens behind the first."""
    one = asked(ttft=130.0, e2e=1330.0)
    assert [outcome_ms(one, "ttft"), outcome_ms(one, "itl"), outcome_ms(one, "e2e")] == [120.0, 12.0, 1320.0]
    assert learnt_ms(one, "ttft") == (100.0, 120.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 429, "code": "queue_full"},
        {"status": 499, "code": "client_closed"},
        {"code": "deadline_exceeded"},  # broken off in the middle of a stream
        {"rule": "budget day"},
        {"path": "template"},
        {"path": "cache-exact"},
        {"finish_reason": "content_filter"},
        {"attempts": [Attempt(replica="r", start_ms=10.0, outcome="dropped")]},
        {"attempts": []},
        {"kind": "adjust"},
        {"predicted": {}},
        {"e2e_ms": None},
    ],
    ids=str,
)
def test_what_did_not_run_to_its_end_is_not_counted(fields: dict[str, object]) -> None:
    """Nor what nobody foresaw: its neighbours alone are."""
    found = foreseen([asked(), asked(**fields), asked()], ["tier"])
    assert {line.figure: line.requests for line in found.lines} == {"ttft": 2, "itl": 2, "e2e": 2}


def test_whole_answers_have_an_end_alone_and_single_tokens_no_gap() -> None:
    """Each figure counts the requests that have it."""
    rows = [asked(ttft_ms=None, stream=False), asked(tokens=1), asked(tokens=2), asked(tokens=0)]
    found = foreseen(rows, [])
    assert {line.figure: line.requests for line in found.lines} == {"ttft": 3, "itl": 1, "e2e": 4}


outcomes = st.lists(st.floats(1.0, 1e5), min_size=1, max_size=60)


@given(outcomes, st.floats(1.0, 1e5))
def test_figures_are_those_of_the_definitions(found_ms: list[float], promised: float) -> None:
    """Medians of outcome / forecast and of |forecast - outcome| / outcome; the share within, at equality too; and its
    exact bounds: at each of them, what was seen or more extreme has a probability of one in forty."""
    (line,) = lines(asked(ttft=10.0 + one, e2e=1e6, promised=promised) for one in found_ms)
    came = [(10.0 + one) - 10.0 for one in found_ms]
    assert line.requests == len(came)
    assert line.ratio == median(one / 100.0 for one in came)
    assert line.error == median(abs(100.0 - one) / one for one in came)
    within = sum(one <= promised for one in came)
    assert line.within == within / len(came)
    assert line.lower <= line.within <= line.upper
    if within < len(came):
        assert at_most(within, len(came), line.upper) == pytest.approx(0.025, rel=1e-6)
    if within:
        assert 1 - at_most(within - 1, len(came), line.lower) == pytest.approx(0.025, rel=1e-6)
    assert line.below == (line.upper < 0.95)


def test_a_drift_is_marked_in_the_hour_in_which_it_shows_and_no_other() -> None:
    """Ninety of a hundred within 95 % may be chance; eighty are none."""
    rows = [asked(ttft=200.0 if index < 10 else 110.0) for index in range(100)]
    rows += [asked(ttft=200.0 if index < 20 else 110.0, at=HOUR) for index in range(100)]
    assert [(line.begin, line.within, line.below) for line in lines(rows)] == [
        ("2025-11-24T16:00Z", 0.9, False),
        ("2025-11-24T17:00Z", 0.8, True),
    ]


def test_promises_of_different_percentiles_are_judged_apart() -> None:
    """Eight of ten within is well for 50 %."""
    rows = [asked(ttft=200.0 if index % 5 == 0 else 110.0) for index in range(200)]
    for one in rows[:100]:
        one.predicted["percentile"] = 0.5
    assert [(line.percentile, line.requests, line.below) for line in lines(rows)] == [
        (0.5, 100, False),
        (0.95, 100, True),
    ]


@given(st.lists(st.tuples(st.integers(0, 100 * 24), st.sampled_from(["S", "M", None])), min_size=1, max_size=30))
def test_every_row_is_in_one_line_and_lines_are_in_order(places: list[tuple[int, str | None]]) -> None:
    """Hours for up to two days, days for more; sorted by time, group and figure, in whatever order rows come."""
    rows = [asked(at=hour * HOUR, tier=tier) for hour, tier in places]
    found = foreseen(rows, ["tier"])
    hours = [hour for hour, _ in places]
    assert found.stretch == ("hour" if max(hours) - min(hours) < 48 else "day")
    keys = [(line.begin, line.group["tier"] or "", ("ttft", "itl", "e2e").index(line.figure)) for line in found.lines]
    assert keys == sorted(set(keys))
    assert sum(line.requests for line in found.lines) == 3 * len(rows)
    assert foreseen(reversed(rows), ["tier"]) == found


@pytest.mark.parametrize(
    ("hour", "begins"), [(47, ["2025-11-24T16:00Z", "2025-11-26T15:00Z"]), (48, ["2025-11-24", "2025-11-26"])]
)
def test_more_than_two_days_are_told_by_the_day(hour: int, begins: list[str]) -> None:
    """The day on the calendar (UTC); what came at its first and last hour is one line."""
    rows = [asked(), asked(at=(hour + 1) * HOUR - 1), asked(at=hour * HOUR)]
    assert [line.begin for line in lines(rows)] == begins
    last = asked(at=8 * HOUR - 1), asked(at=80 * HOUR)
    assert [(line.begin, line.requests) for line in lines([asked(), *last])] == [("2025-11-24", 2), ("2025-11-28", 1)]


def test_the_command_prints_a_table_and_an_object(tmp_path: Path) -> None:
    """By tier unless told otherwise; what is damaged is said; where there is nothing to compare, so is that."""
    arguments = ["report", "--predictions", "--since", "all", "--workspace", str(tmp_path)]
    journal = Journal(tmp_path / "var" / "records", 0, CLOCK, group_s=0.001)
    journal.write(row(status=200))
    journal.flush()
    assert CliRunner().invoke(cli, arguments).output == (
        "Nothing to compare: no request that ran to its end has a prediction beside it.\n"
    )
    for index in range(100):
        journal.write(asked(ttft=200.0 if index < 20 else 110.0, id=IDS.record_id()))
    journal.close()
    text = CliRunner().invoke(cli, arguments).output
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "HOUR TIER FIGURE REQUESTS OUTCOME/MODEL ERROR PROMISED WITHIN LEAST MOST",
        "2025-11-24T16:00Z S ttft 100 1.00 0.0% 95.0% 80.0% 70.8% 87.3% below",
        "2025-11-24T16:00Z S itl 100 1.00 0.0% 95.0% 100.0% 96.4% 100.0%",
        "2025-11-24T16:00Z S e2e 100 1.00 0.0% 95.0% 100.0% 96.4% 100.0%",
    ]
    machine = msgspec.json.decode(CliRunner().invoke(cli, [*arguments, "--by", "", "--json"]).output)
    assert machine["damaged"] == []
    assert [line["below"] for line in machine["predictions"]["lines"]] == [True, False, False]
    both = CliRunner().invoke(cli, [*arguments, "--stages"])
    assert both.exit_code == 2

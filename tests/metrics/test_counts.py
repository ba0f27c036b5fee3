"""Counting itself: the cap of series, names that come and go, and records that can't be counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.records import CLOCK, row
from support.scrape import parsed, value
from trimtab.controlplane.metrics import Counts, Declared
from trimtab.core.errors import Code
from trimtab.core.rows import Attempt, GuardRow

CHECKS = ("email", "phone", "card", "iban", "deny", "restore", "grounded")
LATE = ("trimtab_contract_total", "trimtab_attempts_total", "trimtab_guard_hits_total", "trimtab_http_refused_total")


def declared(tenants: int, *variants: str) -> Declared:
    return Declared({f"t{number}": frozenset({"c"}) for number in range(tenants)}, frozenset(variants))


def text(counts: Counts) -> dict[str, Any]:
    return parsed("".join(counts.pieces()))


def test_a_metric_has_its_most_and_loses_nothing() -> None:
    """What comes beyond the cap counts under other, and how much that was is told."""
    counts = Counts(lambda: declared(500), CLOCK, most=50)
    for number in range(500):
        counts.write(row(tenant=f"t{number}", channel="c", status=200, e2e_ms=1.0))
    found = text(counts)
    assert len(found["trimtab_requests_total"].samples) == 51
    assert value(found, "trimtab_requests_total") == 500
    assert value(found, "trimtab_requests_total", tenant="other") == 450
    assert value(found, "trimtab_request_duration_seconds_count") == 500
    assert value(found, "trimtab_metrics_folded_total") == 450


def test_ids_of_many_releases_are_one_variant() -> None:
    """A variant's hash changes with every release: its name is the label, and what is remembered of ids is bounded."""
    counts = Counts(lambda: declared(1, "small"), CLOCK, most=20)
    for number in range(1000):
        counts.write(row(tenant="t0", channel="c", variant=f"small@{number:08x}", tier="S", status=200))
    found = text(counts)
    assert len(found["trimtab_requests_total"].samples) == 1
    assert value(found, "trimtab_requests_total", variant="small", tier="S") == 1000
    assert len(counts._known) <= 40


def test_a_name_that_nobody_declares_is_other() -> None:
    """In every label that a record fills."""
    strange = "'\"\\\n{strange"
    counts = Counts(lambda: declared(1, "small"), CLOCK)
    record = row(tenant=strange, channel=strange, path=strange, tier=strange, variant=strange, status=299, code=strange)
    record.attempts = [Attempt(replica=strange, start_ms=0, outcome=strange, variant=strange)]  # type: ignore[arg-type]
    record.guards = [GuardRow(stage="in", check=strange, hits=2, action=strange)]
    record.stages = {strange: [0.0, 1.0]}
    counts.write(record)
    found = text(counts)
    assert "strange" not in "".join(counts.pieces())
    assert set(found["trimtab_requests_total"].samples[0].labels.values()) == {"other"}
    assert value(found, "trimtab_attempts_total", variant="other", outcome="other") == 1
    assert value(found, "trimtab_guard_hits_total", stage="in", check="other") == 2
    assert value(found, "trimtab_stage_duration_seconds_count", stage="other") == 1


def test_a_name_of_a_reload_counts_from_then_on() -> None:
    """Before it is declared it is other."""
    names = declared(1)
    counts = Counts(lambda: names, CLOCK)
    counts.write(row(tenant="t1", channel="c", status=200))
    names = declared(2)
    counts.write(row(tenant="t1", channel="c", status=200, code="queue_full"))
    found = text(counts)
    assert value(found, "trimtab_requests_total", tenant="other") == 1
    assert value(found, "trimtab_requests_total", tenant="t1") == 1


def test_a_record_that_can_not_be_counted_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once in the log, and counted as failed."""
    counts = Counts(lambda: declared(1), CLOCK)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            counts.write(row(tenant="t0", channel="c", status=200, e2e_ms="soon"))
    assert value(text(counts), "trimtab_metrics_failed_total") == 3
    assert len(caplog.records) == 1


def test_rows_that_are_no_requests_count_as_none() -> None:
    """Adjustments and verdicts belong to a request that has been counted."""
    counts = Counts(lambda: declared(1), CLOCK)
    for kind in ("adjust", "verdict", "shadow", "lost"):
        counts.write(row(tenant="t0", channel="c", status=200, kind=kind))
    assert value(text(counts), "trimtab_requests_total") == 0


def test_records_may_be_counted_while_the_text_is_written() -> None:
    """Requests run between its pieces, and bring combinations of every kind that were not there before."""
    counts = Counts(lambda: declared(1000, *(f"v{number}" for number in range(1000))), CLOCK)
    codes, checks = iter(Code), iter(CHECKS)

    def more(number: int) -> None:
        record = row(tenant=f"t{number}", channel="c", variant=f"v{number}@1", status=200, e2e_ms=1.0)
        record.attempts = [Attempt(replica="r", start_ms=0, outcome="success", variant=f"v{number}")]
        record.guards = [GuardRow(stage="out", check=next(checks), hits=1, action="x")]
        counts.write(record)
        counts.refused(next(codes))

    more(0)
    began, pieces = set(), []
    for number, piece in enumerate(counts.pieces(), start=1):
        pieces.append(piece)
        kind = piece.partition("{")[0]
        if kind in ("trimtab_requests_total", *LATE) and kind not in began:  # in the middle of each
            began.add(kind)
            more(number)
    assert began == {"trimtab_requests_total", *LATE}
    parsed("".join(pieces))
    assert value(text(counts), "trimtab_metrics_failed_total") == 0

"""`explain`: the same record, in a value, in text and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from support.records import CLOCK, row, spent
from trimtab.cli import cli
from trimtab.controlplane.records import Journal, explain
from trimtab.controlplane.records.render import render
from trimtab.core.contract import Asked, Contract, Cost, Latency, Quality
from trimtab.core.decision import Feature, Features, RuleTrace
from trimtab.core.money import Usage
from trimtab.core.record import Record
from trimtab.core.rows import Attempt, CostRow, GuardRow, InterToken, Met, PlanRow, Snapshots, Tokens

CONTRACT = Contract(
    latency=Latency(ttft_ms=800, itl_ms=80, e2e_ms=4000, deadline_ms=12000),
    quality=Quality(0.0),
    cost=Cost(2_000_000),
    residency=None,
    priority="interactive",
    on_miss="reroute",
    resume="error",
    emit="token",
    hash="abc",
)


def answered(**fields: Any) -> Record:
    """A request that was answered at the second attempt."""
    values: dict[str, Any] = {
        "tenant": "shop",
        "channel": "help",
        "path": "direct",
        "tier": "S",
        "variant": "small@0011aabb",
        "status": 200,
        "finish_reason": "stop",
        "contract": CONTRACT,
        "asked": Asked(latency_ms=5000.0),
        "features": Features(language=Feature("en", 0.9)),
        "rules": [
            RuleTrace(id="easy", at="decide", hit=True, values={"complexity": 1.0}),
            RuleTrace(id="full", at="admit", hit=False, values={"tier_free": 3}, error="no such key"),
        ],
        "plans": [
            PlanRow(variant="small", tier="S", path="direct", max_tokens=9, estimate_nanousd=123, degradations=[]),
            PlanRow(
                variant="big", tier="M", path="direct", max_tokens=9, estimate_nanousd=None, degradations=["window"]
            ),
        ],
        "attempts": [
            Attempt(replica="a", start_ms=3.2, outcome="dropped", reason="connect refused"),
            Attempt(replica="b", start_ms=9.0, outcome="success", usage=Usage(prompt=120, completion=40)),
        ],
        "stages": {"infer": [0.9, 1800.5], "ingress": [0.0, 0.1]},
        "ttft_ms": 900.0,
        "e2e_ms": 1801.9,
        "itl": InterToken(p50=30, p95=55, max=90),
        "tokens": Tokens(prompt=120, cached=0, completion=40, source="upstream"),
        "cost": CostRow(estimate_nanousd=123_456, reserved_nanousd=123_456, settled_nanousd=1, baseline_nanousd=10**9),
        "met": Met(latency=False, cost=True),
        "guards": [GuardRow(stage="in", check="email", hits=1, action="redacted")],
        "snapshots": Snapshots(release="rel_1"),
    }
    return row(**{**values, **fields})


def printed(record: Record, *later: Record) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        render(explain(record, later), console)
    return capture.get()


def test_money_is_exact_and_counts_later_rows() -> None:
    """Nano-dollars are printed without a float; adjustments and losses are added, the saving is what remains."""
    record = answered()
    later = [spent("shop", 5, kind="adjust", of=record.id), spent("shop", 7, kind="lost", of=record.id)]
    money = explain(record, later).money
    assert money.settled_usd == "0.000000001"
    assert money.adjusted_usd == "0.000000012"
    assert money.total_usd == "0.000000013"
    assert money.saved_usd == "0.999999987"
    assert money.cap_usd == "0.002"


def test_marks_say_kept_broken_or_unknown() -> None:
    """A promise is judged only where both sides are known."""
    marks = {mark.name: mark.kept for mark in explain(answered(itl=None)).marks}
    assert marks == {"ttft": False, "itl p95": None, "e2e": True, "deadline": True}


def test_a_record_without_anything_is_all_unknown() -> None:
    """A row that was refused before anything was known explains without failing, and claims nothing."""
    explanation = explain(row())
    assert explanation.contract == []
    assert all(mark.kept is None for mark in explanation.marks)
    assert explanation.money.total_usd is None
    assert "unknown" in printed(row())


def test_a_refusal_says_why_and_what_helps() -> None:
    """The code's meaning and remedy come with it, and the limit that said no."""
    text = printed(row(status=429, code="budget_exhausted", rule="budget:shop/day"))
    assert "429 budget_exhausted (by budget:shop/day)" in text
    assert "The budget of the period is spent." in text
    assert "Wait for the next period" in text


@pytest.mark.parametrize(
    "words",
    [
        "HIT  complexity = 1",
        "tier_free = 3 failed: no such key",
        "not reached",
        "connect refused",
        "promised 800, kept: NO",
        "en       0.9",
        "in email: 1 hits, redacted",
        "$0.000123456",
        "rel_1",
        "5,000  4,000",
    ],
)
def test_the_text_holds_what_decided(words: str) -> None:
    """Rules with their values, plans left, attempts, promises, features, guards, money: all are in the text."""
    assert words in printed(answered())


def test_stages_are_in_order_of_their_start() -> None:
    """The waterfall reads from arrival to end, however the record lists stages."""
    assert [bar.stage for bar in explain(answered()).waterfall] == ["ingress", "infer"]


def test_text_fits_100_columns_and_holds_no_control_characters() -> None:
    """Off a terminal: no escape sequences, no line too long, and no way for a value to write to the terminal."""
    evil = "\x1b[31m[bold]x[/bold]\r\n" + "y" * 300
    record = answered(
        replica=evil, rules=[RuleTrace(id=evil, at="decide", hit=True, values={evil: evil})], finish_reason=evil
    )
    text = printed(record)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "[bold]x[/bold]" in text


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with one answered request and its adjustment."""
    record = answered(id="rec_01ABC")
    journal = Journal(tmp_path / "var" / "records", 0, CLOCK)
    journal.write(record)
    journal.write(spent("shop", 5, kind="adjust", of="rec_01ABC", id="rec_01XYZ"))
    journal.close()
    return tmp_path


@pytest.mark.parametrize("name", ["rec_01ABC", "last", "01a", "chatcmpl-01ABC"])
def test_the_command_finds_a_record_with_the_gateway_stopped(workspace: Path, name: str) -> None:
    """An id, a part of one, the completion's id or `last` explain the request from the files alone."""
    done = CliRunner(env={"FORCE_COLOR": "1"}).invoke(cli, ["explain", name, "--workspace", str(workspace)])
    assert done.exit_code == 0
    assert "rec_01ABC" in done.output
    assert "adjust rec_01XYZ" in done.output
    assert "\x1b" not in done.output
    assert not any(line.endswith(" ") for line in done.output.splitlines())


def test_the_command_speaks_json(workspace: Path) -> None:
    """`--json` is one object with the same parts."""
    done = CliRunner().invoke(cli, ["explain", "last", "--json", "--workspace", str(workspace)])
    value = msgspec.json.decode(done.output)
    assert value["header"]["id"] == "rec_01ABC"
    assert value["money"]["total_usd"] == "0.000000006"


def test_an_unknown_record_ends_with_1_and_says_what_was_searched(workspace: Path) -> None:
    """Nothing on stdout; the folder and the number of segments on stderr."""
    done = CliRunner().invoke(cli, ["explain", "zzz", "--workspace", str(workspace)])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "var/records (1 segment)" in done.stderr

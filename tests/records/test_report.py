"""Reports: exact sums and percentiles over records."""

from __future__ import annotations

from pathlib import Path

import msgspec
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from support.records import CLOCK, row
from trimtab.cli import cli
from trimtab.controlplane.records import Journal
from trimtab.controlplane.records.report import stage_times, summarise
from trimtab.core.decision import Feature, Features
from trimtab.core.record import Record
from trimtab.core.rows import CostRow, Met, Tokens

NANO = st.integers(0, 10**12)
ROWS = st.lists(
    st.builds(
        lambda tenant, status, e2e, cost, baseline, kept, path: row(
            tenant=tenant,
            channel="c",
            status=status,
            e2e_ms=e2e,
            path=path,
            cost=CostRow(settled_nanousd=cost, baseline_nanousd=baseline),
            met=Met(latency=kept),
            tokens=Tokens(prompt=3, completion=2),
        ),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([200, 429, 499, 502]),
        st.floats(0, 1e6),
        st.none() | NANO,
        st.none() | NANO,
        st.sampled_from([None, True, False]),
        st.sampled_from(["direct", "cache-exact", "refused"]),
    ),
    max_size=40,
)


@given(ROWS)
def test_groups_add_up_to_the_total_and_the_total_to_the_records(rows: list[Record]) -> None:
    """For every sum, over any rows and any dimensions."""
    summary = summarise(rows, ["tenant", "path"])
    total = summary.total
    for name in ("requests", "answered", "refused", "failed", "left", "prompt_tokens", "cost_nanousd", "saved_nanousd"):
        assert sum(getattr(line, name) for line in summary.lines) == getattr(total, name)
    assert total.requests == len(rows) == total.answered + total.refused + total.failed + total.left
    assert total.cost_nanousd == sum(one.cost.settled_nanousd or 0 for one in rows)
    told = [one.met.latency for one in rows if one.met.latency is not None]
    assert total.attainment == (sum(told) / len(told) if told else None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_values_that_were_measured(times: list[float]) -> None:
    """Nearest rank: at least that share of requests took no longer, and no smaller measured value does that."""
    line = summarise([row(status=200, e2e_ms=time) for time in times], []).total
    for share, value in ((0.5, line.p50_ms), (0.95, line.p95_ms), (0.99, line.p99_ms)):
        assert value in times
        assert sum(time <= value for time in times) >= share * len(times)
        below = [time for time in times if time < value]
        assert len(below) < share * len(times)


def test_adjustments_change_the_money_and_nothing_else() -> None:
    """What a provider billed later is in cost and saving, not in the count."""
    base = row(tenant="a", status=200, cost=CostRow(settled_nanousd=10, baseline_nanousd=30))
    later = row(tenant="a", kind="adjust", of=base.id, cost=CostRow(settled_nanousd=5))
    total = summarise([base, later], ["tenant"]).total
    assert (total.requests, total.cost_nanousd, total.saved_nanousd) == (1, 15, 15)


def test_the_command_reads_what_was_written(tmp_path: Path) -> None:
    """Groups by language, filters by tenant, prints a table for people and an object for machines."""
    journal = Journal(tmp_path / "var" / "records", 0, CLOCK, group_s=0.001)
    for tenant, language in (("a", "de"), ("a", "en"), ("b", None)):
        features = Features(language=Feature(language, 0.9)) if language else Features()
        journal.write(row(tenant=tenant, channel="c", status=200, e2e_ms=5.0, features=features, path="direct"))
    journal.close()
    arguments = ["report", "--workspace", str(tmp_path), "--by", "language", "--tenant", "a"]
    machine = CliRunner().invoke(cli, [*arguments, "--json"])
    summary = msgspec.json.decode(machine.output)["summary"]
    assert [(line["group"]["language"], line["requests"]) for line in summary["lines"]] == [("de", 1), ("en", 1)]
    text = CliRunner().invoke(cli, arguments).output
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["LANGUAGE", "REQUESTS"],
        ["de", "1"],
        ["en", "1"],
        ["all", "2"],
    ]
    wrong = CliRunner().invoke(cli, ["report", "--by", "colour", "--workspace", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "Known: arm, channel, code" in wrong.output


def test_verify_names_the_damage_and_fails(tmp_path: Path) -> None:
    """Exit 1 with the file and line; exit 0 when all is whole."""
    folder = tmp_path / "var" / "records"
    journal = Journal(folder, 0, CLOCK, group_s=0.001)
    for _ in range(5):
        journal.write(row(tenant="a"))
    journal.close()
    arguments = ["report", "--verify", "--workspace", str(tmp_path)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    segment = next(folder.glob("*.jsonl"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    broken = CliRunner().invoke(cli, arguments)
    assert broken.exit_code == 1
    assert segment.name in broken.output


def test_stages_in_their_order_with_the_times_they_took() -> None:
    """A stage that only some requests entered counts those alone."""
    rows = [row(status=200, stages={"bind": [0.1, 0.2], "infer": [1.0, spent]}) for spent in (5.0, 7.0, 9.0)]
    rows.append(row(status=429, stages={"bind": [0.1, 0.4]}))
    bind, infer = stage_times(reversed(rows))
    assert (bind.stage, bind.requests, bind.p50_ms, bind.p99_ms) == ("bind", 4, 0.2, 0.4)
    assert (infer.stage, infer.requests, infer.p50_ms, infer.p99_ms, infer.total_ms) == ("infer", 3, 7.0, 9.0, 21.0)
    assert stage_times([]) == []


def test_what_was_refused_on_arrival_counts_as_many_times_as_it_was() -> None:
    """Requests that failed, by their channel and code, with no time and no cost."""
    refused = row(kind="refused", tenant="a", channel="c", code="overloaded", status=503, count=7)
    summary = summarise([refused, row(tenant="a", channel="c", status=200, e2e_ms=5.0)], ["code"])
    assert (summary.total.requests, summary.total.failed, summary.total.answered, summary.total.p99_ms) == (8, 7, 1, 5)
    assert [(line.group["code"], line.requests) for line in summary.lines] == [("overloaded", 7), (None, 1)]

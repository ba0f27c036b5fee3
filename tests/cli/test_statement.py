"""`trimtab report --statement`: printed, written as lines, and held against a tenant's own list."""

from __future__ import annotations

from pathlib import Path

import msgspec
from click.testing import CliRunner

from support.records import CLOCK, row
from trimtab.cli._report import report
from trimtab.controlplane.records import Journal
from trimtab.core.rows import CostRow, Met

NOVEMBER = 1_793_491_200_000_000_000  # 2026-11-01T00:00:00Z


def recorded(workspace: Path) -> None:
    """Three requests of one tenant and one of another's, in November 2026, and what the first was billed for later."""
    journal = Journal(workspace / "var" / "records", 0, CLOCK)
    for number, tenant in enumerate(("shop", "shop", "shop", "other")):
        journal.write(
            row(
                id=f"rec_{number:026d}",
                t_wall_ns=NOVEMBER + (number + 1) * 3600 * 10**9,
                tenant=tenant,
                channel="web",
                status=200,
                met=Met(latency=number != 1, cost=True),
                cost=CostRow(settled_nanousd=1_500_000 * (number + 1), baseline_nanousd=9_000_000),
            )
        )
    journal.write(
        row(
            kind="adjust",
            of=f"rec_{0:026d}",
            t_wall_ns=NOVEMBER + 40 * 86_400 * 10**9,
            tenant="shop",
            channel="web",
            cost=CostRow(settled_nanousd=500_000),
        )
    )
    journal.close()


def run(workspace: Path, *options: str) -> tuple[int, str]:
    found = CliRunner().invoke(report, ["--statement", "shop", "2026-11", "--workspace", str(workspace), *options])
    return found.exit_code, found.output


def test_a_month_is_stated_and_checked(tmp_path: Path) -> None:
    recorded(tmp_path)
    own = tmp_path / "lines.csv"
    code, told = run(tmp_path, "--lines", str(own))
    assert code == 0, told
    assert "shop, 2026-11 (UTC)" in told
    assert ["all", "3", "3", "2", "of", "3", "-", "3", "of", "3", "0.0095", "0.027", "0.0175"] in [
        line.split() for line in told.splitlines()
    ]
    assert own.read_text().splitlines() == ["record,usd"] + [
        f"rec_{number:026d},{amount}" for number, amount in enumerate(("0.002", "0.003", "0.0045"))
    ]
    assert run(tmp_path, "--against", str(own)) == (
        0,
        told + f"{own}: the same 3 requests at the same cost\n",
    )
    own.write_text(own.read_text().replace("0.003", "0.004"))
    code, told = run(tmp_path, "--against", str(own), "--json")
    assert code == 1
    differences = msgspec.json.decode(told)["differences"]
    assert differences == [{"record": f"rec_{1:026d}", "ours": 3_000_000, "theirs": 4_000_000, "why": "another amount"}]


def test_what_can_not_be_stated_is_said(tmp_path: Path) -> None:
    recorded(tmp_path)
    for options, said in (
        (("--tz", "Nowhere/Land"), "no time zone"),
        (("--verify",), "another report"),
        (("--against", str(tmp_path / "var")), "is a directory"),
    ):
        code, told = run(tmp_path, *options)
        assert code == 2, told
        assert said in told
    found = CliRunner().invoke(report, ["--lines", "x", "--workspace", str(tmp_path)])
    assert (found.exit_code, "are for --statement" in found.output) == (2, True)

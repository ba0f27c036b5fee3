"""What the benchmark says: a table and the claims for people, one object for machines."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.gateway_overhead.figures import FIGURES, Claim, Row
from benchmarks.gateway_overhead.processes import Cores


def as_json(
    settings: Mapping[str, Any],
    cores: Cores,
    gateways: Mapping[str, str],
    claims: Sequence[Claim],
    rows: Sequence[Row],
    notes: Sequence[str],
) -> str:
    """One object: date, machine, settings, gateways (version, or why absent), claims, rows, notes."""
    whole = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(cores),
        "settings": settings,
        "gateways": gateways,
        "claims": claims,
        "rows": rows,
        "notes": notes,
    }
    return msgspec.json.encode(whole).decode()


def machine(cores: Cores) -> dict[str, Any]:
    """What the figures hold for."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gateway_core": cores.gateway,
        "mock_and_load_core": cores.rest,
    }


def show(
    gateways: Mapping[str, str], claims: Sequence[Claim], rows: Sequence[Row], notes: Sequence[str], cores: Cores
) -> None:
    """The table of figures, then the claims, then what went wrong: the claims stand last but for that."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    names = [name for name in gateways if any(row.gateway == name for row in rows)]
    table = Table(title="Medians over the runs, ± half the range", title_justify="left")
    table.add_column("")
    table.add_column("unit")
    for name in names:
        table.add_column(name, justify="right")
    by_place = {(row.metric, row.unit, row.gateway): row for row in rows}
    for figure in FIGURES:
        cells = [_cell(by_place.get((figure.title, figure.unit, name))) for name in names]
        if any(cell != "-" for cell in cells):
            table.add_row(figure.title, figure.unit, *cells)
    console.print(table)
    about = machine(cores)
    console.print(
        f"{about['cpu']}, {about['cores']} cores, {about['memory_mib']} MiB; gateway on core {cores.gateway}, "
        f"mock and load on core {cores.rest}",
        highlight=False,
    )
    for name, state in gateways.items():
        if name != "direct":
            console.print(f"  {name}: {state}", highlight=False, markup=False)
    verdicts = Table(title="Claims", title_justify="left")
    for column in ("", "ours", "baseline", "ratio", "target", "met"):
        verdicts.add_column(column, justify="left" if column in ("", "target") else "right")
    for claim in claims:
        numbers = map(_number, (claim.ours, claim.baseline, claim.ratio))
        verdicts.add_row(claim.claim, *numbers, claim.target, _met(claim))
    console.print(verdicts)
    for claim in claims:
        if claim.reason:
            console.print(f"  ? {claim.claim}: {claim.reason}", highlight=False, markup=False)
    for note in notes:
        console.print(f"  note: {note}", highlight=False, markup=False)


def as_markdown(
    gateways: Mapping[str, str], claims: Sequence[Claim], rows: Sequence[Row], notes: Sequence[str], cores: Cores
) -> str:
    """What stands under Figures in the README: date, machine, versions, figures, claims, what went wrong."""
    about = machine(cores)
    versions = ", ".join(f"{name} {state}" for name, state in gateways.items() if name != "direct")
    names = [name for name in gateways if any(row.gateway == name for row in rows)]
    by_place = {(row.metric, row.unit, row.gateway): row for row in rows}
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {about['cpu']}, {about['cores']} cores, {about['memory_mib']} MiB, "
        f"Linux {about['kernel']}, Python {about['python']}. {versions}.",
        "",
        *_markdown_rows(["", "unit", *names]),
    ]
    for figure in FIGURES:
        cells = [_cell(by_place.get((figure.title, figure.unit, name))) for name in names]
        if any(cell != "-" for cell in cells):
            lines += _markdown_rows([figure.title, figure.unit, *cells], head=False)
    lines += ["", *_markdown_rows(["claim", "ours", "baseline", "ratio", "target", "met"])]
    for claim in claims:
        numbers = map(_number, (claim.ours, claim.baseline, claim.ratio))
        lines += _markdown_rows([claim.claim, *numbers, claim.target, _met(claim)], head=False)
    lines += ["", *(f"- {claim.claim}: {claim.reason}" for claim in claims if claim.reason)]
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines).strip()


def _markdown_rows(cells: Sequence[str], head: bool = True) -> list[str]:
    row = f"| {' | '.join(cells)} |"
    return [row, "|---" * len(cells) + "|"] if head else [row]


def _met(claim: Claim) -> str:
    return {True: "yes", False: "NO", None: "?"}[claim.met]


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    spread = f" ±{100 * row.spread:.0f}%" if len(row.runs) > 1 else ""
    return _number(row.median) + spread


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

"""Figures as people and machines read them: Markdown tables, or one JSON object."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """With the names of the first row as its head."""
    lines = [f"| {' | '.join(found[0])} |", "|" + "---|" * len(found[0])]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row.values()))} |" for row in found)])


def tell(found: Mapping[str, Sequence[Mapping[str, Any]]], *, quick: bool, as_json: bool) -> None:
    """Print tables by their names, with the date and the machine that they are of."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if as_json:
        print(json.dumps({"date": date, "machine": machine, "quick": quick, **found}))
        return
    print(f"{date}, {machine}")
    for rows in found.values():
        print("", table(rows), sep="\n")


def claim(what: str, ours: float, baseline: float, target: str, met: bool) -> dict[str, Any]:
    """A row of claims: ours beside the baseline, and whether that is what was aimed at."""
    ratio = round(ours / baseline, 3) if baseline else None
    row = {"claim": what, "ours": round(ours, 4), "baseline": round(baseline, 4), "ratio": ratio}
    return row | {"target": target, "met": met}


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "NO", None: "?"}[value]
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)

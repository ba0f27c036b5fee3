"""Rows of figures as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """With the names of the first row as its head."""
    lines = [f"| {' | '.join(found[0])} |", "|" + "---|" * len(found[0])]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row.values()))} |" for row in found)])


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "NO", None: "?"}[value]
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)

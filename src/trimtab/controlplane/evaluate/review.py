"""Feedback that waits for a review: answers that somebody was not content with, worst first.

Of each answer and each name the last word counts. A word is bad where it judges the answer by a score below a half, or
by a label that says no.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from trimtab.core.record import Record
from trimtab.core.rows import VerdictRow

NO: Final = frozenset({"no", "false", "wrong", "bad", "down"})


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that was judged bad. `said`: by name of what was told, the score (None: by label). `at_ns`: when it was
    last said."""

    record: str
    tenant: str | None
    channel: str | None
    said: dict[str, float | None]
    at_ns: int

    @property
    def worst(self) -> float:
        """The lowest score; a label that says no is 0."""
        return min(score or 0.0 for score in self.said.values())


def waiting(rows: Iterable[Record], reviewed: Collection[str]) -> list[Waiting]:
    """Worst first, of equal ones the newest. `rows`: verdicts, in any order; `reviewed`: records to leave out."""
    last: dict[tuple[str, str], Record] = {}
    for row in rows:
        if row.kind != "verdict" or row.verdict is None or row.of is None or row.of in reviewed:
            continue
        key = row.of, row.verdict.name
        if key not in last or last[key].t_wall_ns <= row.t_wall_ns:
            last[key] = row
    found: dict[str, list[Record]] = {}
    for (record, _), row in last.items():
        if row.verdict is not None and is_bad(row, row.verdict):
            found.setdefault(record, []).append(row)
    made = [_waiting(record, said) for record, said in found.items()]
    return sorted(made, key=lambda one: (one.worst, -one.at_ns, one.record))


def is_bad(row: Record, verdict: VerdictRow) -> bool:
    return row.met.quality is False or (verdict.label or "").lower() in NO


def _waiting(record: str, said: list[Record]) -> Waiting:
    return Waiting(
        record=record,
        tenant=said[0].tenant,
        channel=said[0].channel,
        said={row.verdict.name: row.verdict.score for row in said if row.verdict is not None},
        at_ns=max(row.t_wall_ns for row in said),
    )


__all__ = ["Waiting", "waiting"]

"""python -m benchmarks.slo_paging: see README.md beside this file."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.options import options
from benchmarks.slo_paging.rules import NOTHING, Ours, Pairs, Raised
from benchmarks.slo_paging.year import DAY, KINDS, Incident, incidents, minutes
from benchmarks.tables import claim, tell

RATES: Final = (20, 200, 2000)
"""Requests an hour."""
FULL: Final = 365, 5
"""Days, and incidents of each kind."""
QUICK: Final = 60, 1
AFTER: Final = 6 * 60
"""Minutes after an incident in which what is raised is still about it; three days for a slow one."""
OURS: Final = "e-detector and windows (ours)"
PAIRS: Final = "pairs of windows alone"


class Judged:
    """What one rule did over a year."""

    def __init__(self, found: Sequence[Incident]) -> None:
        self._left = list(found)
        self._last = NOTHING
        self.false_pages = self.false_tickets = 0
        self.delays: dict[str, list[int | None]] = {kind.name: [] for kind in KINDS}
        self._noticed = False

    def waits(self, at: int) -> bool:
        """An incident lasts that nobody was told of."""
        return bool(self._left) and self._left[0].begin <= at < self._left[0].end and not self._noticed

    def take(self, at: int, raised: Raised) -> None:
        while self._left and at >= self._left[0].end + self._after(self._left[0]):
            self._over(None)
        now = self._left[0] if self._left and at >= self._left[0].begin else None
        told = raised.page or (raised.ticket and now is not None and now.kind.slow)
        if now is None:
            self.false_pages += raised.page and not self._last.page
            self.false_tickets += raised.ticket and not self._last.ticket
        elif told and not self._noticed and at < now.end:
            self._noticed = True
            self.delays[now.kind.name].append(at - now.begin)
        self._last = raised

    def end(self) -> None:
        while self._left:
            self._over(None)

    def _after(self, one: Incident) -> int:
        return 3 * DAY if one.kind.slow else AFTER

    def _over(self, delay: int | None) -> None:
        gone = self._left.pop(0)
        if not self._noticed:
            self.delays[gone.kind.name].append(delay)
        self._noticed = False


def measure(days: int, each: int, seed: int) -> dict[str, Any]:
    figures: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    for rate in RATES:
        found = incidents(days, each, random.Random(f"{seed} incidents"))
        judged = {OURS: (Ours(), Judged(found)), PAIRS: (Pairs(), Judged(found))}
        for at, minute in enumerate(minutes(days, rate, found, random.Random(f"{seed} {rate}"))):
            for rule, judge in judged.values():
                judge.take(at, rule.passed(at, minute, judge.waits(at)))
        for name, (_, judge) in judged.items():
            judge.end()
            figures.append(_row(rate, name, judge))
            print(figures[-1], file=sys.stderr, flush=True)
        claims += _claims(rate, days, judged[OURS][1], judged[PAIRS][1])
    return {"figures": figures, "claims": claims}


def _row(rate: int, name: str, judge: Judged) -> dict[str, Any]:
    row: dict[str, Any] = {
        "requests/h": rate,
        "rule": name,
        "false pages": judge.false_pages,
        "false tickets": judge.false_tickets,
    }
    for kind, delays in judge.delays.items():
        seen = [one for one in delays if one is not None]
        said = "missed" if not seen else f"{median(seen):.0f} min"
        row[kind] = said if len(seen) == len(delays) or not seen else f"{said}, {len(delays) - len(seen)} missed"
    return row


def _claims(rate: int, days: int, ours: Judged, alone: Judged) -> list[dict[str, Any]]:
    most = max(1.0, days / 365)
    missed = [sum(one is None for each in judge.delays.values() for one in each) for judge in (ours, alone)]
    pages = f"false pages at {rate} requests/h, beside the allowance of {most:g}"
    return [
        claim(pages, ours.false_pages, alone.false_pages, f"<= {most:g}", ours.false_pages <= most),
        claim(f"incidents missed at {rate} requests/h", *missed, "<= 1 x", missed[0] <= missed[1]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say."""
    parser = options(
        "slo_paging",
        "False pages, delays and misses of two rules.",
        quick=f"{QUICK[0]} days, {QUICK[1]} incident of each kind",
        seed="traffic and incidents",
    )
    given = parser.parse_args(arguments)
    found = measure(*(QUICK if given.quick else FULL), given.seed)
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The figures: the worst run of each gateway, and the aims."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

import msgspec

from benchmarks.budgets.judge import Run
from benchmarks.budgets.subjects import SUBJECTS
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead import report as overhead
from benchmarks.tables import table

OURS = "trimtab"
UNUSABLE_PCT = 0.1


class Result(NamedTuple):
    """All runs, and why a subject has none."""

    runs: Sequence[Run]
    absent: Mapping[str, str]

    def of(self, subject: str) -> list[Run]:
        return [run for run in self.runs if run.subject == subject]


class Claim(msgspec.Struct):
    """An aim for the worst of our runs, beside the worst of a baseline's. `met`: None where either did not run."""

    claim: str
    ours: float | None
    baseline: float | None
    target: str
    met: bool | None


def claims(result: Result) -> list[Claim]:
    """Each aim beside each baseline."""
    found = []
    for subject in SUBJECTS[2:]:
        for text, target, figure, most in (
            ("overspent, % of the budget", "0", lambda run: run.over_pct, 0.0),
            ("left unusable, % of the budget", f"< {UNUSABLE_PCT}", lambda run: run.left_pct, UNUSABLE_PCT),
            ("requests refused falsely", "0", lambda run: run.refused_falsely, 0),
        ):
            ours, theirs = _worst(result, OURS, figure), _worst(result, subject.name, figure)
            met = None if ours is None or theirs is None else (ours < most if most else ours == 0)
            found.append(Claim(f"{text}; beside {subject.name}", ours, theirs, target, met))
    return found


def _worst(result: Result, subject: str, figure: Callable[[Run], float]) -> float | None:
    return max((round(figure(run), 4) for run in result.of(subject)), default=None)


def rows(result: Result) -> list[dict[str, Any]]:
    """One for each gateway: median and worst over the seeds."""
    found = []
    for subject in SUBJECTS:
        runs = result.of(subject.name)
        row: dict[str, Any] = {"gateway": subject.name, "runs": len(runs)}
        for name, figure in _FIGURES.items():
            values = [figure(run) for run in runs]
            row[name] = f"{_number(median(values))} ({_number(max(values))})" if values else "-"
        found.append(row)
    return found


_FIGURES: Mapping[str, Callable[[Run], float]] = {
    "over %": lambda run: run.over_pct,
    "left %": lambda run: run.left_pct,
    "left after probes %": lambda run: run.left_after_probes_pct,
    "requests": lambda run: run.requests,
    "refused falsely": lambda run: run.refused_falsely,
    "by true tokens": lambda run: run.refused_with_money,
    "cut short": lambda run: run.cut_short,
    "s": lambda run: run.secs,
}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def as_json(result: Result, given: argparse.Namespace) -> str:
    """One object: date, machine, settings, claims, runs, absent."""
    whole = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": overhead.machine(processes.cores()),
        "settings": vars(given),
        "claims": claims(result),
        "runs": result.runs,
        "absent": result.absent,
    }
    return msgspec.json.encode(whole).decode()


def as_markdown(result: Result, given: argparse.Namespace) -> str:
    """Date, machine, both tables, what went wrong."""
    about = overhead.machine(processes.cores())
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {about['cpu']}, {about['cores']} cores, {about['memory_mib']} MiB, "
        f"Linux {about['kernel']}, Python {platform.python_version()}; {given.callers} callers, "
        f"{given.workers} workers, ${given.usd:g}, store {given.store}, seeds {given.seed} to "
        f"{given.seed + given.seeds - 1}; median (worst)."
    )
    found = [msgspec.structs.asdict(claim) for claim in claims(result)]
    notes = [f"- {name}: {reason}" for name, reason in result.absent.items()]
    for run in result.runs:
        notes.append(f"- {run.subject}, seed {run.seed}: refusals {run.refusals}, outcomes {run.outcomes}")
    return "\n\n".join([head, table(rows(result)), table(found), "\n".join(notes)])

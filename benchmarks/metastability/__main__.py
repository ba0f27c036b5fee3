"""python -m benchmarks.metastability: see README.md beside this file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import Any, get_args

from benchmarks.admission.arrivals import Trace, load
from benchmarks.admission.sweep import GATE, OPEN, OURS, Spec, capacity, fixed
from benchmarks.metastability.clients import BACK_S, Case, Fate, Found, Trigger, found, run
from benchmarks.sets import AbsentError
from benchmarks.tables import tell

TRACE = "azure_llm_2023_conv"
COUNT = 6_000
"""Requests whose lengths are drawn from."""
BASES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the capacity."""
LIMITS, WAITS = (16, 25, 32, 40, 50, 64, 80, 100, 128), (0.0, 0.5)
SEEDS = 3
"""Runs of each case; their clients count together."""
QUICK_BASES, QUICK_LIMITS = (0.5, 0.8), (32, 64)
SOUND = 0.9
"""Of what the best of all keeps at a load where nothing goes wrong, a setting must keep so much to count there: who
lets hardly anybody in has nothing to lose."""
GOAL = 0.9
"""Base load from which everything should come back."""
TRIGGERS: dict[Trigger, str] = {"load": "10 x the load for 30 s", "slow": "pods 5 x as slow for 30 s"}

_trace: Trace | None = None


def _begin(trace: Trace) -> None:
    global _trace
    _trace = trace


def _fates(case: Case) -> list[Fate]:
    assert _trace is not None
    return run(case, _trace.rows, _trace.setting)


Cell = tuple[Spec, Trigger, float]


def measure(trace: Trace, *, quick: bool, seed: int) -> dict[Cell, Found]:
    """Of every policy at every setting, what goes wrong, and base load."""
    rate = capacity(trace, seed).requests
    seeds = range(seed, seed + (1 if quick else SEEDS))
    specs = (OPEN, *fixed(trace.setting.replicas, QUICK_LIMITS if quick else LIMITS, WAITS), GATE)
    plans = list(product(specs, (None, *get_args(Trigger)), QUICK_BASES if quick else BASES))
    cases = [Case(base * rate, trigger, spec.make, one) for spec, trigger, base in plans for one in seeds]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_begin, initargs=(trace,)) as pool:
        ended = iter(list(pool.map(_fates, cases)))
    fates = {plan: [next(ended) for _ in seeds] for plan in plans}
    return {
        (spec, trigger, base): found(own, fates[spec, None, base])
        for (spec, trigger, base), own in fates.items()
        if trigger is not None
    }


def highest(cells: Mapping[Cell, Found], spec: Spec, trigger: Trigger) -> float | None:
    """The base load up to which it comes back from all; None: not from the lowest."""
    reached = None
    for base in sorted({base for _, _, base in cells}):
        most = max(one.calm_kept for (_, what, at), one in cells.items() if (what, at) == (trigger, base))
        one = cells[spec, trigger, base]
        if not one.well or one.calm_kept < SOUND * most:
            break
        reached = base
    return reached


def report(cells: Mapping[Cell, Found]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    reached: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    tried = list(dict.fromkeys(spec for spec, _, _ in cells))
    for trigger, what in TRIGGERS.items():
        tops: dict[str, float | None] = {}
        for kind in dict.fromkeys(spec.kind for spec in tried):
            own = [spec for spec in tried if spec.kind == kind]
            best = max(own, key=lambda spec: (highest(cells, spec, trigger) or 0.0, _kept(cells, spec, trigger)))
            top = tops[kind] = highest(cells, best, trigger)
            reached.append({"trigger": what, "policy": kind, "setting": best.name, "comes back up to": top})
            for (spec, _, base), one in ((cell, one) for cell, one in cells.items() if cell[:2] == (best, trigger)):
                rows.append(
                    {
                        "trigger": what,
                        "policy": spec.kind,
                        "setting": spec.name,
                        "base load": base,
                        "kept, nothing wrong": round(one.calm_kept, 3),
                        "kept": round(one.kept, 3),
                        "answers/s, nothing wrong": round(one.calm_goodput, 2),
                        "answers/s": round(one.goodput, 2),
                        "tries a client": round(one.tries, 2),
                        "back": one.well,
                    }
                )
        ours, other = tops[OURS], max((top or 0.0 for kind, top in tops.items() if kind != OURS), default=0.0)
        claims.append(
            {
                "claim": f"{what}: highest base load at which goodput is back at 95 % {BACK_S:g} s later",
                "ours": ours,
                "baseline": other or None,
                "ratio": round(ours / other, 3) if ours and other else None,
                "target": f">= {GOAL}",
                "met": (ours or 0.0) >= GOAL,
            }
        )
    return {"highest": reached, "loads": rows, "claims": claims}


def _kept(cells: Mapping[Cell, Found], spec: Spec, trigger: Trigger) -> float:
    return sum(one.calm_kept + one.kept for cell, one in cells.items() if cell[:2] == (spec, trigger))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metastability", description="Whether a pod comes back by itself."
    )
    parser.add_argument("--quick", action="store_true", help="two base loads, two limits, one run of each")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="tables (the default)")
    parser.add_argument("--seed", type=int, default=1, help="the first, of arrivals, clients and engines (1)")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help=f"of {TRACE}")
    asked = parser.parse_args(arguments)
    given = dict(one.partition("=")[::2] for one in asked.data)
    if not given.keys() <= {TRACE}:
        parser.error(f"--data: {', '.join(given)}: there is {TRACE}")
    try:
        trace = load(TRACE, given, COUNT, asked.seed)
    except AbsentError as error:
        print(f"metastability: {error}", file=sys.stderr)
        return 2
    made = report(measure(trace, quick=asked.quick, seed=asked.seed))
    tell(made, quick=asked.quick, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

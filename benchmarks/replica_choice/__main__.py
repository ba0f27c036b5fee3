"""python -m benchmarks.replica_choice: see README.md beside this file."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.options import options
from benchmarks.replica_choice import live
from benchmarks.replica_choice.policies import OURS, POLICIES, Request, trace
from benchmarks.replica_choice.run import Found, at, ceiling, drive
from benchmarks.sets import AbsentError, read
from benchmarks.tables import claim, tell

SETS = {"mooncake": "a_traffic/mooncake_conversation.parquet"}
PACES = (1.0, 1.5, 2.0)
"""As fast as the trace came."""
REPLICAS = 8
QUICK = 3000
"""Requests."""


def measure(rows: Sequence[dict[str, Any]], paces: Sequence[float], seed: int) -> dict[str, Any]:
    """Every policy at every pace, and what is claimed of the one that the README compares."""
    figures: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    for pace in paces:
        requests = trace(rows, pace)
        found = {name: drive(requests, make, REPLICAS, seed) for name, make in POLICIES.items()}
        figures += [_row(pace, name, one) for name, one in found.items()]
        claims += _claims(pace, found)
    return {"figures": figures, "trace": [_about(trace(rows, 1.0))], "claims": claims}


def _row(pace: float, name: str, found: Found) -> dict[str, Any]:
    return {
        "pace": pace,
        "policy": name,
        "hit rate": round(found.hit, 4),
        **{f"ttft p{round(100 * share)} s": round(at(found.ttft_s, share), 2) for share in (0.5, 0.95, 0.99)},
        **{f"end p{round(100 * share)} s": round(at(found.e2e_s, share), 2) for share in (0.5, 0.95)},
    }


def _about(requests: Sequence[Request]) -> dict[str, Any]:
    tokens = sum(one.prompt for one in requests)
    return {
        "requests": len(requests),
        "tokens of a prompt": round(tokens / len(requests)),
        "highest hit rate of any policy": round(ceiling(requests), 4),
    }


def _claims(pace: float, found: dict[str, Found]) -> list[dict[str, Any]]:
    ours = found[OURS]
    others = {name: one for name, one in found.items() if name != OURS}
    robin, best = others["round robin"], min(others, key=lambda name: at(others[name].ttft_s, 0.95))
    ours_s, robin_s, best_s = (at(one.ttft_s, 0.95) for one in (ours, robin, others[best]))
    return [
        claim(f"hit rate at pace {pace}, beside round robin", ours.hit, robin.hit, ">= 2 x", ours.hit >= 2 * robin.hit),
        claim(f"ttft p95 in s at pace {pace}, beside round robin", ours_s, robin_s, "<= 0.5 x", ours_s <= robin_s / 2),
        claim(f"ttft p95 in s at pace {pace}, beside the best ({best})", ours_s, best_s, "< 1 x", ours_s < best_s),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = options(
        "replica_choice",
        "Which of eight replicas a prompt goes to.",
        quick=f"the trace's first {QUICK} requests at one pace",
        seed="replicas and conversations",
        sets=SETS,
    )
    parser.add_argument("--live", action="store_true", help="two embedded engines in place of the trace")
    given = parser.parse_args(arguments)
    try:
        if given.live:
            processes.end_on_signals()
            with tempfile.TemporaryDirectory(prefix="tt-choice-") as folder:
                found = live.measure(Path(folder), quick=given.quick, seed=given.seed)
        else:
            rows = read("mooncake", SETS, dict(one.split("=", 1) for one in given.data))
            found = measure(rows[:QUICK] if given.quick else rows, (1.5,) if given.quick else PACES, given.seed)
    except (AbsentError, CannotRunError) as error:
        print(f"replica_choice: {error}", file=sys.stderr)
        return 2
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""python -m benchmarks.admission_live: see README.md beside this file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.admission_live import live, refusals, report
from benchmarks.admission_live.asks import SETS, lengths
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.sets import AbsentError
from benchmarks.tables import tell

LOADS = (0.5, 1.0, 2.0, 4.0)
STRETCH_S = 20.0
PARTS = ("live", "refusals")


def measure(given: argparse.Namespace, files: dict[str, str], folder: Path) -> dict[str, Any]:
    """Everything that was asked for. Raises AbsentError, CannotRunError."""
    told: dict[str, Any] = {}
    claims: list[dict[str, Any]] = []
    if "live" in given.only:
        found = live.run(_plan(given, lengths(files)), folder)
        told |= {"engine": report.engine(found), "policies": report.phases(found), "forecasts": report.forecasts(found)}
        claims += report.live_claims(found)
    if "refusals" in given.only:
        stretch_s = 2.0 if given.quick else STRETCH_S
        costs = [
            refusals.run(upstream, stretch_s, given.seed, folder / upstream.name)
            for upstream in ((refusals.NEAR,) if given.quick else (refusals.NEAR, refusals.FAR))
        ]
        told["refusal cost"] = report.costs(costs)
        claims += report.cost_claims(costs)
    return {**told, "claims": claims}


def _plan(given: argparse.Namespace, found: Sequence[tuple[int, int]]) -> live.Plan:
    if given.quick:
        return live.Plan(found, (2.0,), (0.5,), given.seconds or 6.0, 6, 10, 16, (2,), given.seed)
    waits = tuple(float(one) for one in given.waits.split(","))
    return live.Plan(found, LOADS, waits, given.seconds or 90.0, 60, 120, 30, live.TRIED, given.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.admission_live", description="The embedded engine under more than it can do."
    )
    parser.add_argument("--quick", action="store_true", help="one load, one setting of the baseline, within a minute")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--markdown", action="store_true", help="tables (the default)")
    parser.add_argument(
        "--seconds", type=float, help="in which requests come, of each policy at each load (90; quick 5)"
    )
    parser.add_argument(
        "--waits", default="0.5", help="of the baseline, shares of the time to first token (%(default)s)"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="one part alone")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals, lengths and texts (%(default)s)")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help=f"of {', '.join(SETS)}")
    given = parser.parse_args(arguments)
    given.only = given.only or PARTS
    files = dict(one.partition("=")[::2] for one in given.data)
    if not files.keys() <= SETS.keys():
        parser.error(f"--data: {', '.join(files)}: there is {', '.join(SETS)}")
    processes.end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="tt-live-") as folder:
            found = measure(given, files, Path(folder))
    except (AbsentError, CannotRunError) as error:
        print(f"admission_live: {error}", file=sys.stderr)
        return 2
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

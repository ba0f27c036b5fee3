"""python -m benchmarks.budgets: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.budgets import report
from benchmarks.budgets.callers import CALLERS, LIMIT_S, QUIET_S, Callers
from benchmarks.budgets.judge import Ledger, Run, judge
from benchmarks.budgets.subjects import NANO, SUBJECTS, Place, Subject, redis_server
from benchmarks.caller import chat_head
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError


def one_run(subject: Subject, place: Place, seed: int, callers: int) -> Run:
    """A budget from full to spent. Raises CannotRunError."""
    with subject.serve(place) as up:
        _tell(place.upstream, "POST", "/reset")
        work = Callers(up.port, chat_head(*up.headers), seed)

        async def spend() -> int:
            await work.spend(callers)
            await asyncio.sleep(QUIET_S)  # whatever is booked late is booked by then
            spent_at_ns = time.monotonic_ns()
            await work.probe()
            await asyncio.sleep(QUIET_S)
            return spent_at_ns

        began = time.monotonic()
        spent_at_ns = asyncio.run(spend())
        if not work.seen.in_time:
            raise CannotRunError(f"its budget was not spent within {LIMIT_S:.0f} s")
        end_ns, secs = time.monotonic_ns(), time.monotonic() - began
        ledger = Ledger(_tell(place.upstream, "GET", "/trace"), place.limit_nanousd)
    return judge(subject.name, seed, work.seen, ledger, spent_at_ns, end_ns, secs)


def _tell(port: int, method: str, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        return msgspec.json.decode(connection.getresponse().read())
    finally:
        connection.close()


def measure(given: argparse.Namespace, folder: Path) -> report.Result:
    """Every subject under every seed; the order turns by one from seed to seed."""
    chosen = [subject for subject in SUBJECTS if subject.name in given.subjects]
    runs: list[Run] = []
    absent: dict[str, str] = {}
    upstream = processes.free_port()
    model = [sys.executable, "-m", "benchmarks.scripted", str(upstream)]
    with processes.running(model, None, folder / "model.log"):
        for turn, seed in enumerate(range(given.seed, given.seed + given.seeds)):
            for place in range(len(chosen)):
                subject = chosen[(turn + place) % len(chosen)]
                if subject.name in absent:
                    continue
                try:
                    run = _fresh(subject, given, folder / f"{subject.name}-{seed}", upstream, seed)
                except CannotRunError as error:
                    absent[subject.name] = str(error)
                    print(f"{subject.name}: {error}", file=sys.stderr, flush=True)
                    continue
                runs.append(run)
                over, left = f"{run.over_pct:.3f} % over", f"{run.left_pct:.3f} % left"
                said = f"{subject.name}, seed {seed}: {over}, {left}, {run.refused_falsely} refused falsely"
                print(f"{said}, {run.secs:.0f} s", file=sys.stderr, flush=True)
    return report.Result(runs, absent)


def _fresh(subject: Subject, given: argparse.Namespace, folder: Path, upstream: int, seed: int) -> Run:
    folder.mkdir()
    with redis_server(folder) as redis:
        limit = round(given.usd * NANO)
        place = Place(folder, upstream, redis, limit, given.workers, given.store)
        return one_run(subject, place, seed, given.callers)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgets", description="How well a budget is kept.")
    parser.add_argument("--quick", action="store_true", help="one seed and a quarter of the money; no LiteLLM")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="takes none: all is made")
    parser.add_argument("--workers", type=int, default=3, help="processes of each gateway (default %(default)s)")
    parser.add_argument("--store", choices=["redis", "memory"], default="redis", help="where Trimtab keeps the budget")
    parser.add_argument("--subjects", nargs="+", choices=[one.name for one in SUBJECTS], help="default: all")
    parser.add_argument("--usd", type=float, help="the budget (default 0.22, --quick 0.055)")
    parser.add_argument("--callers", type=int, default=CALLERS, help="streams at once (default %(default)s)")
    parser.add_argument("--seeds", type=int, help="runs of each gateway (default 3, --quick 1)")
    parser.add_argument("--seed", type=int, default=1, help="the first (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.data:
        parser.error("--data: this benchmark reads no data")
    if given.store == "memory" and given.workers != 1:
        parser.error("--store memory: only with --workers 1")
    everyone = [one.name for one in SUBJECTS]
    given.subjects = given.subjects or (everyone[:-1] if given.quick else everyone)
    given.usd = given.usd or (0.055 if given.quick else 0.22)
    given.seeds = given.seeds or (1 if given.quick else 3)
    processes.end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="tt-money-") as temporary:
            result = measure(given, Path(temporary))
    except CannotRunError as error:
        print(f"budgets: {error}", file=sys.stderr)
        return 2
    print((report.as_json if given.json else report.as_markdown)(result, given))
    return 0


if __name__ == "__main__":
    sys.exit(main())

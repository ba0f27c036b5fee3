"""What requests feel of a compaction on the same machine."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from subprocess import DEVNULL, run
from threading import Event, Thread
from typing import Any, NamedTuple

from benchmarks.admission_live.client import Callers, open_loop
from benchmarks.admission_live.workspace import TRIMTAB
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.lake.rows import Rows, written
from benchmarks.served import Served, body, served
from benchmarks.tables import claim
from trimtab.controlplane.lake import Place, Table, ingest

COMMIT_ROWS = 2_000
"""Rows of one commit, so that there are many small files to join."""
PER_S = 60
TARGET = 2.0
"""How much longer a request may take at p99 than with nothing beside it."""


class Plan(NamedTuple):
    """`seconds` of each of `windows` with nothing beside the gateway, and of as many with a compaction."""

    rows: int
    seconds: float
    windows: int


FULL, QUICK = Plan(120_000, 20.0, 4), Plan(20_000, 5.0, 1)


class _Compacting:
    """Compactions one after another, each of the same small files. `done`: how many ended."""

    def __init__(self, loose: Path, workspace: Path) -> None:
        self.done = 0
        self._loose, self._workspace, self._over = loose, workspace, Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> _Compacting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            lake = self._workspace / "lake"
            shutil.rmtree(lake, ignore_errors=True)
            shutil.copytree(self._loose, lake)
            command = [TRIMTAB, "lake", "compact", "--workspace", str(self._workspace)]
            run(command, check=True, stdout=DEVNULL)
            self.done += 1


def beside(folder: Path, plan: Plan, seed: int) -> dict[str, Any]:
    """Windows with and without, in turn. Raises CannotRunError."""
    loose, records = folder / "loose", folder / "records"
    records.mkdir(parents=True)
    rows = Rows(seed, plan.rows, days=2)
    written(rows, records, plan.rows)
    ingest(records, Table(Place(url=str(loose))), folder / "staging.jsonl", source="gateway", batch_rows=COMMIT_ROWS)
    found: dict[bool, list[float]] = {False: [], True: []}
    joined = 0
    with served(folder, _with_lake) as up:
        _window(up, 2.0, 0)
        for number in range(plan.windows):
            found[False] += _window(up, plan.seconds, number)
            with _Compacting(loose, up.workspace) as behind:
                found[True] += _window(up, plan.seconds, number)
            joined += behind.done
            print(f"{number + 1} of {plan.windows} pairs of windows, {joined} compactions", file=sys.stderr)
    alone, with_it = (quantiles(found[one], n=100, method="inclusive") for one in (False, True))
    files = Table(Place(url=str(loose))).size().files
    figures = [
        {
            "beside": what,
            "requests": len(found[one]),
            "p50_ms": round(median(found[one]), 2),
            "p99_ms": round(at[98], 2),
        }
        for what, one, at in (("nothing", False, alone), (f"{joined} compactions of {files:,} files", True, with_it))
    ]
    what = "p99 of a request while the lake is compacted, ms, beside nothing"
    ratio = with_it[98] / alone[98]
    return {"figures": figures, "claims": [claim(what, with_it[98], alone[98], f"<= {TARGET} x", ratio <= TARGET)]}


def _with_lake(workspace: Path) -> None:
    path = workspace / "trimtab.yaml"
    path.write_text(path.read_text() + "lake: {url: lake}\n")


def _window(up: Served, seconds: float, number: int) -> list[float]:
    """What each request took, in ms from when it was due. Raises CannotRunError."""
    callers = Callers(up.port, (f"Authorization: Bearer {up.key}",))

    async def load() -> list[float]:
        count = int(seconds * PER_S)
        began = time.time_ns()
        seen = await open_loop([n / PER_S for n in range(count)], lambda n, due: callers.ask(body(began + n), due))
        if any(one.status != 200 for one in seen):
            raise CannotRunError("a request was not answered")
        callers.close()
        return [one.e2e_ms for one in seen]

    return asyncio.run(load())

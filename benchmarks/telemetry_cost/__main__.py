"""python -m benchmarks.telemetry_cost: see README.md beside this file."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import Process
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.admission_live.client import Callers, closed_loop
from benchmarks.gateway_overhead import admin, processes
from benchmarks.gateway_overhead import workspace as layout
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.options import options
from benchmarks.served import body, served
from benchmarks.tables import claim, tell
from trimtab.controlplane import records
from trimtab.controlplane.metrics import Counts, Declared
from trimtab.core.clock import SystemClock
from trimtab.core.record import Record
from trimtab.core.telemetry import Telemetry
from trimtab.surfaces.traces import open_traces

FULL, QUICK = 4000, 600
ROUNDS: Final = 5
TARGET: Final = 0.08


def measure(folder: Path, requests: int) -> dict[str, Any]:
    """Raises CannotRunError."""
    whole_us, rows = _gateway(folder, requests)
    costs = {
        "records (journal, synced in groups)": [_journal(folder / f"journal{n}", rows) for n in range(ROUNDS)],
        "metrics (counters, histograms, live quantiles)": [_metrics(rows) for _ in range(ROUNDS)],
        "traces (decision; 5 % are sent)": [
            _traces(rows, Telemetry(otlp=_COLLECTOR, slow=None)) for _ in range(ROUNDS)
        ],
        "traces (all are sent)": [_traces(rows, Telemetry(otlp=_COLLECTOR, share=1.0)) for _ in range(ROUNDS)],
    }
    figures = [{"part": "a request, all of it", "us of CPU": round(whole_us), "share": 1.0}]
    for name, found in costs.items():
        figures.append(
            {"part": name, "us of CPU": round(median(found), 1), "share": round(median(found) / whole_us, 4)}
        )
    added = sum(median(found) for name, found in costs.items() if "all are sent" not in name)
    what = "us of CPU of records, metrics and traces, of a request's"
    row = claim(what, added, whole_us, f"<= {TARGET} x", added <= TARGET * whole_us)
    return {"figures": figures, "claims": [row]}


def _gateway(folder: Path, requests: int) -> tuple[float, list[Record]]:
    """CPU of one request of a served gateway in us, and the records of all."""
    with served(folder) as up:

        async def load(count: int) -> None:
            callers = Callers(up.port, (f"Authorization: Bearer {up.key}",))
            seen = await closed_loop(4, count, lambda number: callers.ask(body(number)))
            callers.close()
            if any(one.status != 200 for _, one in seen):
                raise CannotRunError("a request was not answered")

        asyncio.run(load(100))
        before, since_ns = processes.cpu_s(up.pid), time.time_ns()
        asyncio.run(load(requests))
        took_s = processes.cpu_s(up.pid) - before
        if admin.exchange(up.workspace, "POST", "/records/flush")[0] != 200:
            raise CannotRunError("the gateway's records can't be flushed")
    rows = [one for one in records.rows(up.workspace / "var" / "records") if one.t_wall_ns >= since_ns]
    return took_s / requests * 1e6, rows


def _timed(work: Callable[[], None], count: int) -> float:
    """us of CPU of this process for each of so many, its threads included."""
    before_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - before_ns) / count / 1000


def _journal(folder: Path, rows: Sequence[Record]) -> float:
    journal = records.Journal(folder, 0, SystemClock())

    def work() -> None:
        for row in rows:
            journal.write(row)
        journal.close()

    return _timed(work, len(rows))


def _metrics(rows: Sequence[Record]) -> float:
    declared = Declared(channels={layout.TENANT: frozenset({layout.CHANNEL})}, variants=frozenset({"mock-plain"}))
    counts = Counts(lambda: declared, SystemClock())

    def work() -> None:
        for row in rows:
            counts.write(row)

    return _timed(work, len(rows))


def _traces(rows: Sequence[Record], telemetry: Telemetry) -> float:
    """As they come: a pause for the task that sends them after every hundred."""

    async def main() -> None:
        traces = open_traces(telemetry, Path(), 0, SystemClock(), lambda row: None)
        assert traces is not None
        for number, row in enumerate(rows):
            traces.write(row)
            if number % 100 == 99:
                await asyncio.sleep(0.02)
        await traces.close()

    return _timed(lambda: asyncio.run(main()), len(rows))


class _Collector(BaseHTTPRequestHandler):
    """Takes everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


_PORT: Final = processes.free_port()
_COLLECTOR: Final = f"http://127.0.0.1:{_PORT}"


def _collect() -> None:
    HTTPServer(("127.0.0.1", _PORT), _Collector).serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claim says; 2 when it can't be."""
    parser = options(
        "telemetry_cost",
        "CPU of records, metrics and traces, of a request's.",
        quick=f"{QUICK} requests in place of {FULL}",
    )
    given = parser.parse_args(arguments)
    collector = Process(target=_collect, daemon=True)
    collector.start()
    try:
        processes.end_on_signals()
        with tempfile.TemporaryDirectory(prefix="tt-telemetry-") as folder:
            found = measure(Path(folder), QUICK if given.quick else FULL)
    except CannotRunError as error:
        print(f"telemetry_cost: {error}", file=sys.stderr)
        return 2
    finally:
        collector.terminate()
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""python -m benchmarks.soak: see README.md beside this file."""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead import workspace as layout
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.soak import report
from benchmarks.soak.load import Done, Order
from benchmarks.soak.watch import Held, flush, gateway_pid, idle, read_records

CYCLES = 3
CALLERS = 2
"""Processes that send."""
WARMING = 1_000
"""Requests before the baseline: by then all that is made once has been."""
TRIMTAB = Path(sys.executable).with_name("trimtab")
_TWO_REPLICAS = 'endpoint: ["http://127.0.0.1:{port}/a/v1", "http://127.0.0.1:{port}/b/v1"]'
_ONE = 'endpoint: "http://127.0.0.1:{port}/v1"'


class Running(NamedTuple):
    """What is up: ports, the gateway process, its workspace and key."""

    port: int
    upstream: int
    pid: int
    workspace: Path
    key: str


class Cycle(NamedTuple):
    """One cycle: what its callers saw, the latencies of its plain requests as (seconds, ms), what was held after it."""

    done: Done
    latencies: list[tuple[float, float]]
    after: Held


@contextmanager
def serving(folder: Path) -> Iterator[Running]:
    """The model's server and `trimtab serve` in front of it, two replicas of one model."""
    cores, upstream, port = processes.cores(), processes.free_port(), processes.free_port()
    workspace, log = folder / "ws", folder / "serve.log"
    key = layout.write(str(TRIMTAB), workspace, upstream)
    models = (workspace / "models.yaml").read_text()
    (workspace / "models.yaml").write_text(
        models.replace(_ONE.format(port=upstream), _TWO_REPLICAS.format(port=upstream))
    )
    model = [sys.executable, "-m", "benchmarks.scripted", str(upstream), "--untraced"]
    serve = [str(TRIMTAB), "serve", "--workspace", str(workspace), "--port", str(port)]
    with (
        processes.running(model, cores.rest, folder / "model.log"),
        processes.running(serve, cores.gateway, log) as supervisor,
    ):
        until = time.monotonic() + 60
        while "Trimtab serves at" not in log.read_text():
            if supervisor.poll() is not None or time.monotonic() > until:
                raise CannotRunError(f"the gateway does not start: {log.read_text()}")
            time.sleep(0.1)
        yield Running(port, upstream, gateway_pid(supervisor.pid), workspace, key)


def load(running: Running, folder: Path, given: argparse.Namespace, first: int, end: int) -> tuple[Done, array[float]]:
    """All requests from `first` up to `end`, by all callers; their latencies in pairs."""
    children, files = [], []
    for number in range(CALLERS):
        files.append(folder / f"latencies-{number}")
        order = Order(
            port=running.port,
            key=running.key,
            seed=given.seed,
            first=first + number,
            step=CALLERS,
            end=end,
            connections=given.connections // CALLERS,
            latencies=str(files[-1]),
        )
        command = [sys.executable, "-m", "benchmarks.soak.load", msgspec.json.encode(order).decode()]
        children.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=processes.pinned(processes.cores().rest))
        )
    told = []
    try:
        for child in children:
            out, _ = child.communicate()
            if child.returncode:
                raise CannotRunError("the load failed: see above")
            told.append(msgspec.json.decode(out, type=Done))
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
    latencies = array("d")
    for file in files:
        latencies.frombytes(file.read_bytes())
    return _together(told), latencies


def _together(told: Sequence[Done]) -> Done:
    kinds, outcomes = Counter[str](), Counter[str]()
    for one in told:
        kinds.update(one.kinds)
        outcomes.update(one.outcomes)
    sums = {
        name: sum(getattr(one, name) for one in told) for name in ("sent", "prompt", "completion", "whole", "refused")
    }
    return Done(kinds=dict(kinds), outcomes=dict(outcomes), secs=max(one.secs for one in told), **sums)


def _ledger(port: int) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/ledger")
        found: dict[str, int] = msgspec.json.decode(connection.getresponse().read())
        return found
    finally:
        connection.close()


def soak(given: argparse.Namespace, folder: Path) -> report.Result:
    """Warm, then three times load and idle."""
    per_cycle = given.requests // CYCLES
    with serving(folder) as running:
        warm, _ = load(running, folder, given, 0, WARMING)
        base = idle(running.pid, running.workspace, given.idle, None)
        cycles: list[Cycle] = []
        number = WARMING
        for turn in range(CYCLES):
            done, pairs = load(running, folder, given, number, number + per_cycle)
            number += per_cycle
            after = idle(running.pid, running.workspace, given.idle, base)
            cycles.append(Cycle(done, list(zip(pairs[::2], pairs[1::2], strict=True)), after))
            held = f"{after.rss_mib:.1f} MiB, {after.tasks} tasks, {after.fds} fds"
            seen = f"cycle {turn + 1} of {CYCLES}: {done.sent / done.secs:,.0f} requests/s, {held}"
            print(seen, file=sys.stderr, flush=True)
        flush(running.workspace)
        ledger = _ledger(running.upstream)
    told = read_records(running.workspace / "var" / "records")
    return report.Result(warm, base, cycles, ledger, told)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="What many requests leave behind.")
    parser.add_argument("--requests", type=int, help="in all three cycles (default 1,000,000; --quick 15,000)")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--markdown", action="store_true", help="what stands under Figures in the README")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="takes none: all is made")
    parser.add_argument("--connections", type=int, default=32, help="requests at once (default %(default)s)")
    parser.add_argument("--idle", type=float, help="seconds without load after each cycle (default 20; --quick 5)")
    parser.add_argument("--folder", type=Path, help="where the records go; 5 GB a million (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if given.data:
        parser.error("--data: this benchmark reads no data")
    given.requests = given.requests or (15_000 if given.quick else 1_000_000)
    given.idle = given.idle if given.idle is not None else (5.0 if given.quick else 20.0)
    if given.requests < CYCLES:
        parser.error(f"--requests: {CYCLES} at least, one a cycle")
    processes.end_on_signals()
    os.sched_setaffinity(0, {processes.cores().rest})
    try:
        with tempfile.TemporaryDirectory(prefix="tt-soak-", dir=given.folder) as temporary:
            result = soak(given, Path(temporary))
    except CannotRunError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    write = report.as_json if given.json else report.as_markdown
    print(write(result, given.requests))
    return 0


if __name__ == "__main__":
    sys.exit(main())

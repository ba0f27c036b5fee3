"""The gateway is killed (SIGKILL) at random moments under load, and what is lost is counted.

python -m benchmarks.soak.kills [--kills N] [--quick] [--seed N] [--json]
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import tables
from benchmarks.gateway_overhead import admin, processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.soak.__main__ import Running, serving
from benchmarks.soak.watch import flush, gateway_pid
from trimtab.controlplane import records

CALLERS = 6
WINDOW_MS = 100
RESTART_S = 0.3
"""No gateway answers within this time of the kill of the one before."""
BETWEEN_S = (0.3, 3.0)
"""From a restarted gateway's first answer to the next kill, drawn evenly."""


class Callers:
    """Ask without a pause; when each was sent and had its answer whole, by record."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.answered: dict[str, tuple[float, float]] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]

    def __enter__(self) -> Callers:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def more(self, count: int) -> None:
        """Wait for so many answers more. Raises CannotRunError."""
        wanted, until = len(self.answered) + count, time.monotonic() + 60
        while len(self.answered) < wanted:
            if time.monotonic() > until:
                raise CannotRunError("the gateway answers no more")
            time.sleep(0.01)

    def _call(self, caller: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            content = f"say-n16 {caller} {number}"
            body = msgspec.json.encode({"messages": [{"role": "user", "content": content}], "temperature": 1})
            headers = {"authorization": f"Bearer {self._running.key}", "content-type": "application/json"}
            connection = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=30)
            sent = time.monotonic()
            try:
                connection.request("POST", "/v1/chat/completions", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered[answer.headers["trimtab-record"]] = sent, time.monotonic()
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()


def run(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill so many times; what was there afterwards."""
    chance, killed = random.Random(seed), list[float]()
    with serving(folder) as running:
        supervisor, pid = _parent(running.pid), 0
        with Callers(running) as callers:
            for _ in range(kills):
                pid = _after(pid, supervisor)
                callers.more(1)
                time.sleep(chance.uniform(*BETWEEN_S))
                killed.append(time.monotonic())
                os.kill(pid, signal.SIGKILL)
            callers.more(20)
        flush(running.workspace)
        _, body = admin.exchange(running.workspace, "GET", "/budgets")
        month = next(row for row in msgspec.json.decode(body)["budgets"] if row["period"] == "month")
    place = running.workspace / "var" / "records"
    report, rows = records.verify(place), list(records.rows(place))
    there = {row.id for row in rows}
    lost = [times for one, times in callers.answered.items() if one not in there]
    ages = [1000 * age_s(sent, at, killed) for sent, at in lost]
    return {
        "answered": len(callers.answered),
        "lost": len(lost),
        "oldest_ms": max(ages, default=0.0),
        "twice": len(rows) - len(there),
        "problems": report.problems,
        "rows_nanousd": sum(row.cost.settled_nanousd or 0 for row in rows),
        "spent_nanousd": month["settled_nanousd"] + month["in_doubt_nanousd"],
        "settled_nanousd": month["settled_nanousd"],
    }


def age_s(sent: float, answered: float, killed: Sequence[float]) -> float:
    """How long before its kill a row's answer was whole. It is the first kill after the request was sent, for an answer
    may be read a moment after who gave it is gone; a later one where a request waited for the next gateway."""
    kill = next((one for one in killed if one >= sent and answered <= one + RESTART_S), None)
    return float("inf") if kill is None else max(0.0, kill - answered)


def claims(found: dict[str, Any], kills: int) -> list[dict[str, Any]]:
    """One row a claim, as in the other tables."""

    def row(claim: str, ours: Any, target: str, met: bool) -> dict[str, Any]:
        return {"claim": claim, "ours": ours, "baseline": None, "ratio": None, "target": target, "met": met}

    oldest = round(found["oldest_ms"], 1)
    return [
        row(
            f"{kills} kills, {found['answered']:,} answers, {found['lost']:,} without a row: age of the oldest (ms)",
            oldest,
            f"<= {WINDOW_MS}",
            oldest <= WINDOW_MS,
        ),
        row("rows that are there twice", found["twice"], "0", not found["twice"]),
        row("problems of the chain over all starts", len(found["problems"]), "0", not found["problems"]),
        row(
            "cost of all rows, against spent and in doubt (nano-dollars)",
            found["rows_nanousd"],
            f"<= {found['spent_nanousd']}",
            found["rows_nanousd"] <= found["spent_nanousd"],
        ),
    ]


def _after(killed: int, supervisor: int) -> int:
    """The gateway that came after the one that was killed. Raises CannotRunError."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(ValueError, OSError):  # there is none at the moment
            if (pid := gateway_pid(supervisor)) != killed:
                return pid
        time.sleep(0.02)
    raise CannotRunError("the gateway is not started again")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.kills", description="What kill -9 loses.")
    parser.add_argument("--kills", type=int, help="how many (default 200; --quick 5)")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    kills = given.kills or (5 if given.quick else 200)
    processes.end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="tt-kills-") as temporary:
            found = run(kills, given.seed, Path(temporary))
    except CannotRunError as error:
        print(f"kills: {error}", file=sys.stderr)
        return 2
    tables.tell({"kills": claims(found, kills)}, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

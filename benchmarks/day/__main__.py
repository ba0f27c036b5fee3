"""python -m benchmarks.day: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.day.engine import Engine
from benchmarks.day.population import Asked, arrivals, at_random, popular, read
from benchmarks.gateway_overhead import workspace
from benchmarks.gateway_overhead.scenarios import BY_NAME, Prompts
from benchmarks.sets import AbsentError
from trimtab.controlplane.evaluate import read_golden
from trimtab.controlplane.registry import load, write_example
from trimtab.core.clock import Clock, SystemClock
from trimtab.core.record import Record
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane import wiring
from trimtab.dataplane.inference import Origin, Replica
from trimtab.dataplane.pipeline import answer
from trimtab.foundations.embed import create_embedder
from trimtab.surfaces.inprocess import Silent, arrival, chat_request, keyed, open_plane, unlimited
from trimtab.surfaces.twin import VirtualClock, run_virtual

CANNOT_RUN = 2
SERVED = 0.55
STAGES = ("guard_in", "classify", "decide", "cache", "route")
BUDGET_US = 588.0
"""Of a core, for a whole request: 1,700 requests/s, the aim of benchmarks/gateway_overhead."""
OTHERS = ("ingress", "bind", "admit", "reserve", "retrieve", "infer", "guard_out", "settle")


class Rows:
    """A sink that keeps every record."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)


class LoopClock(SystemClock):
    """Time is what the event loop's thread has computed: a stage's row in the record is then its CPU, waits left out.
    One request at a time, or one would be charged for another."""

    now_ns = staticmethod(time.thread_time_ns)


class ProcessClock(SystemClock):
    """The same of all threads: what is done off the event loop counts too."""

    now_ns = staticmethod(time.process_time_ns)


class Gateway:
    """A workspace's pipeline over the engine of this process."""

    def __init__(self, folder: Path, tenancy: Tenancy, keys: dict[str, str], clock: Clock, *, paced: bool) -> None:
        self._folder, self._tenancy, self._keys, self._clock = folder, tenancy, keys, clock
        self.engine, self.sink = Engine(paced=paced), Rows()

    @classmethod
    def of(cls, folder: Path, clock: Clock, *, paced: bool) -> Gateway:
        tenancy, keys = keyed(unlimited(load(folder).snapshot.tenancy))
        return cls(folder, tenancy, keys, clock, paced=paced)

    async def open(self) -> None:
        embedder = create_embedder("nano", self._clock)
        workspace = load(self._folder)
        self.plane = await open_plane(
            workspace, self._tenancy, clock=self._clock, embedder=embedder, dialer=self.engine, sink=self.sink
        )
        origin = Origin.parse("http://engine.invalid:1")
        models = workspace.snapshot.release.models
        replicas = {name: [Replica(id=name, model=name, origin=origin, path="/v1/chat/completions")] for name in models}
        wiring.set_fleet(self.plane, replicas)

    async def ask(self, tenant: str, channel: str, text: str) -> None:
        messages = [{"role": "user", "content": text}]
        request = chat_request(self._keys[tenant], channel, messages, {})
        await answer(request, arrival(self._clock), Silent(), self.plane)


def replay(folder: Path, asked: Sequence[Asked]) -> list[Record]:
    """The day on virtual time: arrivals, caches and queues as they would be, in minutes."""

    async def main() -> list[Record]:
        loop = asyncio.get_running_loop()
        gateway = Gateway.of(folder, VirtualClock(loop), paced=True)
        await gateway.open()
        began, running = loop.time(), set()
        for one in asked:
            await asyncio.sleep(max(0.0, began + one.at_s - loop.time()))
            task = asyncio.create_task(gateway.ask(one.tenant, one.channel, one.text))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        return gateway.sink.records

    return run_virtual(main)


def served_by(record: Record) -> str:
    """What made the answer: a store, the tier whose model was asked, no model at all (quote or template), or nobody."""
    if record.status != 200:
        return "refused"
    if record.path is not None and record.path.startswith("cache"):
        return "cache"
    tier = record.tier or (record.plans[0].tier if record.attempts and record.plans else None)
    return tier or "no model"


def plain_cache_share(folder: Path, asked: Sequence[Asked]) -> float:
    """What a store of answers by the text as it was typed would serve, with the channels' own times to live."""
    tenants = load(folder).snapshot.tenancy.tenants
    kept: dict[tuple[str, str, str], float] = {}
    hits = 0
    for one in asked:
        place = (one.tenant, one.channel, one.text)
        terms = tenants[one.tenant].channels[one.channel].cache
        if terms.reuse and kept.get(place, -1.0) > one.at_s:
            hits += 1
        else:
            kept[place] = one.at_s + terms.ttl_s
    return hits / len(asked)


async def _cpu(folder: Path, clock: Clock, texts: Sequence[tuple[str, str, str]]) -> dict[str, list[float]]:
    """Microseconds of each stage, for each request that went through it; one after the other, no two equal."""
    gateway = Gateway.of(folder, clock, paced=False)
    await gateway.open()
    for number, (tenant, channel, text) in enumerate([*texts[:20], *texts]):
        await gateway.ask(tenant, channel, text if number >= 20 else f"{text} ({number})")
    found: dict[str, list[float]] = {}
    for record in gateway.sink.records[20:]:
        for name, (_, ms) in record.stages.items():
            found.setdefault(name, []).append(ms * 1000)
        own = sum(record.stages[name][1] for name in STAGES if name in record.stages)
        found.setdefault("these five", []).append(own * 1000)
    return found


def _text(line: bytes) -> str:
    text: str = json.loads(line)["messages"][0]["content"]
    return text


class Bench:
    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder = given, folder
        self.data = dict(one.split("=", 1) for one in given.data)
        self.rows: list[dict[str, Any]] = []
        self.claims: list[dict[str, Any]] = []
        self.notes: list[str] = []
        golden = read_golden(folder).questions
        self.golden = [(one.tenant, one.channel, one.question) for one in golden]
        self.texts = self.golden
        """What the stages are timed on: other people's questions where there are any."""

    def run(self) -> None:
        chosen = random.Random(self.given.seed)
        try:
            at = arrivals(read("traffic", self.data), self.given.day, self.given.requests, chosen)
        except AbsentError as error:
            self.notes.append(f"{error}; arrivals are even instead")
            at = [number * 86_400 / self.given.requests for number in range(self.given.requests)]
        for exponent in self.given.exponents:
            asked = at_random(at, popular(self.golden, exponent, random.Random(self.given.seed)))
            self._day(f"golden questions, Zipf {exponent:g}", asked, claimed=True)
        try:
            self._customers(at, chosen)
        except AbsentError as error:
            self.notes.append(str(error))
        self._cpu()

    def _customers(self, at: Sequence[float], chosen: random.Random) -> None:
        """Questions of another shop's customers, that our example has never seen, each asked once."""
        texts = list(dict.fromkeys(row["utterance"] for row in read("questions", self.data)))
        chosen.shuffle(texts)
        texts = texts[: 300 if self.given.quick else 3000]
        tenant, channel = self.golden[0][:2]
        times = sorted(chosen.sample(list(at), min(len(texts), len(at))))
        self.texts = [(tenant, channel, text) for text in texts]
        self._day("customers of another shop, each text once", at_random(times, iter(self.texts)), claimed=False)

    def _day(self, name: str, asked: Sequence[Asked], *, claimed: bool) -> None:
        began = time.monotonic()
        records = replay(self.folder, asked)
        by = Counter(served_by(record) for record in records)
        share = (by["cache"] + by["no model"] + by["S"]) / len(records)
        floor = plain_cache_share(self.folder, asked)
        took = sorted(record.e2e_ms or 0.0 for record in records)
        row = {"day": name, "requests": len(records)}
        row |= {who: round(by[who] / len(records), 4) for who in ("cache", "no model", "S", "M", "L", "refused")}
        row |= {"at most S": round(share, 4), "p95 ms": round(took[int(0.95 * len(took))])}
        self.rows.append(row)
        if claimed:
            self.claims.append(
                {
                    "claim": f"served by cache, without a model or by tier S, {name}",
                    "ours": round(share, 4),
                    "baseline": round(floor, 4),
                    "ratio": round(share / floor, 3) if floor else None,
                    "target": SERVED,
                    "met": share >= SERVED,
                }
            )
        print(f"{name}: {len(records)} requests in {time.monotonic() - began:.0f} s", file=sys.stderr)

    def _cpu(self) -> None:
        texts = self.texts
        loop = asyncio.run(_cpu(self.folder, LoopClock(), texts))
        whole = asyncio.run(_cpu(self.folder, ProcessClock(), texts[: len(texts) // 4]))
        for name in (*STAGES, "these five", *OTHERS):
            if name in loop:
                row = {"stage": name, "requests": len(loop[name])}
                for what, found in (("loop", loop[name]), ("all threads", whole.get(name, [0.0]))):
                    ordered = sorted(found)
                    row[f"{what} median us"] = round(median(ordered), 1)
                    row[f"{what} p99 us"] = round(ordered[int(0.99 * len(ordered))], 1)
                self.rows.append(row)
        self._within(median(loop["these five"]), "the workspace's channel")
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "workspace"
            workspace.write(str(Path(sys.executable).with_name("trimtab")), place, 9)
            lines = Prompts().bodies(BY_NAME["s1_c16"], "auto").splitlines()
            asked = [(workspace.TENANT, workspace.CHANNEL, _text(line)) for line in lines]
            found = asyncio.run(_cpu(place, LoopClock(), asked))["these five"]
        self._within(median(found), "the channel of gateway_overhead, 1 KB prompts")

    def _within(self, total: float, where: str) -> None:
        self.claims.append(
            {
                "claim": f"guard, classify, decide, cache and route: CPU us, median (less is better), {where}",
                "ours": round(total, 1),
                "baseline": BUDGET_US,
                "ratio": round(total / BUDGET_US, 3),
                "target": BUDGET_US,
                "met": total <= BUDGET_US,
            }
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, 2 when it can't be."""
    given = _parse(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.workspace
        if folder is None:
            folder = Path(temporary) / "workspace"
            write_example(folder)
        bench = Bench(given, folder)
        if not bench.golden:
            print("day: the workspace has no golden questions", file=sys.stderr)
            return CANNOT_RUN
        bench.run()
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if given.json:
        told = {"date": date, "machine": machine, "quick": given.quick, "claims": bench.claims}
        print(json.dumps({**told, "rows": bench.rows, "notes": bench.notes}))
        return 0
    print(f"{date}, {machine}")
    for rows in (
        [row for row in bench.rows if "day" in row],
        [row for row in bench.rows if "stage" in row],
        bench.claims,
    ):
        print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        for row in rows:
            print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print("\n".join(["", *bench.notes]))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description="A day of requests, replayed.")
    parser.add_argument("--quick", action="store_true", help="fewer requests, within a minute")
    parser.add_argument("--json", action="store_true", help="one object with the claims")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="traffic=, questions=")
    parser.add_argument("--workspace", type=Path, help="another workspace and its golden set (default: the example)")
    parser.add_argument("--requests", type=int, help="of the day (20,000; 2,000 under --quick)")
    parser.add_argument("--day", type=int, default=3, help="of the fourteen in the trace (3)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    given.requests = given.requests or (2000 if given.quick else 20_000)
    given.exponents = (0.8,) if given.quick else (0.0, 0.64, 0.8)
    return given


if __name__ == "__main__":
    sys.exit(main())

"""python -m benchmarks.growth: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import json
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.gateway_overhead import workspace as layout
from trimtab.controlplane.registry import Workspace, load, write_example
from trimtab.core.clock import SystemClock
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.ledger import Ledger
from trimtab.core.money import Usage
from trimtab.core.request import Request
from trimtab.core.tenancy import Key, KeyEntry, Limits, Rate, Tenancy, Tenant
from trimtab.dataplane import wiring
from trimtab.dataplane.cache import Entry
from trimtab.dataplane.inference import Dialer, Origin, Replica
from trimtab.dataplane.pipeline import decide
from trimtab.dataplane.plane import DataPlane
from trimtab.dataplane.policy import PolicyDocument, Rule, compile_policy
from trimtab.dataplane.run import Run
from trimtab.foundations.embed import create_embedder
from trimtab.surfaces.inprocess import CHAT, Nowhere, Silent, arrival, chat_request, open_plane

FLAT = 1.2
TENANTS = 250
WARMING = 1500
"""Requests of each case before it is measured: by then nearly every tenant has asked."""
_RATE = Limits(requests=Rate(per_s=1_000_000, burst=1_000_000), tokens=Rate(per_s=1_000_000_000, burst=1_000_000_000))
_SAID = (
    "order parcel return voucher shoes size refund invoice address payment gift card delivery store opening hours "
    "jacket colour late damaged exchange account password stock receipt warranty customer service weekend why how "
    "compare"
)
_WORDS = tuple(re.findall(r"\w+", _SAID))


class Nobody:
    """A dialer that is never asked: the benchmark ends where a plan is chosen."""

    async def send(self, *_: Any) -> Any:
        raise AssertionError("no model is asked")

    async def close(self) -> None: ...


def tenancy_of(workspace: Workspace, keys: int) -> tuple[Tenancy, list[str]]:
    """TENANTS tenants like the workspace's one, with so many keys, each with rates of its own; and the keys' texts."""
    (model,) = workspace.snapshot.tenancy.tenants.values()
    entries, texts = {}, []
    tenants = {f"t{number:03d}": msgspec.structs.replace(model, id=f"t{number:03d}") for number in range(TENANTS)}
    everyone: list[Tenant] = list(tenants.values())
    for number in range(keys):
        text = make("test")
        digest = hash_key(text)
        key = Key(id=key_id(digest), name=f"k{number}", sha256=digest, last4=text[-4:], limits=_RATE)
        entries[digest] = KeyEntry(everyone[number % TENANTS], key)
        texts.append(text)
    return msgspec.structs.replace(workspace.snapshot.tenancy, tenants=tenants, keys=entries), texts


def ruled(workspace: Workspace, rules: int, *, scoped: bool) -> Workspace:
    """With so many rules in all: the shipped ones, and others of one tenant each (`scoped`), or of everybody."""
    release = workspace.snapshot.release
    document = release.policy.document
    more = []
    for number in range(rules - len(document.rules)):
        about = f"complexity > {0.2 + 0.0007 * number:.4f} && prompt_tokens > {number}"
        when = f'tenant == "t{number % TENANTS:03d}" && {about}' if scoped else about
        then = document.rules[0].then.__class__(prefer=["tier:S"])
        more.append(Rule(id=f"more-{number}", at="decide", when=when, then=then))
    policy = compile_policy(PolicyDocument(rules=[*document.rules, *more]))
    snapshot = msgspec.structs.replace(workspace.snapshot, release=msgspec.structs.replace(release, policy=policy))
    return msgspec.structs.replace(workspace, snapshot=snapshot)


class Case:
    """One size of one thing: a plane, and the requests that it is asked."""

    def __init__(self, what: str, size: int, plane: DataPlane, ask: Callable[[int], Request]) -> None:
        self.what, self.size, self.plane, self.ask = what, size, plane, ask
        self.took_us: list[float] = []

    async def once(self, number: int) -> Run:
        """Decide one request; the CPU of its thread."""
        request, plane = self.ask(number), self.plane
        run = Run(Ledger(plane.clock, arrival(plane.clock), plane.ids.record_id()), Silent(), plane)
        began = time.thread_time_ns()
        await decide(request, run)
        self.took_us.append((time.thread_time_ns() - began) / 1000)
        return run


class Bench:
    def __init__(self, folder: Path, quick: bool, seed: int, rounds: int) -> None:
        self.workspace, self.quick, self.rounds = load(folder), quick, rounds
        self.random = random.Random(seed)
        self.clock = SystemClock()
        self.embedder = create_embedder("hash", self.clock)
        self.claims: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []

    async def plane(self, workspace: Workspace, tenancy: Tenancy, cache_bytes: int = wiring.CACHE_BYTES) -> DataPlane:
        dialer: Dialer = Nobody()
        plane = await open_plane(
            workspace,
            tenancy,
            clock=self.clock,
            embedder=self.embedder,
            dialer=dialer,
            sink=Nowhere(),
            cache_bytes=cache_bytes,
        )
        replica = Replica(id="m", model=layout.MODEL, origin=Origin.parse("http://engine.invalid:1"), path=CHAT)
        wiring.set_fleet(plane, {layout.MODEL: [replica]})
        return plane

    def asking(self, keys: Sequence[str], most_words: int = 60) -> Callable[[int], Request]:
        """Requests of random keys, no two alike; the shorter ones are simple enough for the cache."""

        def ask(number: int) -> Request:
            return self.request(self.random.choice(keys), f"{number} {self.words(self.random.randint(5, most_words))}")

        return ask

    def words(self, count: int) -> str:
        return " ".join(self.random.choices(_WORDS, k=count))

    def request(self, key: str, text: str) -> Request:
        return chat_request(key, layout.CHANNEL, [{"role": "user", "content": text}], {})

    async def keys(self) -> None:
        cases = []
        for size in self.sizes(1_000, 10_000, 100_000):
            tenancy, texts = tenancy_of(self.workspace, size)
            plane = await self.plane(self.workspace, tenancy)
            for entry in tenancy.keys.values():  # every key has been used
                assert plane.limiter.charge_request(entry) is None
            cases.append(Case("keys", size, plane, self.asking(texts)))
        await self.measure(cases)

    async def rules(self) -> None:
        for scoped in (True, False):
            cases = []
            for size in self.sizes(10, 100, 1_000):
                changed = ruled(self.workspace, size, scoped=scoped)
                tenancy, texts = tenancy_of(changed, 1000)
                what = "rules, each of one tenant" if scoped else "rules, each of everybody"
                cases.append(Case(what, size, await self.plane(changed, tenancy), self.asking(texts)))
            await self.measure(cases, claimed=scoped)

    async def entries(self) -> None:
        """Cache entries; asked for what is there, and for what is not."""
        there, absent = [], []
        tenancy, texts = tenancy_of(self.workspace, 1000)
        for size in self.sizes(1_000, 100_000, 1_000_000):
            plane = await self.plane(self.workspace, tenancy, cache_bytes=size * 4096)
            known = await self.fill(plane, size, texts)

            def ask(_: int, known: Sequence[tuple[str, str]] = known) -> Request:
                return self.request(*self.random.choice(known))

            there.append(Case("cache entries, hits", size, plane, ask))
            absent.append(Case("cache entries, misses", size, plane, self.asking(texts, 10)))
        await self.measure(there)
        await self.measure(absent)

    async def fill(self, plane: DataPlane, size: int, keys: Sequence[str]) -> list[tuple[str, str]]:
        """So many answers; the questions of some of them, with who asked."""
        known = []
        fill = Case("", size, plane, self.asking(keys))
        (variant,) = plane.configuration.catalogue.variants.values()
        for number in range(size):
            message = {
                "role": "assistant",
                "content": f"Answer {number}: " + " ".join(self.random.choices(_WORDS, k=8)),
            }
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            later = self.clock.now_ns() + 3600 * 10**9
            usage = Usage(prompt=40, completion=12)
            entry = Entry.of(data={"choices": [choice]}, usage=usage, variant=variant, expires_ns=later)
            if number < 500:
                key, text = self.random.choice(keys), f"known {number} {self.words(6)}"
                fill.ask = lambda _, key=key, text=text: self.request(key, text)  # type: ignore[misc]
                flight = (await fill.once(number)).flight
                known.append((key, text))
            else:
                found = await plane.cache.look_up(self.random.randbytes(32), lambda _: False, 1.0)
                assert found is not None
                assert not isinstance(found, Entry)
                flight = found
            assert flight is not None
            flight.store(entry)
        assert plane.cache.stats.entries == size, plane.cache.stats
        return known

    def sizes(self, *full: int) -> list[int]:
        """Under --quick no more than 100,000, in steps of the same ratio."""
        return [full[0], full[-1] // 10] if self.quick and full[-1] > 1000 else [full[0], *full[1:]]

    async def measure(self, cases: Sequence[Case], *, claimed: bool = True) -> None:
        """All sizes in turns, so that what else the machine does falls on each alike."""
        gc.collect()
        gc.freeze()
        number = 0
        for round_ in range(self.rounds + 1):
            for case in cases if round_ % 2 else reversed(cases):
                for _ in range(100 if round_ else WARMING):
                    number += 1
                    run = await case.once(number)
                    if run.flight is not None:
                        run.flight.end()
                if round_ == 0:
                    case.took_us.clear()  # warming
        smallest = median(cases[0].took_us)
        for case in cases:
            took = sorted(case.took_us)
            middle = median(took)
            self.rows.append(
                {
                    "what": case.what,
                    "size": f"{case.size:,}",
                    "decide, median us": round(middle, 1),
                    "p90 us": round(took[len(took) * 9 // 10], 1),
                    "of the smallest": round(middle / smallest, 3),
                }
            )
        gc.unfreeze()
        if not claimed:
            return
        largest = median(cases[-1].took_us)
        self.claims.append(
            {
                "claim": f"decide() with {cases[-1].size:,} {cases[0].what}, beside {cases[0].size:,}: CPU us",
                "ours": round(largest, 1),
                "baseline": round(smallest, 1),
                "ratio": round(largest / smallest, 3),
                "target": FLAT,
                "met": largest / smallest <= FLAT,
            }
        )

    async def run(self) -> None:
        await self.keys()
        await self.rules()
        await self.entries()


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description="How the cost of decide() grows.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, within a minute")
    parser.add_argument("--json", action="store_true", help="one object with the claims")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="takes none: all is made")
    parser.add_argument("--rounds", type=int, help="of 100 requests a size (20; 6 under --quick)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if given.data:
        parser.error("--data: this benchmark reads no data")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "workspace"
        layout.lay_out(folder, mock_port=9, write=write_example)
        bench = Bench(folder, given.quick, given.seed, given.rounds or (6 if given.quick else 20))
        asyncio.run(bench.run())
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if given.json:
        print(
            json.dumps(
                {"date": date, "machine": machine, "quick": given.quick, "claims": bench.claims, "rows": bench.rows}
            )
        )
        return 0
    print(f"{date}, {machine}")
    for rows in (bench.rows, bench.claims):
        print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        for row in rows:
            print("| " + " | ".join(str(value) for value in row.values()) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

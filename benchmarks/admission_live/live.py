"""The real engine under more than it can do: what it does alone, how much it can do, and what each policy keeps."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.admission_live.asks import Ask, at_random, body, drawn
from benchmarks.admission_live.client import Callers, Seen, closed_loop, open_loop
from benchmarks.admission_live.workspace import SLOTS, TENANT, TRIMTAB, Policy, Serving, Targets, serving, write
from benchmarks.gateway_overhead import admin
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.gateway_overhead.workspace import call
from trimtab.controlplane import records
from trimtab.core.record import Record

PERCENTILE: Final = 0.95
TTFT_TIMES, GAP_TIMES, E2E_TIMES = 3, 4, 3
"""What is promised, in multiples of what the engine takes for one request alone."""
TRIED: Final = (1, 2, 4, 8)
"""Slots of the baseline."""
FREE: Final = Policy("free", SLOTS, 0.0)
FIRST: Final = 3
"""Requests to each engine one after the other before anything counts: its first ones load the weights."""
TOGETHER: Final = 3
"""Who then warm it together."""
DRAIN_S: Final = 60.0


class Alone(NamedTuple):
    """What the engine does with one request at a time, and how much with all of its slots taken."""

    ttft_p50_ms: float
    ttft_p95_ms: float
    pace_ms: float
    e2e_p50_ms: float
    e2e_p95_ms: float
    capacity: float
    """Requests a second."""

    @property
    def targets(self) -> Targets:
        """Long prompts and long answers are promised no more than others, hence the 95th percentiles; a gap is four of
        the engine's own, and the intake of somebody else's prompt."""
        return Targets(
            ttft_ms=round(TTFT_TIMES * self.ttft_p95_ms),
            itl_ms=round(GAP_TIMES * self.pace_ms + self.ttft_p95_ms),
            e2e_ms=round(E2E_TIMES * self.e2e_p95_ms),
            percentile=PERCENTILE,
        )


class Phase(NamedTuple):
    """One policy at one load. `wall_ns`: from when to when its requests came. `left`: requests that the gate still held
    after everybody had been answered."""

    policy: Policy
    load: float
    seconds: float
    seen: Sequence[Seen]
    wall_ns: tuple[int, int]
    left: int

    def goodput(self, targets: Targets) -> float:
        return sum(one.keeps(targets) for one in self.seen) / self.seconds

    def attainment(self, targets: Targets) -> float:
        admitted = sum(one.admitted for one in self.seen)
        return sum(one.keeps(targets) for one in self.seen) / admitted if admitted else 0.0


class Found(NamedTuple):
    """Of the whole run."""

    alone: Alone
    phases: list[Phase]
    reasons: dict[tuple[str, float], Counter[str]]
    """Refusals of a policy at a load, by what stood in the way."""
    predictions: list[dict[str, Any]]


class Plan(NamedTuple):
    """What to run."""

    lengths: Sequence[tuple[int, int]]
    loads: Sequence[float]
    waits: Sequence[float]
    """Of the baseline: shares of the time to first token."""
    seconds: float
    alone: int
    """Requests one after the other."""
    full: int
    """Requests with all slots taken."""
    warm: int
    """Requests to each policy before anything counts: from some twenty on a gate knows its model."""
    tried: Sequence[int]
    seed: int


def run(plan: Plan, folder: Path) -> Found:
    """Alone, then every policy at every load, in turns. Raises CannotRunError."""
    first = folder / "alone"
    with serving(first, write(first, [FREE])) as up:
        alone = asyncio.run(_alone(plan, up))
    _say(f"capacity {alone.capacity:.2f}/s, {alone.targets}")
    policies = policies_of(plan, alone.targets)
    second = folder / "live"
    with serving(second, write(second, policies)) as up:
        phases = asyncio.run(_phases(plan, up, policies, alone.capacity))
        if admin.exchange(second, "POST", "/records/flush")[0] != 200:
            raise CannotRunError("the gateway's records can't be flushed")
        rows = list(records.rows(second / "var" / "records"))
    order = ("report", "--predictions", "--by", "channel", "--since", "all", "--json", "--workspace", str(second))
    told = msgspec.json.decode(call(TRIMTAB, *order))["predictions"]["lines"]
    reasons = {(one.policy.name, one.load): _reasons(rows, one) for one in phases}
    return Found(alone, phases, reasons, told)


def policies_of(plan: Plan, targets: Targets) -> list[Policy]:
    """Ours, and the baseline's settings."""
    ours = Policy("ours", SLOTS, targets.ttft_ms, targets)
    slots = [
        Policy(f"slots-{slots}-wait-{round(100 * share)}", slots, share * targets.ttft_ms)
        for share in plan.waits
        for slots in plan.tried
    ]
    return [ours, *slots]


async def _alone(plan: Plan, up: Serving) -> Alone:
    callers = Callers(up.port, up.headers(FREE))
    await _warm(callers, FREE, plan, 0)
    asks, seen = drawn(plan.lengths, plan.alone, plan.seed), []
    for number, ask in enumerate(asks):
        seen.append(await callers.ask(body(ask, FREE.variant, f"alone {number}")))
    asks = drawn(plan.lengths, plan.full, plan.seed + 1)

    async def each(number: int) -> Seen:
        return await callers.ask(body(asks[number], FREE.variant, f"full {number}"))

    ended = await closed_loop(SLOTS, plan.full, each)
    callers.close()
    if any(one.status != 200 or one.ttft_ms is None for one in [*seen, *(one for _, one in ended)]):
        raise CannotRunError("the engine did not answer everybody, with nothing in the way")
    first, last = len(ended) // 5, 4 * len(ended) // 5  # all slots are taken between these
    capacity = (last - first) / (ended[last][0] - ended[first][0])
    ttft, e2e = sorted(one.ttft_ms or 0.0 for one in seen), sorted(one.e2e_ms for one in seen)
    pace = median(one.pace_ms for one in seen if one.pace_ms is not None)
    return Alone(median(ttft), p95(ttft), pace, median(e2e), p95(e2e), capacity)


async def _phases(plan: Plan, up: Serving, policies: Sequence[Policy], capacity: float) -> list[Phase]:
    found = []
    callers = {one.name: Callers(up.port, up.headers(one)) for one in policies}
    for policy in policies:
        await _warm(callers[policy.name], policy, plan, plan.warm)
    for load in plan.loads:
        asks = at_random(plan.lengths, load * capacity, plan.seconds, plan.seed)
        for policy in policies:
            since = time.time_ns()
            seen = await _load(plan, callers[policy.name], policy, f"{load}", asks)
            until = time.time_ns()
            left = await _left(up)
            found.append(Phase(policy, load, plan.seconds, seen, (since, until), left))
            _say(
                f"{load:g} x capacity, {policy.name}: {sum(one.status == 200 for one in seen)} of {len(seen)} answered"
            )
    for one in callers.values():
        one.close()
    return found


async def _load(plan: Plan, callers: Callers, policy: Policy, name: str, asks: Sequence[Ask]) -> list[Seen]:
    async def each(number: int, due_s: float) -> Seen:
        return await callers.ask(body(asks[number], policy.variant, f"{policy.name} {name} {number}"), due_s)

    return await open_loop([one.at_s for one in asks], each)


async def _warm(callers: Callers, policy: Policy, plan: Plan, more: int) -> None:
    asks = drawn(plan.lengths, FIRST + more, 0)

    async def each(number: int) -> Seen:
        return await callers.ask(body(asks[number], policy.variant, f"{policy.name} first {number}"))

    for number in range(FIRST):
        seen = await each(number)
        if seen.status != 200:
            raise CannotRunError(f"{policy.name}: an idle engine answers with {seen.status} {seen.code}")
    await closed_loop(TOGETHER, more, lambda number: each(FIRST + number))


async def _left(up: Serving) -> int:
    """Requests that gates hold when nobody is there any more: what settles late is waited for."""
    until = time.monotonic() + DRAIN_S
    while True:
        status, told = admin.exchange(up.folder, "GET", "/state")
        gates = msgspec.json.decode(told)["gates"].values() if status == 200 else ()
        left: int = sum(one["running"] + one["waiting"] for one in gates)
        if not left or time.monotonic() > until:
            return left
        await asyncio.sleep(0.1)


def _reasons(rows: Sequence[Record], phase: Phase) -> Counter[str]:
    since, until = phase.wall_ns
    own = [row for row in rows if row.channel == phase.policy.name and since <= row.t_wall_ns <= until]
    refused = [row for row in own if row.path == "refused"]
    return Counter((row.admissions[-1].short if row.admissions else row.code) or "late" for row in refused)


def p95(found: Sequence[float]) -> float:
    """The 95th percentile; of one value it is that."""
    return quantiles(found, n=20, method="inclusive")[-1] if len(found) > 1 else found[0]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


__all__ = ["TENANT", "TRIED", "Alone", "Found", "Phase", "Plan", "p95", "policies_of", "run"]

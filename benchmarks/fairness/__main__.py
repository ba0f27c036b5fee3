"""python -m benchmarks.fairness: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from benchmarks.fairness.arrivals import FLOOD, SETS, Request, flood, read, trace
from benchmarks.pod import Engine
from benchmarks.sets import AbsentError
from benchmarks.tables import tell
from trimtab.core.clock import Clock
from trimtab.core.contract import Latency
from trimtab.dataplane.admission import Gate, Refused, Ticket, Turn
from trimtab.dataplane.admission.queue import cost
from trimtab.dataplane.admission.tier import Tier
from trimtab.foundations.podmodel import FIGURES
from trimtab.surfaces.twin.loop import VirtualLoop

SLOTS = 32
TTFT_S, E2E_S = 3.0, 45.0
LATENCY = Latency(
    ttft_ms=TTFT_S * 1000, itl_ms=1000, e2e_ms=E2E_S * 1000, percentile=0.95, deadline_ms=3 * E2E_S * 1000
)
"""The contract of every request."""
TIMES = 50
LOAD = 0.6
"""Of what the pod can do, without the flood."""
CAPACITY = 750 / 340
"""Requests of the trace that the pod serves in a second, all of its slots taken."""
LOST = 0.01
RATES = (1, 2, 4, 8, 16)


class Leave(Protocol):
    """Permission to run one request."""

    def wrote(self, tokens: int) -> None:
        """So many tokens have come in all."""

    def end(self, kept: bool) -> None:
        """Its last token has come; whether its contract was kept."""


class Line(Protocol):
    """Who may run, and when: None is a refusal."""

    async def admit(self, request: Request, wait_s: float) -> Leave | None: ...


class Fair:
    """`dataplane.admission.Gate`, as the gateway has it."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._gate = clock, Gate(clock, SLOTS)

    async def admit(self, request: Request, wait_s: float) -> Leave | None:
        ask = self._gate.tier.expected.ask((request.tenant, ""), request.prompt * 4, 4096)
        turn = Turn(rank=2, tenant=request.tenant, at_ns=self._clock.now_ns(), latency=LATENCY, ask=ask)
        ticket = await self._gate.admit(turn, wait_s)
        return None if isinstance(ticket, Refused) else _Held(self._gate.tier, ticket, request, self._clock)


class _Held:
    def __init__(self, tier: Tier, ticket: Ticket, request: Request, clock: Clock) -> None:
        self._tier, self._ticket, self._request, self._clock = tier, ticket, request, clock
        self._foreseen, self._sent_ns, self._first_ns = ticket.sent(), clock.now_ns(), 0

    def wrote(self, tokens: int) -> None:
        self._first_ns = self._first_ns or self._clock.now_ns()
        self._ticket.wrote(tokens)

    def end(self, kept: bool) -> None:
        """What came of it teaches, as in the gateway."""
        self._ticket.end("success")
        one, now_ns = self._request, self._clock.now_ns()
        if self._foreseen is not None:
            first_ms, e2e_ms = (self._first_ns - self._sent_ns) / 1e6, (now_ns - self._sent_ns) / 1e6
            for figure, came_ms in zip(
                FIGURES, (first_ms, (e2e_ms - first_ms) / max(1, one.output - 1), e2e_ms), strict=True
            ):
                self._tier.predictor.learn(self._foreseen.times, figure, came_ms)
        if self._ticket.how != "probe" and self._ticket.look.level is not None and not self._ticket.look.waived:
            epoch = 0 if self._foreseen is None else self._foreseen.times.epoch
            self._tier.judge(LATENCY.percentile, missed=not kept, epoch=epoch)
        self._tier.expected.read(one.prompt * 4, one.prompt)


class First:
    """First come, first served, with as many slots; a tenant beyond its own rate (requests/s) is refused at once."""

    def __init__(self, clock: Clock, rate: float | None = None) -> None:
        self._clock, self._rate = clock, rate
        self._used = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._next: dict[str, float] = {}

    async def admit(self, request: Request, wait_s: float) -> Leave | None:
        now = self._clock.now_ns() / 1e9
        if self._rate is not None:
            free = max(self._next.get(request.tenant, 0.0), now - 5 / self._rate)  # five at once
            if free > now:
                return None
            self._next[request.tenant] = free + 1 / self._rate
        if self._used < SLOTS and not self._queue:
            self._used += 1
            return _Slot(self._end)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except TimeoutError:
            if not turn.done() or turn.cancelled():
                self._queue.remove(turn)
                return None
        return _Slot(self._end)

    def _end(self) -> None:
        self._used -= 1
        while self._queue and self._used < SLOTS:
            turn = self._queue.popleft()
            if not turn.done():
                self._used += 1
                turn.set_result(None)


class _Slot:
    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def wrote(self, tokens: int) -> None:
        """It does not matter."""

    def end(self, kept: bool) -> None:
        self._end()


class Outcome:
    """What came of all requests: whether each kept its contract, and what tenants were served, as it went."""

    def __init__(self) -> None:
        self.kept: list[tuple[Request, bool]] = []
        self.had: dict[str, float] = {}
        self.apart = 0.0
        """The most that the first two tenants differed by in served tokens."""

    def others(self) -> float:
        """Share of the others' requests that kept their contract; a refused one did not."""
        own = [kept for request, kept in self.kept if request.tenant != FLOOD]
        return sum(own) / len(own)

    def served(self, request: Request) -> None:
        self.had[request.tenant] = self.had.get(request.tenant, 0.0) + cost(request.prompt, request.output)
        if len(self.had) == 2:
            first, second = self.had.values()
            self.apart = max(self.apart, abs(first - second))


def drive(requests: Sequence[Request], make: Callable[[Clock], Line], *, wait_s: float, seed: int) -> Outcome:
    """All of it on virtual time."""
    loop = VirtualLoop(seed=seed)
    outcome = Outcome()

    async def one(request: Request, line: Line, engine: Engine) -> None:
        came = loop.time()
        told: list[float] = []
        leave = await line.admit(request, wait_s)
        if leave is None:
            outcome.kept.append((request, False))
            return
        outcome.served(request)

        def on_token() -> None:
            told.append(loop.time())
            leave.wrote(len(told))

        await engine.send(request.prompt, request.output, on_token).done
        in_time = told[0] - came <= TTFT_S and loop.time() - came <= E2E_S
        leave.end(in_time)
        outcome.kept.append((request, in_time))

    async def main() -> None:
        engine, line = Engine(SLOTS, seed), make(loop.clock)
        running = asyncio.create_task(engine.run())
        asked = []
        for request in requests:
            await asyncio.sleep(max(0.0, request.at_s - loop.time()))
            asked.append(asyncio.create_task(one(request, line, engine)))
        await asyncio.wait(asked)
        running.cancel()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return outcome


def merged(usual: Sequence[Request], more: Sequence[Request]) -> list[Request]:
    return sorted((*usual, *more))


def measure(rows: Sequence[dict[str, Any]], rounds: int, seed: int) -> dict[str, Any]:
    """All figures, and what is claimed of them."""
    seconds = len(rows) / (LOAD * CAPACITY)
    usual = trace(rows, seconds, rounds)
    flooded = merged(usual, flood(usual, TIMES, seed))
    share = len(usual) / usual[-1].at_s / len({one.tenant for one in usual})
    ways: list[tuple[str, Callable[[Clock], Line]]] = [
        ("fair queue (ours)", Fair),
        ("first come, first served", First),
        *((f"and {times} x its share a tenant", lambda clock, own=times: First(clock, own * share)) for times in RATES),
    ]
    figures = []
    for name, make in ways:
        calm, full = (drive(one, make, wait_s=TTFT_S, seed=seed) for one in (usual, flooded))
        figures.append(
            {
                "line": name,
                "kept without flood": round(calm.others(), 4),
                "kept with flood": round(full.others(), 4),
                "lost": round(calm.others() - full.others(), 4),
            }
        )
    ours, *baselines = figures
    best = max(baselines, key=lambda row: row["kept with flood"])
    apart, bound = rivals(rows, seed)
    return {
        "figures": figures,
        "requests": [{"of": "others", "requests": len(usual)}, {"of": FLOOD, "requests": len(flooded) - len(usual)}],
        "claims": [
            claim(
                "share of the others' contracts lost to a flood",
                ours["lost"],
                best["lost"],
                f"<= {LOST}",
                ours["lost"] <= LOST,
            ),
            claim(
                f"others' contracts kept under the flood, beside the best baseline ({best['line']})",
                ours["kept with flood"],
                best["kept with flood"],
                "> baseline",
                ours["kept with flood"] > best["kept with flood"],
            ),
            claim("most tokens that two tenants who always wait differ by", apart, bound, "<= bound", apart <= bound),
        ],
    }


def rivals(rows: Sequence[dict[str, Any]], seed: int) -> tuple[float, float]:
    """Two tenants, one with the trace's short requests and one with its long ones, both always waiting: the most they
    were apart, and the paper's bound, 2 max(w_p L, w_q M) with M the tokens that fit into a batch."""
    ordered = sorted(rows, key=lambda row: cost(row["prompt_len"], row["output_len"]))
    half = len(ordered) // 2
    sent = [
        Request(0.0, name, max(1, row["prompt_len"]), max(1, row["output_len"]))
        for name, own, times in (("short", ordered[:half], 4), ("long", ordered[half:], 1))
        for row in own * times
    ]
    outcome = drive(sent, Fair, wait_s=120.0, seed=seed)  # neither runs out within that time
    longest = max(row["prompt_len"] for row in rows)
    batch = SLOTS * max(row["output_len"] for row in rows)
    return round(outcome.apart, 1), 2.0 * max(longest, 2 * batch)


def claim(what: str, ours: float, baseline: float, target: str, met: bool) -> dict[str, Any]:
    ratio = round(ours / baseline, 4) if baseline else None
    return {"claim": what, "ours": ours, "baseline": baseline, "ratio": ratio, "target": target, "met": met}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description="What others lose to a flood.")
    parser.add_argument("--quick", action="store_true", help="one round of the trace")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="tables for the README")
    parser.add_argument("--seed", type=int, default=1, help="of flood and engine (1)")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help=f"sets: {', '.join(SETS)}")
    given = parser.parse_args()
    try:
        rows = read("tenants", dict(one.split("=", 1) for one in given.data))
    except AbsentError as error:
        print(error, file=sys.stderr)
        return 2
    found = measure(rows, 1 if given.quick else 4, given.seed)
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

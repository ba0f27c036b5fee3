"""One policy before the pods of a setting, on virtual time: what came of every request."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from benchmarks.admission.arrivals import Request, Setting
from benchmarks.pod import Engine, Job, Pool
from trimtab.core.clock import Clock
from trimtab.core.contract import Latency
from trimtab.surfaces.twin.loop import VirtualLoop


class Seen(NamedTuple):
    """Of an answer, in ms from when the request was sent: first token, 95th percentile of the gaps, end; and whether
    its contract was kept, from its arrival on."""

    ttft_ms: float
    itl_ms: float
    e2e_ms: float
    kept: bool


class Leave(Protocol):
    """Permission to run one request. `replica`: where; None: where the fewest are."""

    replica: int | None

    def sent(self) -> None:
        """It goes to a replica."""

    def wrote(self, tokens: int) -> None:
        """So many tokens have come in all."""

    def end(self, seen: Seen | None) -> None:
        """It is over; None: its client has hung up."""


class Refusal(NamedTuple):
    """No permission: why not, and when to come again, if that is told."""

    short: str
    retry_after_s: float | None = None


class Policy(Protocol):
    """Who decides. `is_gate`: it stands in the requests' way, so that it sees clients hang up."""

    is_gate: bool

    async def admit(self, request: Request, latency: Latency) -> Leave | Refusal: ...


class Attempt(NamedTuple):
    """What came of one try of a request. Times in s; `ended_s` is that of the answer, or of the refusal."""

    number: int
    at_s: float
    ended_s: float
    admitted: bool
    kept: bool
    back: bool = False
    """It had been refused, and has come at the time that it was told, or at a share of it."""
    hung_up: bool = False
    short: str = ""
    retry_after_s: float | None = None


class Return(NamedTuple):
    """Who comes back after a refusal: this `share` of the clients, after `part` of the time that they were told."""

    share: float
    part: float


class World:
    """Pods and a policy before them, on a loop's time."""

    def __init__(self, loop: VirtualLoop, setting: Setting, policy: Policy, seed: int) -> None:
        self.loop, self.setting, self.policy = loop, setting, policy
        engines = [Engine(setting.sequences, seed + number) for number in range(setting.replicas)]
        self.pool = Pool(engines)
        self._running = [asyncio.create_task(engine.run()) for engine in engines]

    def stop(self) -> None:
        for task in self._running:
            task.cancel()

    async def attempt(
        self, number: int, request: Request, *, back: bool = False, patience_s: float | None = None
    ) -> Attempt:
        """One request, from now on. A client of `patience_s` hangs up then."""
        loop, latency = self.loop, self.setting.contracts[request.contract]
        came = loop.time()
        leave: Leave | None = None
        job: Job | None = None
        times: list[float] = []
        try:
            async with asyncio.timeout(patience_s):
                got = await self.policy.admit(request, latency)
                if isinstance(got, Refusal):
                    return Attempt(number, came, loop.time(), False, False, back, False, *got)
                leave, sent = got, loop.time()
                leave.sent()
                wrote, told = leave.wrote, times.append

                def on_token() -> None:
                    told(loop.time())
                    wrote(len(times))

                job = self.pool.send(request.prompt, request.output, on_token, leave.replica)
                await asyncio.shield(job.done)
        except TimeoutError:
            if job is not None:
                job.hang_up(at_once=self.policy.is_gate)
            if leave is not None:
                leave.end(None)
            return Attempt(number, came, loop.time(), leave is not None, False, back, True)
        seen = judge(came, sent, times, latency)
        leave.end(seen)
        return Attempt(number, came, loop.time(), True, seen.kept, back)


def judge(came: float, sent: float, times: Sequence[float], latency: Latency) -> Seen:
    """Times of tokens against a contract, as records judge them."""
    gaps = sorted(after - before for before, after in pairwise(times))
    itl_ms = gaps[math.ceil(0.95 * len(gaps)) - 1] * 1000 if gaps else 0.0
    kept = (
        (times[0] - came) * 1000 <= latency.ttft_ms
        and itl_ms <= latency.itl_ms
        and (times[-1] - came) * 1000 <= latency.e2e_ms
    )
    return Seen((times[0] - sent) * 1000, itl_ms, (times[-1] - sent) * 1000, kept)


Make = Callable[[Clock, Setting], Policy]


def drive(
    requests: Sequence[Request],
    setting: Setting,
    make: Make,
    seed: int,
    returning: Return | None = None,
) -> list[Attempt]:
    """All requests, each at its time, until the last has ended: attempts in the order in which they ended."""
    ended: list[Attempt] = []
    chosen = random.Random(seed)

    async def one(world: World, number: int, request: Request) -> None:
        attempt = await world.attempt(number, request)
        ended.append(attempt)
        told = attempt.retry_after_s
        if attempt.admitted or returning is None or told is None or chosen.random() >= returning.share:
            return
        await asyncio.sleep(told * returning.part)
        ended.append(await world.attempt(number, request, back=True))

    def each(world: World) -> Iterable[tuple[float, Awaitable[None]]]:
        return ((request.at_s, one(world, number, request)) for number, request in enumerate(requests))

    play(setting, make, seed, each)
    return ended


def play(
    setting: Setting,
    make: Make,
    seed: int,
    each: Callable[[World], Iterable[tuple[float, Awaitable[None]]]],
) -> None:
    """What `each` has to do in a world, at its times in s, in order, until all is done."""
    loop = VirtualLoop(seed=seed)

    async def main() -> None:
        world = World(loop, setting, make(loop.clock, setting), seed)
        asked = []
        for at_s, what in each(world):
            await asyncio.sleep(max(0.0, at_s - loop.time()))
            asked.append(asyncio.ensure_future(what))
        for one in asked:
            await one
        world.stop()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()

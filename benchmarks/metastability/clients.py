"""Clients who come at a steady rate, try again when they fail, and what happens to them while something goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator, Sequence
from typing import Literal, NamedTuple

from benchmarks.admission.arrivals import BYTES, SPREAD, Request, Row, Setting
from benchmarks.admission.ours import scaled
from benchmarks.admission.run import Attempt, Make, World, play
from benchmarks.pod import LLAMA_70B

TRIES = 4
"""Three of them after a failure."""
BACKOFF_S = 1.0
"""Before the second try, twice that before the third and so on, each between half and one and a half of it."""
BEGIN_S, LASTS_S = 210.0, 30.0
"""When something goes wrong, and for how long."""
BACK_S = 30.0
"""After its end, within which all must be as before."""
SINCE_S, SPAN_S = 60.0, 90.0
"""Of what is looked at before, from here on: it ends a minute before something goes wrong, so that answers are not
touched by it; and, as long, from `BACK_S` after the end on."""
AGAIN_S = BEGIN_S + LASTS_S + BACK_S
UNTIL_S = AGAIN_S + SPAN_S + 60.0
"""Clients come for a minute more, so that pods which empty do not make the last answers look good."""
TIMES, SLOWER = 10.0, 5.0
AGAIN = 0.95
"""Of what was kept before."""

Trigger = Literal["load", "slow"]


class Fate(NamedTuple):
    """Of one client: when it came first, how often it tried, whether an answer kept its contract."""

    at_s: float
    tries: int
    kept: bool


class Case(NamedTuple):
    """What is tried: the steady rate, what goes wrong, who decides."""

    rate: float
    trigger: Trigger
    make: Make
    seed: int


class Found(NamedTuple):
    """Shares of clients whose contract was kept, of those who came before it went wrong and after it should be well
    again; and tries a client in that second span."""

    before: float
    after: float
    tries: float

    @property
    def well(self) -> bool:
        return self.after >= AGAIN * self.before


def run(case: Case, rows: Sequence[Row], setting: Setting) -> list[Fate]:
    """All clients, until the last has been served or has given up."""
    fates: list[Fate] = []
    retries = random.Random(case.seed)

    async def one(world: World, number: int, request: Request) -> None:
        latency = setting.contracts[request.contract]
        for tried in range(1, TRIES + 1):
            attempt = await world.attempt(number, request, patience_s=latency.e2e_ms / 1000)
            if tried == TRIES or (attempt.admitted and not attempt.hung_up):
                fates.append(Fate(request.at_s, tried, attempt.kept))
                return
            await asyncio.sleep(_pause_s(attempt, tried, retries))

    def each(world: World) -> Iterator[tuple[float, Awaitable[None]]]:
        if case.trigger == "slow":
            yield 0.0, _slow(world)
        for number, request in enumerate(arrivals(case, rows, len(setting.contracts))):
            yield request.at_s, one(world, number, request)

    play(setting, case.make, case.seed, each)
    return fates


def _pause_s(attempt: Attempt, tried: int, chosen: random.Random) -> float:
    """Until the next try: as told, else longer from try to try."""
    if attempt.retry_after_s is not None:
        return attempt.retry_after_s
    return float(BACKOFF_S * 2 ** (tried - 1) * chosen.uniform(0.5, 1.5))


async def _slow(world: World) -> None:
    for after_s, pace in ((BEGIN_S, SLOWER), (LASTS_S, 1.0)):
        await asyncio.sleep(after_s)
        for engine in world.pool.engines:
            engine.pod = scaled(LLAMA_70B, pace)


def arrivals(case: Case, rows: Sequence[Row], contracts: int) -> list[Request]:
    """At random, with the lengths of any of the rows."""
    chosen = random.Random(case.seed)
    made: list[Request] = []
    at = 0.0
    while True:
        many = case.trigger == "load" and BEGIN_S <= at < BEGIN_S + LASTS_S
        at += chosen.expovariate(case.rate * (TIMES if many else 1.0))
        if at >= UNTIL_S:
            return made
        row = chosen.choice(rows)
        bound = max(1, round(row.prompt * BYTES * chosen.lognormvariate(0, SPREAD)))
        made.append(Request(at, row.client, row.prompt, row.output, bound, len(made) % contracts))


def found(fates: Sequence[Fate]) -> Found:
    """Of all clients."""
    before = [one for one in fates if SINCE_S <= one.at_s < SINCE_S + SPAN_S]
    after = [one for one in fates if AGAIN_S <= one.at_s < AGAIN_S + SPAN_S]
    tries = sum(one.tries for one in after) / len(after)
    return Found(_share(before), _share(after), tries)


def _share(fates: Sequence[Fate]) -> float:
    return sum(one.kept for one in fates) / len(fates)

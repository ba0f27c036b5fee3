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
SPAN_S = 90.0
"""Of what is looked at, from `BACK_S` after the end on."""
AGAIN_S = BEGIN_S + LASTS_S + BACK_S
UNTIL_S = AGAIN_S + SPAN_S + 60.0
"""Clients come for a minute more, so that pods which empty do not make the last answers look good."""
TIMES, SLOWER = 10.0, 5.0
AGAIN = 0.95
"""Of what is kept where nothing went wrong."""

Trigger = Literal["load", "slow"]


class Fate(NamedTuple):
    """Of one client: when it came first, how often it tried, whether an answer kept its contract, when it was over."""

    at_s: float
    tries: int
    kept: bool
    ended_s: float


class Case(NamedTuple):
    """What is tried: the steady rate, what goes wrong (None: nothing), who decides."""

    rate: float
    trigger: Trigger | None
    make: Make
    seed: int


class Found(NamedTuple):
    """Of the span after the end. `kept`: share of the clients who come then whose contract is kept. `goodput`: answers
    within their contracts a second, whoever asked for them and since when. Both also of the same span in a run in which
    nothing goes wrong (`calm`). `tries` of a client who comes then."""

    calm_kept: float
    kept: float
    calm_goodput: float
    goodput: float
    tries: float

    @property
    def well(self) -> bool:
        return self.goodput >= AGAIN * self.calm_goodput


def run(case: Case, rows: Sequence[Row], setting: Setting) -> list[Fate]:
    """All clients, until the last has been served or has given up."""
    fates: list[Fate] = []
    retries = random.Random(case.seed)

    async def one(world: World, number: int, request: Request) -> None:
        latency = setting.contracts[request.contract]
        for tried in range(1, TRIES + 1):
            attempt = await world.attempt(number, request, patience_s=latency.e2e_ms / 1000)
            if tried == TRIES or (attempt.admitted and not attempt.hung_up):
                fates.append(Fate(request.at_s, tried, attempt.kept, attempt.ended_s))
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
    """At random, with the lengths of any of the rows; the steady ones are the same whatever goes wrong."""
    steady = _arrivals(case.rate, 0.0, UNTIL_S, rows, case.seed)
    more = _arrivals((TIMES - 1) * case.rate, BEGIN_S, BEGIN_S + LASTS_S, rows, -case.seed)
    found = sorted(steady + more if case.trigger == "load" else steady)
    return [Request(*one, number % contracts) for number, one in enumerate(found)]


def _arrivals(
    rate: float, at_s: float, until_s: float, rows: Sequence[Row], seed: int
) -> list[tuple[float, str, int, int, int]]:
    chosen = random.Random(seed)
    made = []
    while (at_s := at_s + chosen.expovariate(rate)) < until_s:
        row = chosen.choice(rows)
        bound = max(1, round(row.prompt * BYTES * chosen.lognormvariate(0, SPREAD)))
        made.append((at_s, row.client, row.prompt, row.output, bound))
    return made


def found(fates: Sequence[Sequence[Fate]], calm: Sequence[Sequence[Fate]]) -> Found:
    """Of all clients, by run; and of those of the runs in which nothing goes wrong."""
    came = [one for own in fates for one in own if AGAIN_S <= one.at_s < AGAIN_S + SPAN_S]
    tries = sum(one.tries for one in came) / len(came)
    return Found(_kept(calm), _kept(fates), _goodput(calm), _goodput(fates), tries)


def _kept(runs: Sequence[Sequence[Fate]]) -> float:
    came = [one.kept for own in runs for one in own if AGAIN_S <= one.at_s < AGAIN_S + SPAN_S]
    return sum(came) / len(came)


def _goodput(runs: Sequence[Sequence[Fate]]) -> float:
    ended = sum(one.kept and AGAIN_S <= one.ended_s < AGAIN_S + SPAN_S for own in runs for one in own)
    return ended / len(runs) / SPAN_S

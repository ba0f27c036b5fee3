"""What one seed means, drawn before anything runs: who asks what and when, with what money, and what goes wrong.

Each seed switches a random half of the faults on (swarm testing: Groce et al., ISSTA 2012): with all of them on at
once one fault hides what another would show.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any, Literal, get_args

import msgspec

from trimtab.core.tenancy import Budget, Limits, Rate

Fault = Literal[
    "order",  # tasks that are ready together go in a seeded order
    "network",  # everything takes a while to arrive
    "hang-ups",  # clients go away, some while they wait, some in the middle of their answer
    "slow clients",
    "refused",  # a model's server does not listen, for a while
    "errors",  # 429 and 500
    "torn",  # answers that break off
    "silent",  # servers that never answer, or stop in the middle
    "slow",
    "no usage",  # servers that don't tell what they used
    "dear",  # servers that bill more than they sent
    "steps",  # wall clocks are set forward and back
    "midnight",  # a period ends in the middle
    "slow store",
    "lost store",  # single exchanges with the shared store break: before, after, or without an answer
    "gone store",  # it can't be reached for a while, now and then longer than a lease lasts
    "pauses",  # a gateway stands still for a while, now and then longer than its leases last
    "crashes",  # gateways are killed, and started again
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
OF_THE_STORE = frozenset({"slow store", "lost store", "gone store", "pauses", "crashes"})
LASTS_S = 4.0
"""How long requests come and faults begin."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One client's request."""

    id: str
    at_s: float
    gateway: int
    key: str
    channel: str | None
    text: str
    stream: bool
    n: int
    max_tokens: int | None
    temperature: float | None
    model: str | None
    goes_at_s: float | None
    """The client hangs up so long after it asked."""
    goes_after: int | None
    """... or when it has received so many pieces."""
    goes_with: str | None
    """... or in the very moment in which this other one has its answer."""
    reads_s: float
    """At most so long for each piece."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    shared: bool
    gateways: int
    faults: frozenset[str]
    to_midnight_s: float
    money: dict[str, list[Budget]]
    rates: dict[str, Limits]
    asked: tuple[Asked, ...]
    delay_s: float
    """The most that a segment of the network takes."""

    def random(self, purpose: str) -> Random:
        """A stream of its own, so that a change in one place moves nothing elsewhere."""
        return Random(f"{self.seed}/{purpose}")

    def has(self, fault: Fault) -> bool:
        return fault in self.faults


def draw(seed: int) -> Scenario:
    random = Random(f"{seed}/scenario")
    shared = random.random() < 0.5
    faults = {fault for fault in FAULTS if random.random() < 0.5}
    if not shared:
        faults -= OF_THE_STORE - {"pauses"}
    gateways = random.choice((1, 2, 2, 3)) if shared else 1
    equals = random.choice((0.1, 0.3, 0.8))
    money, asked = _money(random), [_asked(random, n, gateways, faults, equals) for n in range(random.randint(3, 14))]
    if random.random() < 0.3:  # answers that outgrow, all at once, what there is for them
        asked = [
            msgspec.structs.replace(one, at_s=0.1 * one.at_s, stream=True, n=1, max_tokens=None, model="small-plain")
            for one in asked[:6]
        ]
        money["shop"] = [_budget(random, "day", random.uniform(1.0, 1.5) + 1.0)]
    return Scenario(
        seed=seed,
        shared=shared,
        gateways=gateways,
        faults=frozenset(faults),
        to_midnight_s=random.uniform(0.5, 6.0) if "midnight" in faults else 40_000.0,
        money=money,
        rates=_rates(random),
        asked=tuple(asked),
        delay_s=random.choice((0.002, 0.02, 0.2)) if "network" in faults else 0.0,
    )


def _money(random: Random) -> dict[str, list[Budget]]:
    """Budgets of a few requests each, so that nearly everybody is in somebody's way."""
    size = random.choice((0.4, 1.0, 3.0))
    found: dict[str, list[Budget]] = {}
    for scope, share in (("shop", 0.8), ("shop/web", 0.3), ("shop/line", 0.3), ("first", 0.3), ("other", 0.4)):
        if random.random() < share:
            periods = random.choice((("day",), ("day",), ("month",), ("day", "month")))
            found[scope] = [_budget(random, period, size) for period in periods]
    return found


def _budget(random: Random, period: Any, size: float) -> Budget:
    nanousd = int(size * random.uniform(200_000, 3_000_000))
    tz = "UTC" if random.random() < 0.8 else "Europe/Berlin"
    return Budget(period=period, usd=Decimal(nanousd) / 10**9, tz=tz)


def _rates(random: Random) -> dict[str, Limits]:
    found = {}
    for scope in ("shop", "shop/web", "first"):
        if random.random() < 0.25:
            requests = Rate(per_s=random.choice((0.5, 3.0, 20.0)), burst=random.randint(1, 6))
            tokens = Rate(per_s=random.choice((20.0, 300.0)), burst=random.randint(60, 900))
            found[scope] = Limits(
                requests=requests if random.random() < 0.7 else None, tokens=tokens if random.random() < 0.6 else None
            )
    return found


def _asked(random: Random, number: int, gateways: int, faults: set[Fault], equals: float) -> Asked:
    goes_at_s = goes_after = goes_with = None
    if "hang-ups" in faults and random.random() < 0.5:
        how = random.random()
        if how < 0.3:
            goes_with = f"r{random.randrange(8)}"
        elif how < 0.65:
            goes_at_s = random.choice((0.01, 0.2, 1.0, 4.0)) * random.random()
        else:
            goes_after = random.randint(1, 12)
    equal = random.random() < equals
    return Asked(
        id=f"r{number}",
        at_s=random.choice((0.0, 0.0, 0.5, LASTS_S)) * random.random(),
        gateway=random.randrange(gateways),
        key=random.choice(("first", "first", "second", "other") if not equal else ("first", "second")),
        channel=random.choice((None, "web", "line", "now", "calm") if not equal else ("web", "line")),
        text=f"the same {random.randrange(2)}" if equal else f"one of its own {number}",
        stream=random.random() < 0.6,
        n=1 if equal or random.random() < 0.85 else 2,
        max_tokens=None if equal else random.choice((None, None, None, 5, 20, 150)),
        temperature=None if equal else random.choice((None, 1.0)),
        model=None if equal else random.choice((None, None, None, "whole-plain", "small-plain")),
        goes_at_s=goes_at_s,
        goes_after=goes_after,
        goes_with=goes_with,
        reads_s=random.choice((0.05, 1.0)) if "slow clients" in faults and random.random() < 0.5 else 0.0,
    )

"""One fixed scenario, in which each exchange with the shared store fails in turn: the first, the second, ... until one
run has no exchange left to fail."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sim.loop import Broken, SimLoop
from sim.run import live
from sim.scenario import Asked, Scenario
from sim.valkey import Fate
from sim.world import World
from trimtab.core.errors import Code
from trimtab.core.tenancy import Budget, Limits, Rate

_CODES = {code.wire for code in Code}


def _asked(number: int, at_s: float, **more: object) -> Asked:
    fields = {
        "key": "first",
        "channel": "web",
        "text": f"one of its own {number}",
        "stream": True,
        "n": 1,
        "max_tokens": None,
        "temperature": 1.0,
        "model": None,
        "goes_at_s": None,
        "goes_after": None,
        "goes_with": None,
        "reads_s": 0.0,
    }
    return Asked(id=f"r{number}", at_s=at_s, gateway=number % 2, **(fields | more))  # type: ignore[arg-type]


SCENARIO = Scenario(
    seed=5,
    shared=True,
    gateways=2,
    faults=frozenset({"lost store"}),
    to_midnight_s=40_000.0,
    money={
        "shop": [Budget(period="day", usd=Decimal("0.0016"))],
        "shop/line": [Budget(period="month", usd=Decimal("0.0012"))],
    },
    rates={"shop": Limits(requests=Rate(per_s=10, burst=20), tokens=Rate(per_s=500, burst=900))},
    asked=(
        _asked(0, 0.0),
        _asked(1, 0.01, stream=False),
        _asked(2, 0.02, channel="line", max_tokens=20),
        _asked(3, 0.03, channel="line", goes_after=3),
        _asked(4, 0.5, temperature=None),
        _asked(5, 3.0, channel="calm", max_tokens=40),
    ),
    delay_s=0.0,
)
"""Two gateways; leases that grow, one that waits for money, a client that goes, one that comes when all is over."""


class NthWorld(World):
    """The nth exchange has this fate, alone or with all that come after it as long as requests run."""

    def __init__(self, loop: SimLoop, scenario: Scenario, nth: int, fate: Fate, *, lasting: bool) -> None:
        super().__init__(loop, scenario)
        self._nth, self._how, self._lasting = nth, fate, lasting
        self.count = 0

    async def _start_store(self) -> None:
        await super()._start_store()
        assert self.valkey is not None
        self.valkey.fate = self._next

    def _next(self, name: str) -> Fate:
        self.count += 1
        if self.calm or not (self.count == self._nth or (self._lasting and self.count > self._nth)):
            return "done"
        self.loop.note("store", self._how, self.count, name)
        return self._how

    async def live(self) -> None:
        await super().live()
        for client in self.clients.values():
            answered = client.status == 200 or client.code in _CODES
            if not client.gone and not answered:
                raise Broken(f"{client.asked.id} was told {client.status} {client.code}")

    @property
    def failed(self) -> bool:
        return self.count >= self._nth


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("fate", "lasting"),
    [("before", False), ("after", False), ("mute", False), ("before", True), ("mute", True)],
    ids=["before-once", "after-once", "mute-once", "before-lastingly", "mute-lastingly"],
)
def test_each_exchange_fails_in_turn(fate: Fate, lasting: bool) -> None:
    """Whatever the exchange was: every request ends, with an answer or an error of the closed list; no budget is over
    its limit at any step, and in the end nothing is reserved."""
    for nth in range(1, 1000):
        made: list[NthWorld] = []

        def make(loop: SimLoop, scenario: Scenario, made: list[NthWorld] = made, nth: int = nth) -> World:
            made.append(NthWorld(loop, scenario, nth, fate, lasting=lasting))
            return made[0]

        result = live(SCENARIO, 60, make)
        assert result.broken is None, f"exchange {nth} fails ({fate}, {lasting=})\n{result}"
        if not made[0].failed:
            assert nth > 50, "the scenario has more exchanges than that"
            return
    pytest.fail("no end")

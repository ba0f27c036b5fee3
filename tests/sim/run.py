"""Run a seed, and say what came of it."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from sim.loop import Broken, SimLoop
from sim.scenario import draw
from sim.verdict import judge
from sim.world import World, link_of


class Result(msgspec.Struct, frozen=True):
    seed: int
    digest: str
    steps: int
    broken: str | None
    """What does not hold; None: all does."""
    report: str
    """For people: the faults, and the last of what happened."""

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.broken}\n{self.report}\nreplay: make simulate-faults SEED={self.seed}"
        )


def run(seed: int) -> Result:
    """The whole life of one world."""
    scenario = draw(seed)
    loop = SimLoop(seed=seed, link=link_of(scenario), reorder=scenario.has("order"))
    loop.set_exception_handler(_unhandled)
    logging.disable(logging.CRITICAL)
    broken: BaseException | None = None
    world = None
    try:
        asyncio.set_event_loop(loop)
        world = World(loop, scenario)
        loop.run_until_complete(loop.spawn("", _live(world), "world"))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        broken = loop.failure or error
    finally:
        loop.bury()
        asyncio.set_event_loop(None)
        loop.close()
        logging.disable(logging.NOTSET)
    said = None
    if broken is not None:
        said = str(broken) if isinstance(broken, Broken) else f"{type(broken).__name__}: {broken}"
    place = "a shared store" if scenario.shared else "memory"
    about = f"{scenario.gateways} gateways, {place}; faults: {', '.join(sorted(scenario.faults))}"
    return Result(seed, loop.trace.digest(), loop.steps, said, f"{about}\n{loop.trace.tail()}")


async def _live(world: World) -> None:
    await world.live()
    judge(world)
    for gateway in world.gateways:
        if gateway is not None:
            await world.loop.spawn(gateway.name, gateway.close(), f"{gateway.name} closes")


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    assert isinstance(loop, SimLoop)
    loop.fail(error if isinstance(error, BaseException) else Broken(str(context.get("message"))))

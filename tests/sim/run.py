"""Run a seed, and say what came of it.

result = run(7)
... result.broken ... result.digest ... print(result)
"""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec
import redis.utils

from sim.loop import Broken, SimLoop
from sim.scenario import Scenario, draw
from sim.verdict import judge
from sim.workspace import loaded
from sim.world import World, link_of

SEEDS: Final = 2000
"""Of every `make test`."""

# redis-py looks its own version up on disk for every connection that it makes: a twelfth of a run
redis.utils.get_lib_version = lru_cache(redis.utils.get_lib_version)


class Result(msgspec.Struct, frozen=True):
    seed: int
    digest: str
    """Of all that happened: one seed and one commit give one."""
    steps: int
    broken: str | None
    """What does not hold; None: all does."""
    about: str
    """What kind of world, and its faults."""
    trace: str
    """The last of what happened, and where an exception came from."""

    def __str__(self) -> str:
        said = f"seed {self.seed} ({self.about}), digest {self.digest}: "
        if self.broken is None:
            return said + "all holds"
        return f"{said}\n{self.trace}\n{self.broken}\nreplay it: make simulate-faults SEED={self.seed}"


def run(seed: int, rows: int = 40) -> Result:
    """The whole life of one world; `rows` of its trace are told."""
    return live(draw(seed), rows, World)


def live(scenario: Scenario, rows: int, make: Callable[[SimLoop, Scenario], World]) -> Result:
    """The life of the world that `make` makes of this scenario."""
    loaded()
    gc.freeze()  # so that what this world leaves behind is soon found
    gc.disable()  # what is collected while it runs is no part of the seed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what killed gateways never closed
            result = _lived(scenario, rows, make)
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return result


def _lived(scenario: Scenario, rows: int, make: Callable[[SimLoop, Scenario], World]) -> Result:
    seed = scenario.seed
    loop = SimLoop(seed=seed, link=link_of(scenario), reorder=scenario.has("order"))
    loop.set_exception_handler(_unhandled)
    logging.disable(logging.CRITICAL)
    broken: BaseException | None = None
    try:
        asyncio.set_event_loop(loop)
        world = make(loop, scenario)
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
    said, where = None, ""
    if broken is not None:
        said = str(broken) if isinstance(broken, Broken) else f"{type(broken).__name__}: {broken}"
        where = "" if isinstance(broken, Broken) else "\n" + "".join(traceback.format_exception(broken))
    place = "a shared store" if scenario.shared else "memory"
    about = f"{scenario.gateways} gateways, {place}; {', '.join(sorted(scenario.faults)) or 'no faults'}"
    return Result(seed, loop.trace.digest(), loop.steps, said, about, loop.trace.tail(rows) + where)


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

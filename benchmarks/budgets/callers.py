"""128 callers at once: each takes the next request, and asks again while it is refused and others still run."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

from benchmarks.budgets.draws import PROBES, Draw, draws, probe
from benchmarks.caller import Answer, Caller, connect

CALLERS = 128
AGAIN_S = (0.25, 0.5, 1.0)
"""Between a request's refusals and its next tries, give or take half; the last one for all that follow."""
QUIET_S = 2.5
"""A caller gives up who is refused while for so long nobody's answer has begun, run or ended."""
LIMIT_S = 600.0
_FIELD = rb'"%b": ?"(\w+)"'


class Refused(NamedTuple):
    """A refusal: when (monotonic ns, as the caller got it), of which request, and in which words."""

    at_ns: int
    number: int
    draw: Draw
    code: str


class Seen:
    """What the callers saw."""

    def __init__(self) -> None:
        self.refused: list[Refused] = []
        self.outcomes: Counter[str] = Counter()
        self.drawn = self.cut_short = 0
        """`cut_short`: whole answers that ended before their model's own end, `finish_reason: length`."""
        self.in_time = True
        """Everybody had given up within `LIMIT_S`."""


class Callers:
    """See the module."""

    def __init__(self, port: int, head: str, seed: int) -> None:
        self._port, self._head, self._chance = port, head, random.Random(seed + 1)
        self._draws: Iterator[tuple[int, Draw]] = enumerate(draws(seed))
        self._running = 0
        self._last = time.monotonic()
        self._until = time.monotonic() + LIMIT_S
        self.seen = Seen()

    async def spend(self, callers: int = CALLERS) -> None:
        """Until everybody has given up, so that what is left pays for no request like these."""
        await asyncio.gather(*(self._call() for _ in range(callers)))

    async def probe(self) -> None:
        """Ever smaller requests, one at a time, each size until it is refused."""
        caller: Caller | None = None
        for size in PROBES:
            for number in range(10_000):
                draw = probe(size, number)
                caller, answer = await self._ask(caller, draw)
                if not answer.is_whole:
                    self._refused(-size, draw, answer)
                    break
        if caller is not None:
            caller.transport.close()

    async def _call(self) -> None:
        caller: Caller | None = None
        for number, draw in self._draws:
            self.seen.drawn += 1
            pauses = chain(AGAIN_S, repeat(AGAIN_S[-1]))
            while True:
                caller, answer = await self._ask(caller, draw)
                if answer.status == 200 or answer.how == "left":
                    break
                self._refused(number, draw, answer)
                now = time.monotonic()
                self.seen.in_time = self.seen.in_time and now < self._until
                if not self.seen.in_time or (not self._running and now - self._last > QUIET_S):
                    caller.transport.close()
                    return
                await asyncio.sleep(next(pauses) * self._chance.uniform(0.5, 1.5))

    async def _ask(self, caller: Caller | None, draw: Draw) -> tuple[Caller, Answer]:
        if caller is None or not caller.is_open:
            caller = await connect(self._port, self._head)
        running = False

        def began(status: int) -> None:
            nonlocal running
            if status == 200:
                running, self._running, self._last = True, self._running + 1, time.monotonic()

        caller.began = began
        answer = await caller.exchange(draw.body, None, draw.leave_events)
        if running:
            self._running -= 1
            self._last = time.monotonic()
        self.seen.outcomes[str(answer.status) if answer.how == "ended" else answer.how] += 1
        if answer.is_whole and b'"finish_reason":"length"' in answer.body.replace(b": ", b":"):
            self.seen.cut_short += 1
        return caller, answer

    def _refused(self, number: int, draw: Draw, answer: Answer) -> None:
        self.seen.refused.append(Refused(time.monotonic_ns(), number, draw, _code(answer)))


def _code(answer: Answer) -> str:
    """Status and code; where that only repeats the status, the type."""
    found = [match[1].decode() for name in (b"code", b"type") if (match := re.search(_FIELD % name, answer.body))]
    words = next((word for word in found if not word.isdigit()), answer.how)
    return f"{answer.status} {words}"

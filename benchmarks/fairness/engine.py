"""A pod with continuous batching on the virtual clock: first come, first served, chunked prefill, a bound on sequences.

Its passes take what the iteration model says, with the coefficients of Llama 2 70B on four A100 (fitted to Microsoft's
splitwise timings by `trimtab.foundations.podmodel.fit`), and a seeded noise.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from benchmarks.fairness.arrivals import Request
from trimtab.foundations.podmodel import Pod

LLAMA_70B = Pod(
    base_ms=43.85, sequence_ms=0.084, held_ms=0.00033, prefill_ms=18, prompt_ms=0.2206, attend_ms=0, serial=0.1
)
CHUNK = 512
NOISE = 0.05
"""Standard deviation of the logarithm of a pass's time."""


class Job:
    """One request in the engine; `on_token` is told of each of its tokens."""

    __slots__ = ("done", "on_token", "prompt", "request", "wrote")

    def __init__(self, request: Request, on_token: Callable[[], None], done: asyncio.Future[None]) -> None:
        self.request, self.on_token, self.done = request, on_token, done
        self.prompt = request.prompt
        self.wrote = 0


class Engine:
    """One replica with so many sequences at once."""

    def __init__(self, sequences: int, seed: int) -> None:
        self._sequences = sequences
        self._noise = random.Random(seed)
        self._queue: deque[Job] = deque()
        self._active: list[Job] = []
        self._awake = asyncio.Event()

    async def ask(self, request: Request, on_token: Callable[[], None]) -> None:
        """Until its last token."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(Job(request, on_token, done))
        self._awake.set()
        await done

    async def run(self) -> None:
        """For ever."""
        while True:
            if not self._active and not self._queue:
                self._awake.clear()
                await self._awake.wait()
            while self._queue and len(self._active) < self._sequences:
                self._active.append(self._queue.popleft())
            await self._one_pass()

    async def _one_pass(self) -> None:
        writing = [job for job in self._active if not job.prompt]
        taken, squares, ready = 0, 0.0, []
        for job in self._active:
            part = min(job.prompt, CHUNK - taken)
            if part > 0:
                squares += part * (job.request.prompt - job.prompt + part / 2)
                taken += part
                job.prompt -= part
                ready += [job] if not job.prompt else []
        held = sum(job.request.prompt + job.wrote for job in writing)
        ms = LLAMA_70B.pass_ms(len(writing), held, taken, squares / taken if taken else 0.0)
        await asyncio.sleep(ms / 1000 * self._noise.lognormvariate(0, NOISE))
        for job in (*writing, *ready):
            job.wrote += 1
            job.on_token()
            if job.wrote >= job.request.output:
                self._active.remove(job)
                job.done.set_result(None)

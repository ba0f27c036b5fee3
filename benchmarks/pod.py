"""An inference pod with continuous batching on the virtual clock: first come, first served, chunked prefill, a bound on
sequences.

Its passes take what the iteration model says of a pod's coefficients, with a seeded noise. Those of `LLAMA_70B` are of
Llama 2 70B on four A100 (fitted to Microsoft's splitwise timings by `trimtab.foundations.podmodel.fit`).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

from trimtab.foundations.podmodel import Pod

LLAMA_70B = Pod(
    base_ms=43.85, sequence_ms=0.084, held_ms=0.00033, prefill_ms=18, prompt_ms=0.2206, attend_ms=0, serial=0.1
)
CHUNK = 512
NOISE = 0.05
"""Standard deviation of the logarithm of a pass's time."""


class Job:
    """One request in an engine; `on_token` is told of each of its tokens, `done` when it is with the engine no more."""

    __slots__ = ("_gone", "done", "left", "on_token", "output", "prompt", "wrote")

    def __init__(self, prompt: int, output: int, on_token: Callable[[], None], gone: set[Job]) -> None:
        self.prompt, self.output, self.on_token, self._gone = prompt, output, on_token, gone
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = prompt
        """Tokens of its prompt that are still to be taken in."""
        self.wrote = 0

    def hang_up(self, *, at_once: bool = True) -> None:
        """Nobody reads it any more: the engine drops it before its next pass; else only once its next token can't be
        delivered, so that a prompt which waits is still taken in."""
        if self.done.done():
            return
        if at_once:
            self._gone.add(self)
        else:
            self.output = self.wrote + 1


class Engine:
    """One replica with so many `sequences` at once, and `chunk` prompt tokens in a pass. `pod` may be changed while it
    runs: from the next pass on it is as fast as that."""

    def __init__(
        self, sequences: int, seed: int, pod: Pod = LLAMA_70B, *, chunk: int = CHUNK, noise: float = NOISE
    ) -> None:
        self.pod = pod
        self._sequences, self._chunk, self._noise = sequences, chunk, noise
        self._chosen = random.Random(seed)
        self._queue: deque[Job] = deque()
        self._reading: list[Job] = []
        """Whose prompts are taken in, in order."""
        self._writing: list[Job] = []
        self._held = 0
        """Tokens that those who write hold together."""
        self._gone: set[Job] = set()
        self._awake = asyncio.Event()

    def __len__(self) -> int:
        """Requests that it has, running or not."""
        return len(self._queue) + len(self._reading) + len(self._writing)

    def send(self, prompt: int, output: int, on_token: Callable[[], None]) -> Job:
        """It gets a request, of at least one token each way."""
        job = Job(prompt, output, on_token, self._gone)
        self._queue.append(job)
        self._awake.set()
        return job

    def opens(self, job: Job) -> None:
        """Its prompt is about to be taken in: an engine that keeps prefixes may leave less of it."""

    def took_in(self, job: Job) -> None:
        """All of its prompt is in."""

    async def run(self) -> None:
        """For ever."""
        while True:
            self._drop_gone()
            while self._queue and len(self._reading) + len(self._writing) < self._sequences:
                job = self._queue.popleft()
                self.opens(job)
                self._reading.append(job)
            if self._reading or self._writing:
                await self._one_pass()
            else:
                self._awake.clear()
                await self._awake.wait()

    def _drop_gone(self) -> None:
        gone = self._gone
        if not gone:
            return
        self._held -= sum(job.prompt + job.wrote for job in self._writing if job in gone)
        self._queue = deque(job for job in self._queue if job not in gone)
        self._reading = [job for job in self._reading if job not in gone]
        self._writing = [job for job in self._writing if job not in gone]
        for job in gone:
            if not job.done.done():
                job.done.set_result(None)
        gone.clear()

    async def _one_pass(self) -> None:
        taken, squares, read = 0, 0.0, 0
        for job in self._reading:
            part = min(job.left, self._chunk - taken)
            if not part:
                break
            squares += part * (job.prompt - job.left + part / 2)
            taken += part
            job.left -= part
            read += not job.left
        ms = self.pod.pass_ms(len(self._writing), self._held, taken, squares / taken if taken else 0.0)
        await asyncio.sleep(ms / 1000 * self._chosen.lognormvariate(0, self._noise))
        ready = self._reading[:read]
        del self._reading[:read]
        self._held += len(self._writing) + sum(job.prompt + 1 for job in ready)
        self._writing += ready
        for job in ready:
            self.took_in(job)
        ended = False
        for job in self._writing:
            job.wrote += 1
            job.on_token()
            ended |= job.wrote >= job.output
        if ended:
            over = [job for job in self._writing if job.wrote >= job.output]
            self._writing = [job for job in self._writing if job.wrote < job.output]
            self._held -= sum(job.prompt + job.wrote for job in over)
            for job in over:
                job.done.set_result(None)


class Pool:
    """Replicas of one model: the one with the fewest requests gets the next, unless it is said which."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines

    def send(self, prompt: int, output: int, on_token: Callable[[], None], replica: int | None = None) -> Job:
        engine = min(self.engines, key=len) if replica is None else self.engines[replica]
        return engine.send(prompt, output, on_token)

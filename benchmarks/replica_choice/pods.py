"""Replicas that keep prefixes: `benchmarks.pod.Engine`, with the blocks of prompts that it has memory for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.pod import Engine, Job
from trimtab.foundations.podmodel import Pod

BLOCK: Final = 512
"""Tokens of a block, as the trace has them."""
POD: Final = Pod(
    base_ms=14.0, sequence_ms=0.05, held_ms=1.6e-5, prefill_ms=5.0, prompt_ms=0.064, attend_ms=1.2e-6, serial=0.3
)
"""By arithmetic, Llama 3 70B on four H100: 140 GB of weights and 160 KB for each held token are read at 75 % of
13.4 TB/s; 140 GFLOP for each prompt token, and 2.6 MFLOP for each token that it attends to, are done at 55 % of 4
PFLOP/s."""
CHUNK: Final = 2048
SEQUENCES: Final = 256
TOKENS: Final = 925_000
"""What a replica has memory for: nine tenths of four H100 without the weights, at 160 KB a token (keys and values of 8
bits)."""


class Replica(Engine):
    """Its own book of what it holds, which nobody asks: least recently used blocks go."""

    def __init__(self, seed: int, tokens: int = TOKENS) -> None:
        super().__init__(SEQUENCES, seed, POD, chunk=CHUNK)
        self._room = tokens // BLOCK
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._of: dict[Job, Sequence[int]] = {}
        self.cached: dict[Job, int] = {}
        """Tokens of each prompt that needed no work."""

    def ask(self, blocks: Sequence[int], prompt: int, output: int, on_token: Callable[[], None]) -> Job:
        job = self.send(prompt, output, on_token)
        self._of[job] = blocks
        return job

    def opens(self, job: Job) -> None:
        """What it holds is not taken in again, but for the last token."""
        held = 0
        for block in self._of[job]:
            if block not in self._blocks:
                break
            held += 1
        self.cached[job] = min(held * BLOCK, job.prompt - 1)
        job.left = job.prompt - self.cached[job]

    def took_in(self, job: Job) -> None:
        for block in reversed(self._of.pop(job)):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._room:
            self._blocks.popitem(last=False)

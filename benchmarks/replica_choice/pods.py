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
    base_ms=14.4,
    spread_ms=2.26,
    sequence_ms=0.0119,
    held_ms=4.2e-5,
    prefill_ms=66.2,
    prompt_ms=0.0137,
    attend_ms=3.21e-6,
    serial=0.305,
)
"""The shape of 29 combinations of model and GPU (`podmodel.typical`), at 25 ms for a pass over 16 sequences of 2,000
tokens and 100 ms for a prompt of 2,000: about a model of 70 B weights on four H100."""
CHUNK: Final = 2048
SEQUENCES: Final = 256
TOKENS: Final = 400_000
"""What a replica has memory for: four H100 without the weights, at 320 KB a token."""


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

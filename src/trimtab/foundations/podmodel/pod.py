"""The iteration model of an inference pod: what one pass of continuous batching takes, from what is in the batch.

An engine with continuous batching works in iterations (Orca, OSDI 2022): each gives every running sequence one token,
and takes in a part of the prompts that wait. A pass over the sequences is bound by memory traffic, one over prompts by
arithmetic; where both are in one batch (chunked prefill: Sarathi-Serve, OSDI 2024) they overlap as far as the hardware
lets them:

    decode  d = base + spread sqrt(B) + sequence B + held KV   for B running sequences that hold KV tokens together
    prefill p = prefill + prompt P + attend P A                for P prompt tokens that attend to A tokens each (mean)
    pass    t = max(d, p) + serial min(d, p)                   serial 0: the roofline (a GPU); 1: in turns (a CPU)

`spread` is for mixtures of experts: each further sequence needs weights that others need too, the fewer new ones the
more there are. On 29 combinations of model and GPU (benchmarks/podmodel) it halved the error of the time between
tokens, from 7.5 to 3.4 % (median of what was left out). `attend` is what makes long prompts dearer than their length. A
model of kernels (Vidur, MLSys 2024) is finer, but has to be measured on the machine; these coefficients can be learnt
from the times that a gateway sees anyway.
"""

from __future__ import annotations

import math

import msgspec


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """Coefficients of one model on one kind of replica, all at least 0. Raises ValueError for others."""

    base_ms: float
    """A pass with anything running."""
    sequence_ms: float
    """Each running sequence."""
    held_ms: float
    """Each token that running sequences hold."""
    prefill_ms: float
    """A pass with any prompt in it."""
    prompt_ms: float
    """Each prompt token."""
    attend_ms: float
    """Each prompt token, for each token that it attends to."""
    spread_ms: float = 0.0
    """Each running sequence, the less the more there are: times the square root of their number."""
    serial: float = 0.0
    """Share of the shorter half that is not hidden behind the longer one."""
    chunk: int | None = None
    """Prompt tokens that one pass takes in at most; None: a prompt of any length in one."""

    def __post_init__(self) -> None:
        decode = (self.base_ms, self.spread_ms, self.sequence_ms, self.held_ms)
        numbers = (*decode, self.prefill_ms, self.prompt_ms, self.attend_ms)
        if not all(0 <= number < math.inf for number in numbers):
            raise ValueError(f"coefficients are finite and at least 0, got {self}")
        if not 0 <= self.serial <= 1:
            raise ValueError(f"serial is a share between 0 and 1, got {self.serial}")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is at least 1 token, got {self.chunk}")

    def decode_ms(self, running: float, held: float) -> float:
        """A pass that only goes on with `running` sequences, which hold `held` tokens together."""
        if not running:
            return 0.0
        return self.base_ms + self.spread_ms * math.sqrt(running) + self.sequence_ms * running + self.held_ms * held

    def prompt_pass_ms(self, prompt: float, attended: float) -> float:
        """A pass that only takes in `prompt` tokens, each of which attends to `attended` tokens on average."""
        return self.prefill_ms + (self.prompt_ms + self.attend_ms * attended) * prompt if prompt else 0.0

    def pass_ms(self, running: float, held: float, prompt: float = 0.0, attended: float = 0.0) -> float:
        """One iteration, in ms."""
        decode, prefill = self.decode_ms(running, held), self.prompt_pass_ms(prompt, attended)
        return max(decode, prefill) + self.serial * min(decode, prefill)

    def added_ms(self, running: float, held: float, prompt: float, attended: float) -> float:
        """By how much prompt tokens in it make a pass longer: what running sequences lose to them."""
        return self.pass_ms(running, held, prompt, attended) - self.decode_ms(running, held)

    def intake_ms(self, prompt: float, cached: float = 0.0, running: float = 0.0, held: float = 0.0) -> float:
        """From the first pass with a prompt to its first token: `prompt` tokens behind `cached` ones that need no work,
        while `running` sequences go on. As many passes as `chunk` asks for."""
        if prompt <= 0:
            return self.decode_ms(running, held)
        size = min(prompt, self.chunk or prompt)
        whole = int(prompt // size)
        rest = prompt - whole * size
        # Prompt tokens attend to more from pass to pass. Up to some pass the sequences take longer, from then on the
        # prompt does. On each side times grow evenly, so that the middle pass stands for all.
        hidden = self._hidden(size, cached, whole, self.decode_ms(running, held))
        total = hidden * self.pass_ms(running, held, size, cached + hidden * size / 2)
        total += (whole - hidden) * self.pass_ms(running, held, size, cached + (hidden + whole) * size / 2)
        if rest > 0:
            total += self.pass_ms(running, held, rest, cached + whole * size + rest / 2)
        return total

    def _hidden(self, size: float, cached: float, passes: int, decode: float) -> int:
        """How many of the first passes over `size` prompt tokens each take less than the sequences."""
        first = self.prompt_pass_ms(size, cached + size / 2)
        grows = self.attend_ms * size * size
        if first >= decode:
            return 0
        return passes if first + grows * passes <= decode else min(passes, math.ceil((decode - first) / grows))


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A pass as it was seen, or the mean one of a span in which the batch changed little."""

    ms: float
    """What it took, above 0."""
    running: float = 0.0
    """Sequences that went on by a token."""
    held: float = 0.0
    """Tokens that those hold together."""
    prompt: float = 0.0
    """Prompt tokens that were taken in."""
    attended: float = 0.0
    """Tokens that each of those attended to, on average."""
    weight: float = 1.0
    """How many passes it stands for."""

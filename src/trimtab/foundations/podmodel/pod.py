"""The iteration model of an inference pod: what one pass of continuous batching takes, from what is in the batch.

An engine with continuous batching works in iterations (Orca, OSDI 2022): each gives every running sequence one token,
and takes in a part of the prompts that wait. A pass over the sequences is bound by memory traffic, one over prompts by
arithmetic; where both are in one batch (chunked prefill: Sarathi-Serve, OSDI 2024) they overlap as far as the hardware
lets them:

    decode  d = base + sequence B + held KV            for B running sequences that hold KV tokens together
    prefill p = prefill + prompt P + attend P A        for P prompt tokens that attend to A tokens each, on average
    pass    t = max(d, p) + serial min(d, p)           serial 0: the roofline (a GPU); 1: one after the other (a CPU)

`attend` is what makes long prompts dearer than their length. A model of kernels (Vidur, MLSys 2024) is finer, but has
to be measured on the machine; these coefficients can be learnt from the times that a gateway sees anyway.
"""

from __future__ import annotations

import msgspec


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """Coefficients of one model on one kind of replica. All are at least 0.

    `chunk`: prompt tokens that one pass takes in at most; None: a prompt of any length in one.
    """

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
    serial: float = 0.0
    """Share of the shorter half that is not hidden behind the longer one."""
    chunk: int | None = None

    def decode_ms(self, running: float, held: float) -> float:
        """A pass that only goes on with `running` sequences, which hold `held` tokens together."""
        return self.base_ms + self.sequence_ms * running + self.held_ms * held if running else 0.0

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
        whole, rest = divmod(prompt, size)
        total = 0.0
        if whole:  # attended tokens grow by the same from pass to pass, so the middle one stands for all
            total = whole * self.pass_ms(running, held, size, cached + whole * size / 2)
        if rest:
            total += self.pass_ms(running, held, rest, cached + whole * size + rest / 2)
        return total


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A pass as it was seen, or the mean one of a span in which the batch changed little."""

    ms: float
    running: float = 0.0
    held: float = 0.0
    prompt: float = 0.0
    attended: float = 0.0
    weight: float = 1.0

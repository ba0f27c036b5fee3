"""What callers ask: answers of random lengths with a heavy tail, by a seed; and what tokens cost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from trimtab.foundations.tokens.bound import prompt_bound

INPUT_NANO: Final = 500
OUTPUT_NANO: Final = 2000
"""Nano-dollars a token: half a dollar and two dollars a million."""
LEAST_OUTPUT: Final = 16
"""Tokens of the smallest answer that is any use: who is refused while there is money for the prompt and these is
refused falsely."""
MEDIAN, SIGMA, LONGEST = 80, 1.0, 1500
"""Of the answers' lengths, log-normal: 132 tokens on average, one of a hundred over 800."""
MOST: Final = (2048, 4096)
"""What callers set as `max_tokens`: much more than they use, as is usual."""
HANG_UPS: Final = 0.05
GAP_MS: Final = 10
PROBES: Final = (512, 128, 64, 32, LEAST_OUTPUT)
_WORDS: Final = (
    "please tell me about the order that was sent last week and what can be done if it is late " * 3
).split()


class Draw(NamedTuple):
    """One request. `leave_events`: its caller hangs up after so many events."""

    body: bytes
    prompt_tokens: int
    prompt_bound: int
    """Tokens that the prompt has at most, for who does not know its model's tokenizer: by its bytes."""
    leave_events: int | None = None

    @property
    def least_nanousd(self) -> int:
        """What it costs with the smallest answer."""
        return self.prompt_tokens * INPUT_NANO + LEAST_OUTPUT * OUTPUT_NANO

    @property
    def bound_nanousd(self) -> int:
        """What it costs at most with the smallest answer."""
        return self.prompt_bound * INPUT_NANO + LEAST_OUTPUT * OUTPUT_NANO


def draws(seed: int) -> Iterator[Draw]:
    """Without end."""
    chance, number = random.Random(seed), 0
    while True:
        number += 1
        length = max(1, min(LONGEST, round(chance.lognormvariate(0, SIGMA) * MEDIAN)))
        leave = chance.randint(1, min(length, 60)) if chance.random() < HANG_UPS else None
        text = " ".join(_WORDS[: chance.randint(5, 50)])
        yield _draw(f"say-n{length}-g{GAP_MS} {number} {text}", chance.choice(MOST), leave)


def probe(tokens: int, number: int) -> Draw:
    """A small request for an answer of exactly so many tokens."""
    return _draw(f"say-n{tokens} {number}", tokens, None)


def _draw(text: str, most: int, leave: int | None) -> Draw:
    messages = [{"role": "user", "content": text}]
    bound = prompt_bound(messages)
    assert bound is not None
    body = {
        "model": "auto",
        "messages": messages,
        "max_tokens": most,
        "temperature": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return Draw(msgspec.json.encode(body), len(text.split()), bound, leave)

"""Money is integer nano-dollars; prices are integer nano-dollars per million tokens; no float ever holds money.

One cost = ceil(sum(tokens x price) / 10^6), rounded up once over all attempts of a request (INTERFACES 7).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

NANO = 1_000_000_000
MILLION = 1_000_000


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one attempt, normalised: `prompt` includes `cached` and `written`, `completion` includes `reasoning`.

    None is unknown, 0 is a measured zero.
    """

    prompt: int | None = None
    """Tokens of the prompt, `cached` and `written` included."""
    cached: int | None = None
    """Of these, read from the provider's prompt cache."""
    written: int | None = None
    """Of these, written to it."""
    completion: int | None = None
    """Tokens of the answer, `reasoning` included."""
    reasoning: int | None = None
    """Of these, reasoning."""
    source: str = "upstream"
    """upstream (its own report), counted (by our tokenizer), estimated (unknown tokenizer)."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens, by kind. A kind without a price of its own costs what plain input costs."""

    input: int
    output: int
    cached: int | None = None
    written: int | None = None

    def units(self, usage: Usage) -> int:
        """Nano-dollars x 10^6: exact, to be summed over attempts and rounded once by `settle`."""
        prompt, cached, written = usage.prompt or 0, usage.cached or 0, usage.written or 0
        plain = max(0, prompt - cached - written)
        cached_price = self.input if self.cached is None else self.cached
        written_price = self.input if self.written is None else self.written
        return (
            plain * self.input + cached * cached_price + written * written_price + (usage.completion or 0) * self.output
        )

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars that this many tokens cost at most: the dearest kind of input."""
        dearest = max(self.input, self.cached or 0, self.written or 0)
        return settle(prompt_tokens * dearest + completion_tokens * self.output)

    def tokens_for(self, nanousd: int, prompt_tokens: int) -> int:
        """How many output tokens `nanousd` pays for after the prompt; at most 2^31 where output is free."""
        dearest = max(self.input, self.cached or 0, self.written or 0)
        left = nanousd * MILLION - prompt_tokens * dearest
        if left < 0:
            return 0
        return left // self.output if self.output else 1 << 31


class LoosePrice(Price, frozen=True, kw_only=True):
    """Of an endpoint that may write `overrun_tokens` beyond the cap of an answer, all its choices together."""

    overrun_tokens: int

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """With the overrun."""
        return super().most(prompt_tokens, completion_tokens + self.overrun_tokens)

    def tokens_for(self, nanousd: int, prompt_tokens: int) -> int:
        """Beside the overrun."""
        return max(0, super().tokens_for(nanousd, prompt_tokens) - self.overrun_tokens)


def settle(units: int) -> int:
    """Nano-dollars of a sum of `Price.units`, rounded up, once."""
    return -(-units // MILLION)


def nanousd(usd: Decimal) -> int:
    """Decimal dollars to nano-dollars; raises ValueError for what a nano-dollar can't hold."""
    scaled = usd * NANO
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{usd} is finer than a nano-dollar")
    return int(scaled)


def usd(nano: int) -> str:
    """Nano-dollars as decimal dollars without a float: 1_500_000 -> '0.0015'."""
    sign, nano = ("-" if nano < 0 else ""), abs(nano)
    text = f"{nano // NANO}.{nano % NANO:09d}".rstrip("0").rstrip(".")
    return sign + text

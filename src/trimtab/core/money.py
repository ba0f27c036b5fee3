"""Money is integer nano-dollars; prices are integer nano-dollars per million tokens; no float ever holds money.

One cost = ceil(sum(tokens x price) / 10^6), rounded up once over all attempts of a request (INTERFACES 7).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

NANO = 1_000_000_000
MILLION = 1_000_000


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one attempt, normalised: parts are inside of what they are parts of, never beside it.

    None is unknown, 0 is a measured zero.
    """

    prompt: int | None = None
    """Tokens of the prompt, `cached` and `written` included."""
    cached: int | None = None
    """Of these, read from the provider's prompt cache."""
    written: int | None = None
    """Of these, written to it."""
    written_1h: int | None = None
    """Of those written, the ones that are kept there for an hour."""
    audio_in: int | None = None
    """Of the prompt, audio."""
    audio_cached: int | None = None
    """Of the audio, read from the provider's prompt cache."""
    completion: int | None = None
    """Tokens of the answer, `reasoning` and `audio_out` included."""
    reasoning: int | None = None
    """Of these, reasoning."""
    audio_out: int | None = None
    """Of these, audio."""
    source: str = "upstream"
    """upstream (its own report), counted (by our tokenizer), estimated (unknown tokenizer)."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens, by kind.

    Text without a price of its own (cached, written, reasoning) costs what plain text costs. What is dearer with every
    provider (audio, what is written for an hour) costs the dearest that applies instead: a cost that is told too low is
    money that is gone unseen.
    """

    input: int
    output: int
    cached: int | None = None
    written: int | None = None
    written_1h: int | None = None
    audio_in: int | None = None
    audio_cached: int | None = None
    reasoning: int | None = None
    audio_out: int | None = None
    hourly: bool = False
    """What is written may be kept for an hour: the request asks for it."""
    spoken: bool = False
    """The answer may be audio: the request asks for it."""

    def units(self, usage: Usage) -> int:
        """Nano-dollars x 10^6: exact, to be summed over attempts and rounded once by `settle`."""
        return self._read(usage) + self._said(usage)

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars that this many tokens cost at most: the dearest kinds that the request can come to."""
        return settle(prompt_tokens * self._dearest_in + completion_tokens * self._dearest_out)

    def tokens_for(self, nanousd: int, prompt_tokens: int) -> int:
        """How many output tokens `nanousd` pays for after the prompt; at most 2^31 where output is free."""
        left = nanousd * MILLION - prompt_tokens * self._dearest_in
        if left < 0:
            return 0
        return left // self._dearest_out if self._dearest_out else 1 << 31

    def unpriced(self, usage: Usage) -> list[str]:
        """Kinds of these tokens that have no price of their own, and cost the dearest that applies."""
        kinds = ("written_1h", "audio_in", "audio_out")
        return [kind for kind in kinds if getattr(usage, kind) and getattr(self, kind) is None]

    def _read(self, usage: Usage) -> int:
        prompt, cached, written = usage.prompt or 0, usage.cached or 0, usage.written or 0
        hour = min(written, (written if self.hourly else 0) if usage.written_1h is None else usage.written_1h)
        plain = max(0, prompt - cached - written)
        cached_price, written_price = _or(self.cached, self.input), _or(self.written, self.input)
        text = plain * self.input + cached * cached_price
        text += (written - hour) * written_price + hour * self._of_an_hour
        heard = min(prompt, usage.audio_in or 0)
        if not heard:
            return text
        fresh, held = self._heard - self.input, _or(self.audio_cached, self._heard) - cached_price
        most = min(cached, heard)  # of the audio may have been cached; who does not say is believed the dearer of both
        least = min(most, max(0, heard - plain))
        if usage.audio_cached is not None:
            most = least = min(most, usage.audio_cached)
        return text + max((heard - part) * fresh + part * held for part in (least, most))

    def _said(self, usage: Usage) -> int:
        completion = usage.completion or 0
        audio = min(completion, usage.audio_out or 0)
        thought = min(completion - audio, usage.reasoning or 0)
        text = (completion - audio - thought) * self.output
        return text + thought * _or(self.reasoning, self.output) + audio * self._spoken

    @property
    def _of_an_hour(self) -> int:
        return max(self.input, self.cached or 0, self.written or 0) if self.written_1h is None else self.written_1h

    @property
    def _heard(self) -> int:
        return max(self._of_an_hour, self.written or 0) if self.audio_in is None else self.audio_in

    @property
    def _spoken(self) -> int:
        return max(self.output, self.reasoning or 0) if self.audio_out is None else self.audio_out

    @property
    def _dearest_in(self) -> int:
        return max(self.input, self.cached or 0, self.written or 0, self._of_an_hour if self.hourly else 0)

    @property
    def _dearest_out(self) -> int:
        return max(self.output, self.reasoning or 0, self._spoken if self.spoken else 0)


class LoosePrice(Price, frozen=True, kw_only=True):
    """Of an endpoint that may write `overrun_tokens` beyond the cap of an answer, all its choices together."""

    overrun_tokens: int

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """With the overrun."""
        return super().most(prompt_tokens, completion_tokens + self.overrun_tokens)

    def tokens_for(self, nanousd: int, prompt_tokens: int) -> int:
        """Beside the overrun."""
        return max(0, super().tokens_for(nanousd, prompt_tokens) - self.overrun_tokens)


def _or(price: int | None, other: int) -> int:
    return other if price is None else price


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

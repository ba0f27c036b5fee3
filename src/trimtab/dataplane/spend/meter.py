"""The meter: how much an answer has used while it is still being written, and its lease kept a step ahead of that.

What an answer will use is not known before it ends. Reserving the most that it may fills budgets with money that
nobody spends; so what answers like it have used (`Lengths`) is reserved, and the lease grows by steps of `STEP` tokens
before the answer crosses what it holds. Where it can't grow, the answer ends there.

Tokens are counted by the text so far. A text never has more tokens than bytes, so as long as its bytes are paid for
nothing is counted; then it is, piece by piece, by the model's own vocabulary where that is known. Pieces are counted
apart, and one that was sent is a token at least: both err upwards.

An upstream keeps to its cap by itself, and a count that is an estimate may pass it: where all of it is paid for, only
an answer of `RUNAWAY` bytes for each token that it may have is ended, about four times the cap in English.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from trimtab.core.money import Price
from trimtab.dataplane.spend.lease import Lease
from trimtab.foundations.stats import Quantile
from trimtab.foundations.tokens import text_bytes

STEP: Final = 32
"""Tokens by which a lease grows, and how far it is ahead."""
FIRST: Final = 128
"""Tokens expected of an answer where nothing is known yet."""
RUNAWAY: Final = 16
"""Bytes: no text has so many for each of its tokens."""
_ALPHA, _WINDOW = 0.1, 200
_MOST_KEPT: Final = 512
"""Quantiles, of 4 KB each; the one that was asked longest ago goes first."""


class Lengths:
    """How long answers are: of each (tenant, channel, variant) the length that nine of ten don't exceed."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], Quantile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def expected(self, tenant: str, channel: str, variant: str, most: int) -> int:
        """Tokens to reserve for, at most `most`."""
        known = self._known.get((tenant, channel, variant))
        predicted = None if known is None else known.predict()
        if predicted is None:
            return min(most, FIRST)
        return max(1, int(min(most, predicted)))

    def observe(self, tenant: str, channel: str, variant: str, tokens: int) -> None:
        """An answer that ended by itself was so long."""
        name = (tenant, channel, variant)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Quantile(_ALPHA, window=_WINDOW)
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(name)
        known.observe(tokens)


class Meter:
    """Of one attempt. `prompt`: tokens that its prompt can't exceed, `spent`: nano-dollars of attempts before it,
    `most`: tokens that all its choices may have together."""

    def __init__(
        self, lease: Lease, price: Price, *, prompt: int, spent: int, most: int, count: Callable[[str, int], int]
    ) -> None:
        self._lease, self._price, self._count = lease, price, count
        self._prompt, self._spent, self._most = prompt, spent, most
        self._counted = self._bytes = self._uncounted_pieces = self._uncounted_bytes = 0
        self._uncounted = ""
        self._leased = self._paid()

    async def over(self, text: str, pieces: int) -> int:
        """By how many tokens what was produced so far, with this now, exceeds what can be paid for; 0: it goes on.
        Raises StoreLostError."""
        more = text_bytes(text)
        self._bytes += more
        if not self.all_paid:
            self._uncounted += text
            self._uncounted_pieces += pieces
            self._uncounted_bytes += more
            if self._counted + self._uncounted_bytes + STEP <= self._leased:
                return 0
            self._counted += max(self._count(self._uncounted, self._uncounted_pieces), self._uncounted_pieces)
            self._uncounted, self._uncounted_pieces, self._uncounted_bytes = "", 0, 0
            if self._counted + STEP > self._leased:
                await self._grow(self._counted + STEP)
        if self.all_paid:
            return max(0, self._bytes - RUNAWAY * self._most)
        return max(0, self._counted - self._leased)

    @property
    def all_paid(self) -> bool:
        """Whether what is held pays for all that the answer may have."""
        return self._leased >= self._most

    def tokens(self, text: str) -> int:
        return self._count(text, 1)

    async def _grow(self, tokens: int) -> None:
        """To the next whole step, or as far as there is money."""
        wanted = min(self._most, -(-tokens // STEP) * STEP)
        more = self._spent + self._price.most(self._prompt, wanted) - self._lease.granted
        if more > 0:
            await self._lease.extend(more)
        self._leased = self._paid()

    def _paid(self) -> int:
        return min(self._most, self._price.tokens_for(self._lease.granted - self._spent, self._prompt))

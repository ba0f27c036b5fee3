"""Pools: tokens that models outside a residency may take a day. Reserved before a request leaves and settled after it,
in the store that keeps the budgets, so that all its gateways share them and a restart forgets none.

The store counts whole numbers and asks nobody what they are: here they are tokens. All pools are accounts of one tenant
whose name no tenant can have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

from trimtab.core.clock import Clock
from trimtab.core.models import Model
from trimtab.dataplane.spend.accounts import Calendar
from trimtab.dataplane.spend.base import Account, Place, Store
from trimtab.dataplane.spend.lease import Holder, until_ns

POOLS: Final = "~overflow"


class Tokens:
    """So many tokens of a pool, held by one request until `settle`."""

    __slots__ = ("_id", "_open", "_store", "granted")

    def __init__(self, store: Store, id: str, granted: int) -> None:
        self._store, self._id, self.granted = store, id, granted
        self._open = True

    def settle(self, used: int) -> None:
        """Book what was used, and free the rest. Never waits; later calls change nothing."""
        if self._open:
            self._open = False
            self._store.settle(POOLS, self._id, used)


class Pools:
    """See the module."""

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock, self._store = clock, store
        self._calendar = Calendar()
        self._numbers = count()

    def __repr__(self) -> str:
        return f"<Pools in {self._store.name}>"

    async def reserve(
        self, model: str, tokens_per_day: int, tokens: int, *, record: str, key: str, lasts_s: float
    ) -> Tokens | None:
        """All of `tokens`, or None: the day has not so many left. Nobody waits for them: what others hold may come
        free, but the request is better refused than late. Raises StoreLostError."""
        lease = Holder(record, POOLS, key).lease(next(self._numbers))
        place = self._place(model, tokens_per_day)
        ends_ns = until_ns(self._clock.now_ns(), lasts_s)
        answer = await self._store.reserve(lease, [place], tokens, tokens, instead_of=None, until_ns=ends_ns)
        return None if answer.granted is None else Tokens(self._store, lease, answer.granted)

    def places(self, models: Mapping[str, Model]) -> Iterator[Place]:
        """Of every pool that is declared, now."""
        for name, model in models.items():
            if model.overflow is not None:
                yield self._place(name, model.overflow.tokens_per_day)

    def _place(self, model: str, tokens_per_day: int) -> Place:
        account = Account(POOLS, f"{POOLS}/{model}", "day", "UTC")
        return Place(account, self._calendar.window("day", "UTC", self._clock.wall_ns()), tokens_per_day)

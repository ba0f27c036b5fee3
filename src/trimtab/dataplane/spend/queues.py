"""Who waits for money, at which accounts, in order of arrival."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from operator import attrgetter

from trimtab.dataplane.spend.accounts import Claim
from trimtab.dataplane.spend.base import Account
from trimtab.dataplane.spend.lease import Holder, Lease

_order = attrgetter("order")


class Asking:
    """A request for money, and whose the lease will be, and until when. While it waits, `at` says where it stands;
    `called` is done when it should look again."""

    __slots__ = ("at", "called", "claims", "holder", "instead_of", "least", "order", "until_ns", "want")

    def __init__(
        self,
        claims: list[Claim],
        want: int,
        least: int,
        instead_of: Lease | None,
        order: int,
        holder: Holder,
        until_ns: int,
    ) -> None:
        self.claims, self.want, self.least, self.instead_of, self.order = claims, want, least, instead_of, order
        self.holder, self.until_ns = holder, until_ns
        self.at: frozenset[Account] = frozenset()
        self.called: asyncio.Future[None] | None = None

    @property
    def accounts(self) -> Iterator[Account]:
        """All that may have more room, or less of a queue, once this has its answer."""
        yield from (claim.account for claim in self.claims)
        if self.instead_of is not None:
            yield from self.instead_of.accounts


class Queues:
    """One queue an account, oldest first; empty ones are not kept."""

    def __init__(self) -> None:
        self._queues: dict[Account, list[Asking]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len({asking.order for queue in self._queues.values() for asking in queue})

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._queues))

    def __contains__(self, account: Account) -> bool:
        return account in self._queues

    def of_tenant(self, tenant: str) -> list[Account]:
        return [account for account in self._queues if account.tenant == tenant]

    def first(self, account: Account) -> Asking:
        return self._queues[account][0]

    def length(self, account: Account) -> int:
        return len(self._queues.get(account, ()))

    def goes_before(self, account: Account, order: int) -> bool:
        """Whether somebody who came earlier waits there."""
        queue = self._queues.get(account)
        return queue is not None and queue[0].order < order

    def place(self, asking: Asking, accounts: Iterable[Account]) -> frozenset[Account]:
        """Let it wait at these accounts and at no others; gives those that it no longer waits at."""
        before, asking.at = asking.at, frozenset(accounts)
        for account in asking.at - before:
            insort(self._queues.setdefault(account, []), asking, key=_order)
        gone = before - asking.at
        for account in gone:
            queue = self._queues[account]
            del queue[bisect_left(queue, asking.order, key=_order)]
            if not queue:
                del self._queues[account]
        return gone

"""A lease: money held for one request, on all of its accounts in one step, from reserve to settle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from trimtab.core.clock import Clock
from trimtab.core.money import usd
from trimtab.dataplane.spend.accounts import Account, Book, Claim


class Hold(NamedTuple):
    """Where a lease holds its money: the book stays the same, whatever the calendar says by now."""

    claim: Claim
    book: Book

    def room(self, wall_ns: int) -> int:
        """What could still be reserved here. Of a window that has ended, by the limit that it ended with."""
        book = self.book
        return self.claim.limit(min(wall_ns, book.window.end_ns - 1)) - book.settled - book.reserved


class Lease:
    """`granted` nano-dollars, held until the first `settle` or `release`. Nothing here waits: it can be called from any
    `finally`."""

    __slots__ = ("_clock", "_freed", "_holds", "_open", "_since_ns", "granted")

    def __init__(
        self, clock: Clock, freed: Callable[[Iterable[Account]], None], holds: tuple[Hold, ...], granted: int
    ) -> None:
        self.granted = granted
        self._clock, self._freed, self._holds = clock, freed, holds
        self._open, self._since_ns = True, clock.now_ns()
        for hold in holds:
            hold.book.open(granted)

    def settle(self, nanousd: int) -> None:
        """Book the true cost, in full where it is more than was granted, and free what was held. Once: later calls
        change nothing."""
        assert nanousd >= 0, nanousd
        if self.close(nanousd):
            self._freed(self.accounts)

    def release(self) -> None:
        """Nothing was spent."""
        self.settle(0)

    def extend(self, more: int) -> bool:
        """Hold `more` on every account, or on none. It goes before those who wait: a running answer would be cut."""
        assert more >= 0, more
        wall_ns = self._clock.wall_ns()
        if not self._open or any(hold.room(wall_ns) < more for hold in self._holds):
            return False
        for hold in self._holds:
            hold.book.reserved += more
        self.granted += more
        return True

    @property
    def accounts(self) -> list[Account]:
        return [hold.book.account for hold in self._holds]

    def held_in(self, book: Book) -> int:
        """What it holds of this book."""
        return self.granted if self._open and any(hold.book is book for hold in self._holds) else 0

    def close(self, cost: int) -> bool:
        """`settle` without a look at who waits: for a step that is not over. False: it had ended before."""
        if not self._open:
            return False
        self._open = False
        held_ns = self._clock.now_ns() - self._since_ns
        for hold in self._holds:
            hold.book.close(self.granted, cost, held_ns)
        return True

    def __repr__(self) -> str:
        where = ", ".join(account.name for account in self.accounts) or "no account"
        return f"<Lease ${usd(self.granted)} of {where}, {'open' if self._open else 'ended'}>"

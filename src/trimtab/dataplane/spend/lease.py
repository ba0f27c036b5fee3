"""A lease: money held for one request, on all of its accounts in one step, from reserve to settle."""

from __future__ import annotations

from typing import NamedTuple

from trimtab.core.clock import Clock
from trimtab.core.money import usd
from trimtab.dataplane.spend.accounts import Claim
from trimtab.dataplane.spend.base import Account, Store
from trimtab.dataplane.spend.periods import Window

_GRACE_NS = 60 * 1_000_000_000
"""How long after its request's deadline a lease is still its holder's to settle."""


class Holder(NamedTuple):
    """Whose a lease is. A lease's id is made of it, so that one that is lost can still be booked on its request."""

    record: str
    channel: str
    key: str

    def lease(self, number: int) -> str:
        """The id of its lease with this number."""
        return f"{self.record}/{self.channel}/{self.key}.{number}"

    @classmethod
    def of(cls, lease: str) -> Holder:
        """Who holds a lease of this id."""
        record, channel, key = lease.rpartition(".")[0].split("/")
        return cls(record, channel, key)


class Hold(NamedTuple):
    """Where a lease holds its money: the window stays the same, whatever the calendar says by now."""

    claim: Claim
    window: Window


class Lease:
    """`granted` nano-dollars, held until the first `settle` or `release`. Settling never waits: it can be called from
    any `finally`. `room`: what the tightest account had beyond the grant when it was made; None without accounts."""

    __slots__ = ("_clock", "_holds", "_open", "_since_ns", "_store", "_until_ns", "granted", "id", "room")

    def __init__(
        self,
        id: str,
        clock: Clock,
        store: Store,
        holds: tuple[Hold, ...],
        granted: int,
        room: int | None,
        until_ns: int,
    ) -> None:
        self.id, self.granted, self.room = id, granted, room
        self._clock, self._store, self._holds, self._until_ns = clock, store, holds, until_ns
        self._open, self._since_ns = True, clock.now_ns()
        for hold in holds:
            hold.claim.began()

    def settle(self, nanousd: int) -> int:
        """Book the true cost, in full where it is more than was granted, and free what was held; gives how much more.
        Once: later calls change nothing."""
        assert nanousd >= 0, nanousd
        if not self.close() or not self._holds:
            return 0
        self._store.settle(self._holds[0].claim.account.tenant, self.id, nanousd)
        return max(0, nanousd - self.granted)

    def release(self) -> None:
        """Nothing was spent."""
        self.settle(0)

    async def extend(self, want: int) -> int:
        """Hold up to `want` more on every account; gives how much it is. It goes before those who wait: a running
        answer would be cut. Raises StoreLostError."""
        assert want >= 0, want
        if not self._open:
            return 0
        if not self._holds:
            self.granted += want
            return want
        wall_ns = self._clock.wall_ns()
        places = [hold.claim.within(hold.window, wall_ns) for hold in self._holds]
        more = await self._store.extend(self.id, places, want, self._until_ns)
        self.granted += more
        return more

    async def tightest(self) -> Account:
        """The account that has least left: what kept it from growing. It has one at least. Raises StoreLostError."""
        wall_ns = self._clock.wall_ns()
        places = [hold.claim.within(hold.window, wall_ns) for hold in self._holds]
        levels = await self._store.levels(places)
        return min(zip(places, levels, strict=True), key=lambda one: one[0].limit - one[1].used)[0].account

    @property
    def accounts(self) -> list[Account]:
        return [hold.claim.account for hold in self._holds]

    def held_in(self, account: Account, window: Window) -> int:
        """What it holds there."""
        here = any(hold.claim.account == account and hold.window == window for hold in self._holds)
        return self.granted if self._open and here else 0

    def close(self) -> bool:
        """It has ended in the store, or is about to. False: it had before."""
        if not self._open:
            return False
        self._open = False
        held_ns = self._clock.now_ns() - self._since_ns
        for hold in self._holds:
            hold.claim.ended(held_ns)
        return True

    def __repr__(self) -> str:
        where = ", ".join(account.name for account in self.accounts) or "no account"
        return f"<Lease ${usd(self.granted)} of {where}, {'open' if self._open else 'ended'}>"


def until_ns(now_ns: int, wait_s: float) -> int:
    """When a lease is taken for lost whose request must end within `wait_s` from now."""
    return now_ns + int(wait_s * 1e9) + _GRACE_NS

"""The port behind limits and budgets: where counters are kept. Two implementations, one conformance suite.

Each call is one atomic step over all counters of a request: all of them move, or none. What is *declared* (limits,
rates, who claims on what) is the caller's and comes along with each call, so a store knows no configuration. Amounts
are nano-dollars.

    room = limit - settled - reserved - doubt        settled + reserved + doubt <= limit, at every instant

A store that can't be reached raises `StoreLostError`; nothing was then done, as far as anybody knows. `settle` and
`credit` never wait and never raise: what they say reaches the store, or the lease runs out there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from trimtab.core.errors import TrimtabError
from trimtab.dataplane.spend.periods import Period, Window


class StoreLostError(TrimtabError):
    """The shared store can't be reached, or does not answer as it should."""


class Account(NamedTuple):
    """The identity of a budget. `scope`: `shop`, `shop/web` or `key_0123456789abcdef`."""

    tenant: str
    scope: str
    period: Period
    tz: str

    @property
    def name(self) -> str:
        """`shop/day`; behind `budget ` it is a refusal's `rule`."""
        return f"{self.scope}/{self.period}"


class Place(NamedTuple):
    """One account in one window, and how much of it may be gone or spoken for. `most`: a request may take at most that
    much here, whatever there is, since others came before it; None: as much as there is."""

    account: Account
    window: Window
    limit: int
    most: int | None = None


class Level(NamedTuple):
    """An account in a window at one instant: spent, held by leases, and unaccounted for after a crash."""

    settled: int = 0
    reserved: int = 0
    doubt: int = 0

    @property
    def used(self) -> int:
        return self.settled + self.reserved + self.doubt


class Reserved(NamedTuple):
    """The answer to `reserve`: the levels that were met, without the money of the lease that is exchanged, and what was
    granted on every account (None: less than `least`, nothing was done)."""

    levels: tuple[Level, ...]
    granted: int | None


class Charge(NamedTuple):
    """So much of a rate: GCRA's `n * T` and `burst * T`, in attoseconds. `name`: the key of its state."""

    name: str
    cost_as: int
    whole_as: int


class Charged(NamedTuple):
    """`used_as`: how much of each bucket is taken, after the charge if `ok`, as it is if not."""

    ok: bool
    used_as: tuple[int, ...]


class LostLease(NamedTuple):
    """A lease whose holder did not end it: what it was granted counts as spent, in these windows of these accounts."""

    lease: str
    tenant: str
    granted: int
    accounts: tuple[Account, ...]
    windows: tuple[Window, ...]


class Store(Protocol):
    """See the module. `lease`: an id that is used once."""

    name: str
    """What the start says of it: where counters live and how durable they are."""

    async def charge(self, tenant: str, charges: Sequence[Charge]) -> Charged:
        """All of these rates, or none."""
        ...

    def credit(self, tenant: str, charges: Sequence[Charge]) -> None:
        """Correct them; a cost may be negative. Refuses nothing: a debt makes later requests wait."""
        ...

    async def reserve(
        self, lease: str, places: Sequence[Place], want: int, least: int, *, instead_of: str | None, until_ns: int
    ) -> Reserved:
        """`min(want, room)` of the tightest place, if that is at least `least`. `instead_of`: a lease that ends at cost
        0 in the same step if this succeeds, and whose money counts as free. `until_ns`: when the lease is taken for
        lost, on the clock's `now_ns`."""
        ...

    async def extend(self, lease: str, places: Sequence[Place], want: int, until_ns: int) -> int:
        """What it holds more now, on every account: between 0 and `want`."""
        ...

    def settle(self, tenant: str, lease: str, cost: int) -> None:
        """End it: what it held is free, what it cost is spent. `cost` is at most what was granted, but for drift that
        the caller books as such. Later calls change nothing."""
        ...

    async def levels(self, places: Sequence[Place]) -> list[Level]:
        """As they are now."""
        ...

    def glance(self, places: Sequence[Place]) -> list[Level] | None:
        """As they are now, if that is known here without asking; None: somebody else may have changed them."""
        ...

    def listen(self, freed: Callable[[Iterable[Account]], None]) -> None:
        """Who is to be told when money came free: of these accounts, or of the whole tenant's (scope "")."""
        ...

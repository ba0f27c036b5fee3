"""Accounts: whose money it is, how much there may be, and how much of it is gone or spoken for.

A request claims on every budget of its tenant, its channel and its key. An account is named, not pointed at, so that
a configuration which is loaded anew finds it; its limit is what the request's own configuration says. Its state is a
*book*, one a window. A lease holds on to its books, so what was reserved on Monday is settled on Monday.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from trimtab.core.money import nanousd
from trimtab.core.tenancy import Budget, Channel, Key, KeyEntry, Tenancy, Tenant
from trimtab.dataplane.spend.periods import Period, Window, instant_ns, window_at

_nanousd = lru_cache(maxsize=4096)(nanousd)
_instant_ns = lru_cache(maxsize=4096)(instant_ns)
_NEVER_NS = 1 << 63
_NEWEST = 0.1  # weight of the newest lease in the average time for which one is held


class Account(NamedTuple):
    """The identity of a budget. `scope`: `commerce`, `commerce/checkout-bot` or `key_0123456789abcdef`."""

    scope: str
    period: Period
    tz: str

    @property
    def name(self) -> str:
        """`commerce/day`; behind `budget ` it is a refusal's `rule`."""
        return f"{self.scope}/{self.period}"


class Claim(NamedTuple):
    """One of the budgets that a request draws on, as its configuration declares it."""

    account: Account
    budget: Budget

    def limit(self, wall_ns: int) -> int:
        """Nano-dollars: the budget and the grants that still run."""
        total = _nanousd(self.budget.usd)
        for grant in self.budget.grants:
            if _instant_ns(grant.until) > wall_ns:
                total += _nanousd(grant.usd)
        return total


class Book:
    """One account in one window, in nano-dollars. `leases` are open; `held_ns`: how long one is, on average."""

    __slots__ = ("account", "held_ns", "leases", "reserved", "settled", "window")

    def __init__(self, account: Account, window: Window) -> None:
        self.account, self.window = account, window
        self.settled = self.reserved = self.leases = 0
        self.held_ns: float | None = None

    def open(self, granted: int) -> None:
        """A lease begins."""
        self.leases += 1
        self.reserved += granted

    def close(self, granted: int, cost: int, held_ns: int) -> None:
        """A lease ends: what it held is free, what it cost is gone."""
        self.leases -= 1
        self.reserved -= granted
        self.settled += cost
        self.held_ns = held_ns if self.held_ns is None else self.held_ns + _NEWEST * (held_ns - self.held_ns)
        assert self.reserved >= 0, f"{self} gave back more than was reserved"
        assert self.leases > 0 or (self.leases == 0 and self.reserved == 0), f"{self} reserves for nobody"

    def __repr__(self) -> str:
        return f"<Book {self.account.name} {self.window.id}: {self.settled} settled, {self.reserved} reserved>"


class _Page(NamedTuple):
    """The books of all accounts that share a period and a zone: their window turns for all of them at once."""

    window: Window
    books: dict[str, Book]


class Books:
    """The current book of each account, made when it is first asked for.

    A page whose window has ended is dropped whole, and with it the accounts that nobody declares any more. Until then
    the hot path pays one comparison for the calendar. A window never turns back: while a wall clock that was set back
    catches up, the newer window goes on.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[Period, str], _Page] = {}
        self._turns_ns = 0
        """When the first of the pages ends."""

    def book(self, account: Account, wall_ns: int) -> Book:
        """The account's book of now."""
        if wall_ns >= self._turns_ns:
            self._pages = {name: page for name, page in self._pages.items() if wall_ns < page.window.end_ns}
            self._turns_ns = min((page.window.end_ns for page in self._pages.values()), default=_NEVER_NS)
        page = self._pages.get((account.period, account.tz)) or self._begin(account.period, account.tz, wall_ns)
        book = page.books.get(account.scope)
        if book is None:
            book = page.books[account.scope] = Book(account, page.window)
        return book

    def _begin(self, period: Period, tz: str, wall_ns: int) -> _Page:
        page = self._pages[period, tz] = _Page(window_at(period, tz, wall_ns), {})
        self._turns_ns = min(self._turns_ns, page.window.end_ns)
        return page

    def __len__(self) -> int:
        return sum(len(page.books) for page in self._pages.values())


def claims_of(entry: KeyEntry, name: str, channel: Channel) -> tuple[Claim, ...]:
    """All budgets of a request."""
    return (*_of_tenant(entry.tenant), *_of_channel(entry.tenant, name, channel), *_of_key(entry.key))


def claims_by_name(
    tenancy: Tenancy, keys: Mapping[str, KeyEntry], tenant_id: str | None, channel_name: str | None, key_id: str | None
) -> Iterator[Claim]:
    """What is still declared of the budgets of a request that a record tells of. `keys`: by their id."""
    tenant = tenancy.tenants.get(tenant_id or "")
    if tenant is None:
        return
    yield from _of_tenant(tenant)
    if channel_name is not None and (channel := tenant.channels.get(channel_name)) is not None:
        yield from _of_channel(tenant, channel_name, channel)
    if (entry := keys.get(key_id or "")) is not None and entry.tenant.id == tenant.id:
        yield from _of_key(entry.key)


def all_claims(tenancy: Tenancy) -> Iterator[Claim]:
    """All budgets that are declared: of each tenant, then of its channels, then of its keys."""
    for tenant in tenancy.tenants.values():
        yield from _of_tenant(tenant)
        for name, channel in tenant.channels.items():
            yield from _of_channel(tenant, name, channel)
        for key in tenant.keys:
            yield from _of_key(key)


def _of_tenant(tenant: Tenant) -> Iterable[Claim]:
    return _claims(tenant.id, tenant.budgets) if tenant.budgets else ()


def _of_channel(tenant: Tenant, name: str, channel: Channel) -> Iterable[Claim]:
    return _claims(f"{tenant.id}/{name}", channel.cost.budgets) if channel.cost.budgets else ()


def _of_key(key: Key) -> Iterable[Claim]:
    return _claims(key.id, key.budgets) if key.budgets else ()


def _claims(scope: str, budgets: list[Budget]) -> list[Claim]:
    return [Claim(Account(scope, budget.period, budget.tz), budget) for budget in budgets]

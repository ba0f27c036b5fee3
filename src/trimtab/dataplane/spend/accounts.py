"""Accounts: whose money it is, how much there may be, and how much of it is gone or spoken for.

A request claims on every budget of its tenant, its channel and its key. An account is named, not pointed at, so that
a configuration which is loaded anew finds it; its limit is what the request's own configuration says. Its state is a
*book*, one a window. A lease holds on to its books, so what was reserved on Monday is settled on Monday.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from trimtab.core.clock import instant_ns
from trimtab.core.money import nanousd
from trimtab.core.tenancy import Budget, Channel, KeyEntry, Tenancy
from trimtab.dataplane.spend.periods import Period, Window, window_at

_NEVER_NS = 1 << 63
_NEWEST = 0.1  # weight of the newest lease in the average time for which one is held


class Account(NamedTuple):
    """The identity of a budget. `scope`: `shop`, `shop/web` or `key_0123456789abcdef`."""

    scope: str
    period: Period
    tz: str

    @property
    def name(self) -> str:
        """`shop/day`; behind `budget ` it is a refusal's `rule`."""
        return f"{self.scope}/{self.period}"


class Book:
    """One account in one window, in nano-dollars. `leases` are open; `held_ns`: how long one is, on average."""

    __slots__ = ("account", "ends_ns", "held_ns", "leases", "reserved", "settled", "window")

    def __init__(self, account: Account, window: Window) -> None:
        self.account, self.window, self.ends_ns = account, window, window.end_ns
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


class Claim:
    """A budget as a configuration declares it, on the account's books."""

    __slots__ = ("_book", "_books", "_grants", "_nanousd", "account")

    def __init__(self, books: Books, account: Account, budget: Budget) -> None:
        self.account = account
        self._books = books
        self._book: Book | None = None
        self._nanousd = nanousd(budget.usd)
        self._grants = [(instant_ns(grant.until), nanousd(grant.usd)) for grant in budget.grants]

    def limit(self, wall_ns: int) -> int:
        """Nano-dollars: the budget and the grants that still run."""
        total = self._nanousd
        for until_ns, more in self._grants:
            if until_ns > wall_ns:
                total += more
        return total

    def book(self, wall_ns: int) -> Book:
        """The account's book of now: a comparison, as long as its window lasts."""
        book = self._book
        if book is None or wall_ns >= book.ends_ns:
            book = self._book = self._books.book(self.account, wall_ns)
        return book


class _Page(NamedTuple):
    """The books of all accounts that share a period and a zone: their window turns for all of them at once."""

    window: Window
    books: dict[str, Book]


class Books:
    """The current book of each account, made when it is first asked for, and the claims on them.

    When a window ends its books are dropped whole, and with them the accounts that nobody declares any more. A window
    never turns back: while a wall clock that was set back catches up, the newer window goes on.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[Period, str], _Page] = {}
        self._turns_ns = 0
        """When the first of the pages ends."""
        self._claims: dict[str, tuple[list[Budget], tuple[Claim, ...]]] = {}
        """By scope: worked out once for each list of budgets, which is never changed, only replaced."""

    def __len__(self) -> int:
        return sum(len(page.books) for page in self._pages.values())

    def book(self, account: Account, wall_ns: int) -> Book:
        """The account's book of now."""
        if wall_ns >= self._turns_ns:
            self._turn(wall_ns)
        page = self._pages.get((account.period, account.tz))
        if page is None:
            page = _Page(window_at(account.period, account.tz, wall_ns), {})
            self._pages[account.period, account.tz] = page
            self._turns_ns = min(self._turns_ns, page.window.end_ns)
        book = page.books.get(account.scope)
        if book is None:
            book = page.books[account.scope] = Book(account, page.window)
        return book

    def _turn(self, wall_ns: int) -> None:
        self._pages = {name: page for name, page in self._pages.items() if wall_ns < page.window.end_ns}
        self._turns_ns = min((page.window.end_ns for page in self._pages.values()), default=_NEVER_NS)
        self._claims.clear()

    def claims(self, entry: KeyEntry, name: str, channel: Channel) -> list[Claim]:
        """All of a request."""
        tenant, key = entry.tenant, entry.key
        found: list[Claim] = []
        if tenant.budgets:
            found.extend(self._of(tenant.id, tenant.budgets))
        if channel.cost.budgets:
            found.extend(self._of(f"{tenant.id}/{name}", channel.cost.budgets))
        if key.budgets:
            found.extend(self._of(key.id, key.budgets))
        return found

    def named(
        self,
        tenancy: Tenancy,
        keys: Mapping[str, KeyEntry],
        tenant_id: str | None,
        channel_name: str | None,
        key_id: str | None,
    ) -> Iterator[Claim]:
        """What is still declared of the claims of a request that a record tells of. `keys`: by their id."""
        tenant = tenancy.tenants.get(tenant_id or "")
        if tenant is None:
            return
        yield from self._of(tenant.id, tenant.budgets)
        channel = tenant.channels.get(channel_name or "")
        if channel is not None:
            yield from self._of(f"{tenant.id}/{channel_name}", channel.cost.budgets)
        entry = keys.get(key_id or "")
        if entry is not None and entry.tenant.id == tenant.id:
            yield from self._of(entry.key.id, entry.key.budgets)

    def declared(self, tenancy: Tenancy) -> Iterator[Claim]:
        """All there are: of each tenant, then of its channels, then of its keys."""
        for tenant in tenancy.tenants.values():
            yield from self._of(tenant.id, tenant.budgets)
            for name, channel in tenant.channels.items():
                yield from self._of(f"{tenant.id}/{name}", channel.cost.budgets)
            for key in tenant.keys:
                yield from self._of(key.id, key.budgets)

    def _of(self, scope: str, budgets: list[Budget]) -> tuple[Claim, ...]:
        known = self._claims.get(scope)
        if known is None or known[0] is not budgets:
            claims = tuple(Claim(self, Account(scope, budget.period, budget.tz), budget) for budget in budgets)
            known = self._claims[scope] = (budgets, claims)
        return known[1]

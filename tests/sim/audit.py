"""The law of the port behind limits and budgets, written down a second time and held against each step as it is taken.

Every step of either back-end comes by here in the order in which it was carried out, with what it answered. The audit
says what it should have answered, what the books should be after it, and keeps what no back-end keeps: what became of
every lease, by the request that held it. It shares no code with what it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from sim.loop import Broken

SWEPT_AT_ONCE = 16


class Ask(msgspec.Struct, frozen=True):
    """One account in one request for money. `most`: None, or as much as may be taken. `ends_ns`: of its window."""

    book: str
    limit: int
    most: int | None
    ends_ns: int = 1 << 63


class Book(msgspec.Struct):
    settled: int = 0
    reserved: int = 0
    over: int = 0
    """Spent beyond what leases had been granted: providers that billed more than the meter."""


class Lease(msgspec.Struct):
    id: str
    tenant: str
    books: tuple[str, ...]
    granted: int
    until: int
    state: Literal["open", "settled", "lost", "moved"] = "open"
    cost: int = 0
    """What is booked for it, once it has ended."""
    to: str = ""
    late: bool = False
    """It was taken for lost, and its holder turned up."""


class Found(msgspec.Struct, frozen=True):
    """What the last step for a request's money met, its own money left out."""

    asks: tuple[Ask, ...]
    levels: tuple[tuple[int, int], ...]
    """Settled and reserved of each."""
    least: int
    granted: int | None

    @property
    def rooms(self) -> list[int]:
        return [ask.limit - sum(level) for ask, level in zip(self.asks, self.levels, strict=True)]

    @property
    def unspent(self) -> int:
        return min(ask.limit - settled for ask, (settled, _) in zip(self.asks, self.levels, strict=True))


class Audit:
    """See the module. `level` asks the back-end for a book as it is; None: it does not tell."""

    def __init__(self, level: Callable[[str], tuple[int, int] | None], *, expires: bool) -> None:
        self._level, self._expires = level, expires
        self.books: dict[str, Book] = {}
        self.leases: dict[str, Lease] = {}
        self.of: dict[str, list[Lease]] = {}
        """Leases by the request that asked for them."""
        self.found: dict[str, Found] = {}
        """By request: its last step."""
        self.tats: dict[str, int] = {}
        self.charged: dict[str, list[int]] = {}
        """By rate: each charge and correction."""
        self._dropped_us: dict[str, int] = {}
        self._to_tell: dict[str, list[tuple[str, int]]] = {}
        self.told: dict[str, list[int]] = {}
        """By lease: rows of lost ones that were handed out."""
        self._due: dict[str, Lease] = {}
        self.freed = 0
        """How often money came free."""

    # --- money

    def reserve(
        self, tenant: str, lease: str, asks: Sequence[Ask], want: int, least: int, old: str, now: int, until: int
    ) -> tuple[int | None, list[tuple[int, int]]]:
        """What the back-end must answer: granted, and the levels met. Takes the step."""
        self._sweep(tenant, now)
        own = self.leases.get(old) if old else None
        if own is not None and own.state not in ("open", "lost"):
            own = None
        granted, levels = want, []
        for ask in asks:
            book = self._book(ask.book)
            mine = own.granted if own is not None and ask.book in own.books else 0
            late = own is not None and own.state == "lost"
            levels.append((book.settled - mine, book.reserved) if late else (book.settled, book.reserved - mine))
            room = max(0, ask.limit - book.settled - book.reserved + mine)
            granted = min(granted, room if ask.most is None else min(room, ask.most))
        holder = lease.partition("/")[0]
        given = granted if granted >= least else None
        self.found[holder] = Found(tuple(asks), tuple(levels), least, given)
        if given is None:
            return None, levels
        if own is not None:
            for name in own.books:
                if own.state == "lost":
                    self._book(name).settled -= own.granted
                else:
                    self._book(name).reserved -= own.granted
            if own.state == "lost":
                own.late = True
                self._to_tell.setdefault(tenant, []).append((own.id, -own.granted))
            own.state, own.cost, own.to = "moved", 0, lease
            self._due.pop(own.id, None)
        if lease in self.leases:
            raise Broken(f"lease {lease} was made twice")
        made = Lease(lease, tenant, tuple(ask.book for ask in asks), granted, until)
        self.leases[lease] = self._due[lease] = made
        self.of.setdefault(holder, []).append(made)
        for ask in asks:
            self._book(ask.book).reserved += granted
            self._within(ask.book, ask.limit)
        return given, levels

    def extend(self, tenant: str, lease: str, limits: Sequence[int], want: int, now: int, until: int) -> int:
        self._sweep(tenant, now)
        held = self.leases.get(lease)
        if held is None or held.state != "open":
            return 0
        more = want
        for name, limit in zip(held.books, limits, strict=True):
            book = self._book(name)
            more = min(more, limit - book.settled - book.reserved)
        if more <= 0:
            return 0
        held.granted += more
        held.until = until
        for name, limit in zip(held.books, limits, strict=True):
            self._book(name).reserved += more
            self._within(name, limit)
        return more

    def settle(self, lease: str, cost: int) -> None:
        held = self.leases.get(lease)
        while held is not None and held.state == "moved":
            held = self.leases[held.to]
        if held is None or held.state not in ("open", "lost"):
            return
        for name in held.books:
            book = self._book(name)
            if held.state == "open":
                book.reserved -= held.granted
                book.settled += cost
            else:
                book.settled += cost - held.granted
            book.over += max(0, cost - held.granted)
        if held.state == "lost":
            held.late = True
            self._to_tell.setdefault(held.tenant, []).append((held.id, -held.granted))
        held.state, held.cost = "settled", cost
        self._due.pop(held.id, None)
        self.freed += 1

    def levels(self, tenant: str, books: Sequence[str], now: int) -> list[tuple[int, int]]:
        self._sweep(tenant, now)
        return [(book.settled, book.reserved) for book in map(self._book, books)]

    def take_lost(self, tenant: str, now: int) -> list[tuple[str, int]]:
        self._sweep(tenant, now)
        rows = self._to_tell.get(tenant, [])
        taken, self._to_tell[tenant] = rows[:64], rows[64:]
        for lease, granted in taken:
            self.told.setdefault(lease, []).append(granted)
        return taken

    def _sweep(self, tenant: str, now: int) -> None:
        """Leases of this tenant that nobody ended in time."""
        if not self._expires:
            return
        due = [one for one in self._due.values() if one.until <= now and one.tenant == tenant]
        for lease in sorted(due, key=lambda one: (one.until, one.id))[:SWEPT_AT_ONCE]:
            for name in lease.books:
                self._book(name).reserved -= lease.granted
                self._book(name).settled += lease.granted
            lease.state, lease.cost = "lost", lease.granted
            del self._due[lease.id]
            self._to_tell.setdefault(tenant, []).append((lease.id, lease.granted))
            self.freed += 1

    def _book(self, name: str) -> Book:
        book = self.books.get(name)
        if book is None:
            book = self.books[name] = Book()
        return book

    def _within(self, name: str, limit: int) -> None:
        book = self._book(name)
        if book.settled + book.reserved > limit + book.over:
            raise Broken(f"{name} is over its limit of {limit}: {book}")

    # --- rates

    def charge(
        self,
        names: Sequence[str],
        costs: Sequence[int],
        wholes: Sequence[int],
        now: int,
        *,
        force: bool,
        store_us: int | None = None,
    ) -> tuple[bool, list[int]]:
        """Whether they must be charged, and how much of each bucket is taken then. Takes the step. `store_us`: the
        shared store's own time, by which it drops what is in use no more; a correction that comes late tells an
        earlier `now`."""
        for name in names:
            if store_us is not None and self._dropped_us.get(name, 1 << 62) <= store_us:
                self.tats.pop(name, None)
        tats = [max(self.tats.get(name, 0), now) for name in names]
        ok = force or all(tat + cost - now <= whole for tat, cost, whole in zip(tats, costs, wholes, strict=True))
        if not ok:
            return False, [tat - now for tat in tats]
        used = []
        for name, tat, cost in zip(names, tats, costs, strict=True):
            used.append(tat + cost - now)
            self.charged.setdefault(name, []).append(cost)
            if used[-1] > 0:
                self.tats[name] = tat + cost
            else:
                self.tats.pop(name, None)
            if store_us is not None:
                self._dropped_us[name] = store_us // 1000 * 1000 + round(used[-1] / 1000 + 1000) * 1000
        return True, used

    # --- what every step is held to

    def same(self, what: str, answered: object, expected: object) -> None:
        if answered != expected:
            raise Broken(f"{what} answered {answered}, and should have answered {expected}")

    def check(self, books: Sequence[str]) -> None:
        """The back-end's books are what the steps so far make them, and what is reserved is what open leases hold."""
        for name in books:
            book = self._book(name)
            if book.reserved < 0:
                raise Broken(f"{name} has less than nothing reserved: {book}")
            level = self._level(name)
            if level is not None and level != (book.settled, book.reserved):
                raise Broken(f"{name} is {level}, and should be {(book.settled, book.reserved)} (settled, reserved)")
            held = sum(one.granted for one in self._due.values() if name in one.books)
            if held != book.reserved:
                raise Broken(f"{name} has {book.reserved} reserved, open leases hold {held}")

    def books_of(self, lease: str) -> tuple[str, ...]:
        held = self.leases.get(lease)
        while held is not None and held.state == "moved":
            held = self.leases[held.to]
        return held.books if held is not None else ()

    @property
    def open(self) -> list[Lease]:
        return [lease for lease in self.leases.values() if lease.state == "open"]

    def spent_by(self, holder: str) -> int:
        """What is booked for a request whose leases have ended: those that were lost for good left out."""
        return sum(lease.cost for lease in self.of.get(holder, ()) if lease.state == "settled")

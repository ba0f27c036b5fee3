"""Counters in this process: exact for one gateway, since a step between two awaits is atomic on one event loop.

An account's state is a *book*, one a window. A lease holds on to its books, so what was reserved on Monday is settled
on Monday. When a window has ended, and nobody holds money in it any more, its books are dropped whole, and with them
the accounts that nobody declares any more.

Money is durable before it is spent where a `Vault` is given: what is reserved stays within what the vault says was
drawn, and a step that needs more waits for it and then looks again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

from trimtab.core.clock import Clock
from trimtab.dataplane.spend.base import Account, Charge, Charged, Level, Place, Reserved
from trimtab.dataplane.spend.periods import Period, Window

_AS_PER_NS = 10**9


class Book:
    """One account in one window, in nano-dollars. `drawn`: up to there it may be used; what is drawn is durable."""

    __slots__ = ("account", "doubt", "drawn", "gone", "limit", "pace", "reserved", "settled", "spent_before", "window")

    def __init__(self, account: Account, window: Window) -> None:
        self.account, self.window = account, window
        self.settled = self.reserved = self.doubt = self.drawn = self.limit = 0
        self.gone = False
        """Nobody declares it any more, and another may stand in its place."""
        self.spent_before = self.pace = 0
        """`settled` when the vault last looked, and how much of it came in the second before."""

    @property
    def used(self) -> int:
        return self.settled + self.reserved + self.doubt

    def level(self) -> Level:
        return Level(self.settled, self.reserved, self.doubt)

    def __repr__(self) -> str:
        return f"<Book {self.account.name} {self.window.id}: {self.settled} settled, {self.reserved} reserved>"


class Vault(Protocol):
    """What makes drawn money durable."""

    def covers(self, needs: Sequence[tuple[Book, int]]) -> bool:
        """Whether each book's use may rise by this much now. Draws ahead where little is left."""
        ...

    async def draw(self, needs: Sequence[tuple[Book, int]]) -> None:
        """Return when that much, or all that a limit leaves, is drawn. Raises StoreLostError if the disk refuses."""
        ...

    def settled(self, lease: str, books: Sequence[Book], cost: int) -> None:
        """So much was spent by a lease; its record is still to be written."""
        ...

    def restored(self, book: Book) -> None:
        """It holds more than was spent from it here."""
        ...


class _Page(NamedTuple):
    """The books of all accounts that share a period and a zone: their window turns for all of them at once."""

    window: Window
    books: dict[Account, Book]


class _Held:
    """An open lease."""

    __slots__ = ("books", "granted")

    def __init__(self, books: list[Book], granted: int) -> None:
        self.books, self.granted = books, granted


class MemoryStore:
    """See the module, and `Store`. A lease does not run out: it ends with the process that holds it."""

    name = "memory"

    def __init__(self, clock: Clock, vault: Vault | None = None) -> None:
        self._clock, self._vault = clock, vault
        self._pages: dict[tuple[Period, str, str], _Page] = {}
        """By period, zone and window: the running one's, and those of ended ones in which leases still hold money."""
        self._leases: dict[str, _Held] = {}
        self._tats_as: OrderedDict[str, int] = OrderedDict()
        self._freed: Callable[[Iterable[Account]], None] = _nobody

    def __repr__(self) -> str:
        books = sum(len(page.books) for page in self._pages.values())
        return f"<MemoryStore {books} accounts, {len(self._leases)} leases, {len(self._tats_as)} rates in use>"

    def listen(self, freed: Callable[[Iterable[Account]], None]) -> None:
        self._freed = freed

    # --- rates

    async def charge(self, tenant: str, charges: Sequence[Charge]) -> Charged:
        now_as = self._clock.now_ns() * _AS_PER_NS
        before, after = [], []
        ok = True
        for name, cost_as, whole_as in charges:
            used_as = max(0, self._tats_as.get(name, 0) - now_as)
            before.append(used_as)
            after.append(used_as + cost_as)
            ok = ok and used_as + cost_as <= whole_as
        if not ok:
            return Charged(False, tuple(before))
        for charge, used_as in zip(charges, after, strict=True):
            self._keep(charge.name, now_as + used_as, now_as)
        return Charged(True, tuple(after))

    def credit(self, tenant: str, charges: Sequence[Charge]) -> None:
        now_as = self._clock.now_ns() * _AS_PER_NS
        for charge in charges:
            self._keep(charge.name, max(self._tats_as.get(charge.name, 0), now_as) + charge.cost_as, now_as)

    def _keep(self, name: str, tat_as: int, now_as: int) -> None:
        """Store a time stamp. One that is past says nothing, so it is dropped: here, or when the hand comes round.

        The hand is the front of the dictionary: what is looked at and still in use goes to the back. Two are looked at
        for each that is added, so that at most about twice as many are kept as are in use.
        """
        tats_as = self._tats_as
        looks = 1 if name in tats_as else 2
        tats_as[name] = tat_as
        for _ in range(looks):
            oldest = next(iter(tats_as))
            if tats_as[oldest] > now_as:
                tats_as.move_to_end(oldest)
            else:
                del tats_as[oldest]
                if not tats_as:
                    return

    # --- money

    async def reserve(
        self, lease: str, places: Sequence[Place], want: int, least: int, *, instead_of: str | None, until_ns: int
    ) -> Reserved:
        books = [self._book(place) for place in places]  # once: a period may turn while money is drawn
        while True:
            old = self._leases.get(instead_of) if instead_of is not None else None
            granted, owns, levels = want, [], []
            for place, book in zip(places, books, strict=True):
                own = old.granted if old is not None and book in old.books else 0
                room = max(0, place.limit - book.settled - book.reserved - book.doubt + own)
                granted = min(granted, room if place.most is None else min(room, place.most))
                owns.append(own)
                levels.append(Level(book.settled, book.reserved - own, book.doubt))
            if granted < least:
                return Reserved(tuple(levels), None)
            if self._vault is None:
                break
            needs = [(book, granted - own) for book, own in zip(books, owns, strict=True)]
            if self._vault.covers(needs):
                break
            await self._vault.draw(needs)
        if old is not None and instead_of is not None:
            self._end(instead_of, 0)
        for book in books:
            book.reserved += granted
        self._leases[lease] = _Held(books, granted)
        return Reserved(tuple(levels), granted)

    async def extend(self, lease: str, places: Sequence[Place], want: int, until_ns: int) -> int:
        while True:
            held = self._leases.get(lease)
            if held is None:
                return 0
            more = want
            for place, book in zip(places, held.books, strict=True):
                more = min(more, place.limit - book.used)
            if more <= 0:
                return 0
            needs = [(book, more) for book in held.books]
            if self._vault is None or self._vault.covers(needs):
                break
            await self._vault.draw(needs)
        for book in held.books:
            book.reserved += more
        held.granted += more
        return more

    def settle(self, tenant: str, lease: str, cost: int) -> None:
        held = self._end(lease, cost)
        if held is not None:
            self._freed([book.account for book in held.books])

    async def levels(self, places: Sequence[Place]) -> list[Level]:
        return self.glance(places)

    def glance(self, places: Sequence[Place]) -> list[Level]:
        return [self._book(place).level() for place in places]

    def restore(self, place: Place, settled: int, doubt: int = 0) -> None:
        """What is known from elsewhere to be spent there, and what may be."""
        book = self._book(place)
        book.settled += settled
        book.doubt += doubt
        book.drawn = max(book.drawn, book.used)
        if self._vault is not None:
            self._vault.restored(book)

    def forget(self, accounts: Collection[Account]) -> None:
        """Nobody declares them any more: who declares one again is told what it has cost. Leases hold on to theirs."""
        for page in self._pages.values():
            for account in accounts:
                if (book := page.books.pop(account, None)) is not None:
                    book.gone = True

    def book(self, place: Place) -> Book:
        """For the vault: the account's book of now."""
        return self._book(place)

    def books(self) -> list[Book]:
        """Every book of a window that has not been seen to end."""
        return [book for page in self._pages.values() for book in page.books.values()]

    def _end(self, lease: str, cost: int) -> _Held | None:
        held = self._leases.pop(lease, None)
        if held is not None:
            for book in held.books:
                book.reserved -= held.granted
                book.settled += cost
                assert book.reserved >= 0, f"{book} gave back more than was reserved"
            if cost and self._vault is not None:
                self._vault.settled(lease, held.books, cost)
        return held

    def _book(self, place: Place) -> Book:
        account, window, limit, _ = place
        name = account.period, account.tz, window.id
        page = self._pages.get(name)
        if page is None:
            self._drop(self._clock.wall_ns())
            page = self._pages[name] = _Page(window, {})
        book = page.books.get(account)
        if book is None:
            book = page.books[account] = Book(account, window)
        book.limit = limit
        return book

    def _drop(self, wall_ns: int) -> None:
        """Books of windows that have ended, once no lease holds money in them: who holds some may ask about it."""
        self._pages = {
            name: page
            for name, page in self._pages.items()
            if wall_ns < page.window.end_ns or any(book.reserved for book in page.books.values())
        }


def _nobody(accounts: Iterable[Account]) -> None: ...

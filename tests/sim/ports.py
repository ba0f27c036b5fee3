"""Where the audit listens: around the store in this process, and behind the wire of the shared one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sim.audit import Ask, Audit
from sim.valkey import Data
from trimtab.core.clock import Clock
from trimtab.dataplane.spend import Account, Level, MemoryStore, Place
from trimtab.dataplane.spend.base import Charge, Charged, Reserved

Note = Callable[..., None]


def book_of(place: Place) -> str:
    account = place.account
    return f"{account.tenant}>{account.scope}|{account.period}|{account.tz}|{place.window.id}"


class WatchedMemory:
    """A `Store`: the real one in this process, each step of it audited in the moment in which it is taken."""

    name = "memory"

    def __init__(self, store: MemoryStore, clock: Clock, note: Note) -> None:
        self.real, self._clock, self._note = store, clock, note
        self._books: dict[str, Any] = {}
        self.audit = Audit(self._level, expires=False)

    def _level(self, name: str) -> tuple[int, int] | None:
        book = self._books.get(name)
        return None if book is None else (book.settled, book.reserved)

    def _asks(self, places: Sequence[Place]) -> list[Ask]:
        return [Ask(book_of(place), place.limit, place.most, place.window.end_ns) for place in places]

    def _keep(self, places: Sequence[Place]) -> None:
        """Books are looked at as long as anybody may still spend in them, also after their window."""
        for place in places:
            name = book_of(place)
            if name not in self._books:
                self._books[name] = self.real.book(place)

    async def charge(self, tenant: str, charges: Sequence[Charge]) -> Charged:
        answer = await self.real.charge(tenant, charges)
        self._charged(charges, answer)
        return answer

    def credit(self, tenant: str, charges: Sequence[Charge]) -> None:
        self.real.credit(tenant, charges)
        self._charged(charges, None)

    def _charged(self, charges: Sequence[Charge], answer: Charged | None) -> None:
        names, now = [charge.name for charge in charges], self._clock.now_ns() * 10**9
        costs, wholes = [charge.cost_as for charge in charges], [charge.whole_as for charge in charges]
        ok, used = self.audit.charge(names, costs, wholes, now, force=answer is None)
        self._note("charge", names, costs, None if answer is None else answer.ok)
        if answer is not None:
            self.audit.same("charge", (answer.ok, answer.used_as), (ok, tuple(used)))

    async def reserve(
        self, lease: str, places: Sequence[Place], want: int, least: int, *, instead_of: str | None, until_ns: int
    ) -> Reserved:
        answer = await self.real.reserve(lease, places, want, least, instead_of=instead_of, until_ns=until_ns)
        self._note("reserve", lease, want, least, instead_of or "-", answer.granted)
        tenant, asks = places[0].account.tenant, self._asks(places)
        granted, levels = self.audit.reserve(tenant, lease, asks, want, least, instead_of or "", 0, until_ns)
        told = [(level.settled, level.reserved) for level in answer.levels]
        self.audit.same(f"reserve {lease}", (answer.granted, told), (granted, levels))
        self._keep(places)
        self.audit.check([ask.book for ask in asks])
        return answer

    async def extend(self, lease: str, places: Sequence[Place], want: int, until_ns: int) -> int:
        more = await self.real.extend(lease, places, want, until_ns)
        self._note("extend", lease, want, more)
        limits = [place.limit for place in places]
        self.audit.same(
            f"extend {lease}", more, self.audit.extend(places[0].account.tenant, lease, limits, want, 0, until_ns)
        )
        self.audit.check([book_of(place) for place in places])
        return more

    def settle(self, tenant: str, lease: str, cost: int) -> None:
        self._note("settle", lease, cost)
        self.audit.settle(lease, cost)  # who waits is called in the middle of the real one, and may not see other books
        self.real.settle(tenant, lease, cost)
        self.audit.check(self.audit.books_of(lease))

    async def levels(self, places: Sequence[Place]) -> list[Level]:
        return self.glance(places)

    def glance(self, places: Sequence[Place]) -> list[Level]:
        found = self.real.glance(places)
        for place, level in zip(places, found, strict=True):
            name = book_of(place)
            (expected,) = self.audit.levels(place.account.tenant, [name], 0)
            self.audit.same(f"the level of {name}", (level.settled, level.reserved), expected)
        return found

    def listen(self, freed: Callable[[Iterable[Account]], None]) -> None:
        self.real.listen(freed)


class Scripts:
    """What the shared store's scripts did, as steps of the port. `names`: each script's text to its name."""

    def __init__(self, data: Data, names: dict[str, str], note: Note) -> None:
        self._data, self.names, self._note = data, names, note
        self.audit = Audit(self._level, expires=True)
        self.count = 0

    def _level(self, name: str) -> tuple[int, int] | None:
        tenant, _, rest = name.partition(">")
        book = self._data.hashes.get(f"tt:{{{tenant}}}:book:{rest}", {})
        return int(book.get("settled", "0")), int(book.get("reserved", "0"))

    def __call__(self, text: str, keys: list[str], arguments: list[str], told: Any) -> None:
        self.count += 1
        name = self.names[text]
        prefix, *rest = arguments
        tenant = prefix.partition("{")[2].partition("}")[0]
        getattr(self, name)(tenant, keys, rest, told)

    def charge(self, tenant: str, keys: list[str], rest: list[str], told: Any) -> None:
        now, force, *numbers = map(int, rest)
        names = [key.partition("}:rate:")[2] for key in keys]
        store_us = self._data.now_us()
        ok, used = self.audit.charge(names, numbers[::2], numbers[1::2], now, force=force == 1, store_us=store_us)
        self._note("charge", names, numbers[::2], told[0], force)
        self.audit.same("charge", told, [str(int(ok)), *map(str, used)])

    def reserve(self, tenant: str, keys: list[str], rest: list[str], told: Any) -> None:
        lease, now, until, want, least, old, *numbers = rest
        self._note("reserve", lease, want, least, old or "-", told[0])
        books = _books(tenant, keys)
        asks = [
            Ask(book, int(limit), None if most == "-1" else int(most))
            for book, limit, most in zip(books, numbers[::3], numbers[1::3], strict=True)
        ]
        granted, levels = self.audit.reserve(tenant, lease, asks, int(want), int(least), old, int(now), int(until))
        flat = [str(number) for level in levels for number in level]
        self.audit.same(f"reserve {lease}", told, ["-1" if granted is None else str(granted), *flat])
        self.audit.check(books)

    def extend(self, tenant: str, keys: list[str], rest: list[str], told: Any) -> None:
        lease, now, until, want, *limits = rest
        self._note("extend", lease, want, told)
        more = self.audit.extend(tenant, lease, list(map(int, limits)), int(want), int(now), int(until))
        self.audit.same(f"extend {lease}", told, str(more))
        self.audit.check(_books(tenant, keys))

    def settle(self, tenant: str, keys: list[str], rest: list[str], told: Any) -> None:
        lease, cost = rest
        self._note("settle", lease, cost, told)
        self.audit.settle(lease, int(cost))
        self.audit.check(self.audit.books_of(lease))

    def levels(self, tenant: str, keys: list[str], rest: list[str], told: Any) -> None:
        books = _books(tenant, keys)
        levels = self.audit.levels(tenant, books, int(rest[0]))
        self.audit.same("levels", told, [str(number) for level in levels for number in level])
        self.audit.check(books)

    def lost(self, tenant: str, keys: list[str], rest: list[str], told: Any) -> None:
        rows = self.audit.take_lost(tenant, int(rest[0]))
        found = [tuple(row.split("\n")[:2]) for row in told]
        if rows or found:
            self._note("lost", found)
        self.audit.same("lost", found, [(lease, str(granted)) for lease, granted in rows])
        self.audit.check(list(self.audit.books))


def _books(tenant: str, keys: list[str]) -> list[str]:
    return [f"{tenant}>{key.partition('}:book:')[2]}" for key in keys]

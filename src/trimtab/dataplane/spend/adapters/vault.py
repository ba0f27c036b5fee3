"""Money of this process is durable before it is spent: blocks of it are drawn in a journal, ahead of need.

A block is what an account spent in the last second or in this one, at least what the request needs, and at most a
quarter of what is left behind that, so that it shrinks and the last money is spendable. All draws that wait go into one
append, in a worker thread. First blocks are drawn at the start, and those of a window that is about to begin with the
last seconds of the old one, so that midnight finds no request waiting for the disk.

Each ten seconds a *balance* is written of the books that changed: what is settled, and the number of the last record
that this holds. A request settles a moment before its record is written; until it is, its cost is not in a balance. So
after a crash the last balance and the records behind it say together what was spent, each thing once. What was drawn
and is not accounted for by them is `doubt`: it counts as spent until its window ends.

The lines of the journal add up to a `Kept`, when they are written as when they are read; where they have become long, a
new generation begins with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import TrimtabError
from trimtab.core.record import Record
from trimtab.dataplane.spend.adapters.memory import Book, MemoryStore
from trimtab.dataplane.spend.base import Account, Place, StoreLostError
from trimtab.dataplane.spend.lease import Holder
from trimtab.dataplane.spend.periods import Window, window_at
from trimtab.foundations.store import Journal

VERSION: Final = 1
"""Of a line of the journal."""
BALANCE_S: Final = 10
AHEAD_NS: Final = 5 * NS_PER_S
"""How long before a window begins its first blocks are drawn."""
_FIRST: Final = 1000
"""The first block is this part of the limit: nobody has shown yet what a request needs."""
_LONG_BYTES: Final = 1 << 20
_LATE_NS: Final = 3600 * NS_PER_S
"""How long an ended window is kept: a wall clock may be set back."""

_log = logging.getLogger(__name__)


class Entry(msgspec.Struct, array_like=True):
    """An account in a window, in nano-dollars. `drawn`: up to there it may be used. `settled`: None in a draw, which
    leaves it as it is, at first 0."""

    account: Account
    window: Window
    drawn: int
    settled: int | None = None
    doubt: int = 0

    @property
    def key(self) -> tuple[Account, int]:
        return self.account, self.window.start_ns


class Line(msgspec.Struct, omit_defaults=True):
    """`seqs`: of each worker the last record that is in what is settled; None: draws alone."""

    entries: list[Entry]
    seqs: dict[int, int] | None = None
    v: int = VERSION
    """Of its layout; left out where it is 1."""


class ForeignLinesError(TrimtabError):
    """A journal is whole, and its lines are not ours: another program or version wrote it."""


class Kept:
    """What the lines of a journal say together."""

    def __init__(self, payloads: Iterable[bytes] = ()) -> None:
        """Raises ForeignLinesError."""
        self.seqs: dict[int, int] = {}
        self.entries: dict[tuple[Account, int], Entry] = {}
        try:
            for payload in payloads:
                self.add(msgspec.json.decode(payload, type=Line))
        except msgspec.MsgspecError as error:
            raise ForeignLinesError(f"its lines can't be understood: {error}") from error

    def add(self, line: Line) -> None:
        """Takes over the line's entries. Raises ForeignLinesError for one of a newer version."""
        if line.v > VERSION:
            raise ForeignLinesError(f"a line is of version {line.v}, of a newer Trimtab; this one knows {VERSION}")
        if line.seqs is not None:
            self.seqs = line.seqs
        for entry in line.entries:
            before = self.entries.setdefault(entry.key, entry)
            if entry.settled is not None:
                self.entries[entry.key] = entry
            else:
                before.drawn = max(before.drawn, entry.drawn)

    def drop(self, wall_ns: int) -> None:
        """Windows that ended long ago."""
        self.entries = {key: one for key, one in self.entries.items() if wall_ns < one.window.end_ns + _LATE_NS}

    def line(self) -> Line:
        return Line(list(self.entries.values()), self.seqs)

    def knows(self, place: Place) -> bool:
        """Whether the lines tell of it: no record up to `seqs` says more then."""
        return (place.account, place.window.start_ns) in self.entries

    def holds(self, place: Place, record: Record) -> bool:
        """Whether what this record says was spent there is in the lines already."""
        return self.knows(place) and (record.seq or 0) <= self.seqs.get(record.worker or 0, 0)

    def restore(self, store: MemoryStore, places: Iterable[Place]) -> None:
        """Once the records behind the balances are booked: add the balances of what is declared. What nobody accounts
        for is in doubt."""
        for place in places:
            entry = self.entries.get((place.account, place.window.start_ns))
            if entry is not None:
                settled = store.book(place).settled + (entry.settled or 0)
                store.restore(place, entry.settled or 0, max(entry.doubt, entry.drawn - settled))


def all_drawn(places: Iterable[Place]) -> bytes:
    """A line that draws all of these: what of it nobody accounts for is in doubt from the next start on."""
    return msgspec.json.encode(Line([Entry(place.account, place.window, place.limit) for place in places]))


class Blocks:
    """A `Vault` over a journal, and a sink of records. On one event loop; the journal is written in worker threads."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        seqs: Callable[[], Mapping[int, int]],
        *,
        long_bytes: int = _LONG_BYTES,
    ) -> None:
        """`seqs`: the last record of each worker that was numbered, asked on the event loop. `long_bytes`: a journal
        that grew by this, and by four times its beginning, begins anew."""
        self._journal, self._clock, self._seqs, self._long_bytes = journal, clock, seqs, long_bytes
        self._kept = Kept()
        self._books: Callable[[], list[Book]] = list
        self._early: dict[str, list[tuple[Sequence[Book], int]]] = {}
        """By request: what it cost, while its record is not written."""
        self._changed: set[Book] = set()
        """Books of which the last balance is no longer true."""
        self._wanted: dict[Book, int] = {}
        self._coming: dict[tuple[Account, int], Entry] = {}
        """What is drawn, and durable, of windows that no book has been made for."""
        self._fresh: list[Entry] = []
        """What is to be drawn of such."""
        self._asked: set[tuple[Account, int]] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._balance = self._whole = False
        """What the next round is to write: a balance of what changed, or all there is in place of what was written."""
        self._refused: str | None = None
        self._grown = self._begun = 0

    def __repr__(self) -> str:
        return f"<Blocks {len(self._waiting)} wait{', the disk refuses' if self._refused else ''}>"

    @property
    def refused(self) -> str | None:
        """Why the disk takes nothing; None while it does."""
        return self._refused

    async def begin(self, store: MemoryStore, places: Sequence[Place]) -> None:
        """What was restored, and the first block of every budget, at one go. Raises StoreLostError."""
        self._books = store.books
        for place in places:
            book = store.book(place)
            self._want(book, book.used + book.limit // _FIRST)
        for book in store.books():
            book.spent_before = book.settled
            self._changed.add(book)
        self._whole = True
        await self._written()

    # --- what the store asks and tells

    def covers(self, needs: Sequence[tuple[Book, int]]) -> bool:
        covered = True
        for book, more in needs:
            if self._coming and (entry := self._coming.pop((book.account, book.window.start_ns), None)) is not None:
                book.drawn = max(book.drawn, entry.drawn)
            upto = book.used + more
            covered = covered and upto <= book.drawn
            block = _block(book, more)
            if book.drawn - upto < block // 2:
                self._want(book, upto + block)
        if self._wanted and self._refused is None:
            self._write()
        return covered

    async def draw(self, needs: Sequence[tuple[Book, int]]) -> None:
        for book, more in needs:
            upto = book.used + more
            self._want(book, upto + _block(book, more), least=upto)
        await self._written()

    def settled(self, lease: str, books: Sequence[Book], cost: int) -> None:
        self._early.setdefault(Holder.of(lease).record, []).append((books, cost))
        self._changed.update(books)

    def restored(self, book: Book) -> None:
        self._changed.add(book)

    def write(self, record: Record) -> None:
        """Its record is numbered. To be told in the same step."""
        for books, _ in self._early.pop(record.id, ()):
            self._changed.update(books)

    # --- what time asks

    async def keep(self) -> None:
        """Each second: how fast money goes, and blocks of windows that begin soon; each ten: a balance. Endless."""
        tick = 0
        while True:
            await asyncio.sleep(1)
            tick += 1
            self.look()
            if tick % BALANCE_S == 0 and (self._changed or self._refused):
                try:
                    await self.balance()
                except StoreLostError as error:
                    _log.error("budgets: %s", error)

    def look(self) -> None:
        """One second of it."""
        wall_ns = self._clock.wall_ns()
        self._asked = {key for key in self._asked if wall_ns < key[1]}
        self._coming = {key: entry for key, entry in self._coming.items() if wall_ns < entry.window.end_ns}
        for book in self._books():
            book.pace, book.spent_before = book.settled - book.spent_before, book.settled
            account, window = book.account, book.window
            if wall_ns < window.end_ns <= wall_ns + AHEAD_NS and book.limit:
                after = window_at(account.period, account.tz, window.end_ns)
                entry = Entry(account, after, min(book.limit, max(book.pace, book.limit // _FIRST)))
                if entry.key not in self._asked:
                    self._asked.add(entry.key)
                    self._fresh.append(entry)
        if self._fresh and self._refused is None:
            self._write()

    async def balance(self) -> None:
        """Write what is settled. Raises StoreLostError if the disk refuses; the lines before count then."""
        self._balance = True
        await self._written()

    async def close(self) -> None:
        """What is drawn and not used is given back. Once no request runs. Raises StoreLostError."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        try:
            line = self._balanced(self._books(), {}, trim=True)
            line.entries += [Entry(entry.account, entry.window, 0) for entry in self._coming.values()]
            await self._clock.offload(self._begin, line)
        except Exception as error:
            raise StoreLostError(f"budgets can't be balanced: {error}") from error

    # --- writing

    def _want(self, book: Book, upto: int, least: int = 0) -> None:
        upto = max(least, min(upto, book.limit))
        if upto > book.drawn:
            self._wanted[book] = max(upto, self._wanted.get(book, 0))

    async def _written(self) -> None:
        """Return when all that is wanted now is durable. Raises StoreLostError."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._write()
        await waiting

    def _write(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._rounds())

    async def _rounds(self) -> None:
        """One write at a time; all that comes meanwhile goes into the next."""
        try:
            while self._waiting or (self._refused is None and (self._wanted or self._fresh)):
                await self._round()
        finally:
            self._writing = None

    async def _round(self) -> None:
        wanted, self._wanted = self._wanted, {}
        fresh, self._fresh = self._fresh, []
        waiting, self._waiting = self._waiting, []
        whole, self._whole = self._whole or self._refused is not None, False
        balance, self._balance = self._balance or whole, False
        if balance:
            changed, self._changed = self._changed, set()
            line = self._balanced(self._books() if whole else changed, wanted)
        else:
            line = Line([Entry(book.account, book.window, upto) for book, upto in wanted.items()])
        ahead = [*self._coming.values(), *fresh] if whole else fresh
        line.entries += [msgspec.structs.replace(entry) for entry in ahead]
        lost: StoreLostError | None = None
        try:
            await self._clock.offload(self._begin if whole else self._add, line)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must not wait for ever
            lost = StoreLostError(f"money can't be made durable: {error}")
            if self._refused is None:
                _log.error("budgets: %s", lost)
            self._refused = str(lost)
            self._asked.difference_update(entry.key for entry in fresh)
        else:
            if self._refused is not None:
                _log.warning("budgets: the disk takes what is written again")
            self._refused = None
            for book, upto in wanted.items():
                book.drawn = max(book.drawn, upto)
            self._coming |= {entry.key: entry for entry in fresh}
        for one in waiting:
            if not one.done():
                if lost is None:
                    one.set_result(None)
                else:
                    one.set_exception(lost)

    def _balanced(self, books: Iterable[Book], wanted: Mapping[Book, int], *, trim: bool = False) -> Line:
        """A balance of these books, and what is to be drawn. `trim`: nothing is drawn beyond what is used."""
        early: dict[Book, int] = {}
        for book, cost in self._unwritten():
            early[book] = early.get(book, 0) + cost
        others = dict(wanted)
        entries = []
        for book in books:
            if book.gone:
                continue
            drawn = book.used if trim else max(book.used, book.drawn, others.pop(book, 0))
            entries.append(Entry(book.account, book.window, drawn, book.settled - early.get(book, 0), book.doubt))
        entries += [Entry(book.account, book.window, upto) for book, upto in others.items()]
        return Line(entries, dict(self._seqs()))

    def _unwritten(self) -> Iterator[tuple[Book, int]]:
        for settled in self._early.values():
            for books, cost in settled:
                for book in books:
                    yield book, cost

    # in a worker thread, one call at a time

    def _add(self, line: Line) -> None:
        payload = msgspec.json.encode(line)
        if self._grown > max(self._long_bytes, 4 * self._begun):
            kept = Kept([msgspec.json.encode(self._kept.line()), payload])
            kept.drop(self._clock.wall_ns())
            self._begin(kept.line())
            return
        self._journal.append([payload])
        self._kept.add(line)
        self._grown += len(payload)

    def _begin(self, line: Line) -> None:
        """In place of all that was written."""
        payload = msgspec.json.encode(line)
        self._journal.checkpoint(payload)
        self._kept = Kept()
        self._kept.add(line)
        self._begun, self._grown = len(payload), 0


def _block(book: Book, more: int) -> int:
    """How much to draw behind a use that rises by `more`."""
    left = max(0, book.limit - book.used - more)
    return min(max(book.pace, book.settled - book.spent_before, more), left // 4)

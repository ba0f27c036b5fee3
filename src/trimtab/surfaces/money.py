"""The money of one gateway process: what was spent is found at the start, what is drawn is durable, and a budget that
is declared while it runs counts what its period has cost so far."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from trimtab.controlplane import records
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError, TrimtabError
from trimtab.core.record import Record
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.plane import DataPlane
from trimtab.dataplane.spend import Blocks, Budgets, Kept, MemoryStore, Place, StoreLostError
from trimtab.foundations.store import Journal
from trimtab.surfaces.budgets import book_rows, money_folder, needed, spent_rows

_log = logging.getLogger(__name__)


class InProcess:
    """`Counters` in this process: a `MemoryStore` over a journal in `var/money`."""

    def __init__(self, folder: Path, journal: Journal, written: records.Journal, clock: Clock) -> None:
        """Use `open`. Raises ForeignLinesError."""
        self._folder, self._journal, self._written, self._clock = folder / "var" / "records", journal, written, clock
        self._kept = Kept(journal.found.payloads)
        self._others: dict[int, int] = {}
        """Of workers that wrote here once: their last rows that are counted."""
        self._blocks = Blocks(journal, clock, self._seqs)
        self._keeping: asyncio.Task[None] | None = None
        self.store = MemoryStore(clock, self._blocks)

    @classmethod
    async def open(cls, folder: Path, written: records.Journal, clock: Clock) -> InProcess:
        """Raises ConfigError if the journal is damaged, in use, or the disk refuses: less than was drawn is never
        served."""
        journal: Journal | None = None
        try:
            journal = await clock.offload(Journal.open, money_folder(folder))
            return cls(folder, journal, written, clock)
        except TrimtabError as error:
            if journal is not None:
                journal.close()
            raise ConfigError([f"var/money: {error}"]) from error

    def write(self, record: Record) -> None:
        self._blocks.write(record)

    async def begin(self, plane: DataPlane) -> None:
        """What the journals say was spent in the running periods, and the first blocks. Damaged records are said, not
        guessed. Raises ConfigError."""
        budgets, tenancy = plane.budgets, plane.configuration.snapshot.tenancy
        places, kept, self._kept = budgets.places(tenancy), self._kept, Kept()
        rows = await self._clock.offload(spent_rows, self._folder, *needed(places, kept, self._clock))
        self._others = dict(kept.seqs)
        for row in rows:
            worker = row.worker or 0
            self._others[worker] = max(self._others.get(worker, 0), row.seq or 0)
        book_rows(budgets, self.store, tenancy, rows, lambda place, row: not kept.holds(place, row))
        # what a pool was sent is in no row that a budget counts: what is not in a balance is in doubt
        kept.restore(self.store, [*places, *plane.pools.places(plane.configuration.snapshot.release.models)])
        try:
            await self._blocks.begin(self.store, places)
        except StoreLostError as error:
            raise ConfigError([f"var/money: {error}"]) from error
        self._keeping = asyncio.create_task(self._blocks.keep())
        _log.info("limits and budgets live in this process, money in var/money; %d records were behind it", len(rows))

    async def close(self) -> None:
        """Once no request runs: what was drawn and not spent is given back."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        try:
            await self._blocks.close()
        except StoreLostError as error:
            _log.error("what was drawn and not spent will be in doubt at the next start: %s", error)
        await self._clock.offload(self._journal.close)

    def state(self) -> dict[str, Any]:
        return {"name": self.store.name, "lost": self._blocks.refused}

    # --- budgets that are declared while it runs

    async def prepare(self, budgets: Budgets, before: Tenancy, after: Tenancy) -> Callable[[], Awaitable[None]]:
        """What the periods of new budgets have cost so far is read now and booked then; what is written in between, a
        moment later. Budgets that are gone are forgotten: who declares one again has spent what was spent meanwhile."""
        old = {place.account for place in budgets.places(before)}
        new = budgets.places(after)
        gone = old.difference(place.account for place in new)
        places = [place for place in new if place.account not in old]
        accounts = {place.account for place in places}
        mine, first = self._written.worker, self._written.state().seq
        rows = await self._rows(places, {})

        async def book() -> None:
            last = self._written.state().seq
            self.store.forget(gone)

            def earlier(place: Place, row: Record) -> bool:
                return place.account in accounts and ((row.worker or 0) != mine or (row.seq or 0) <= first)

            def later(place: Place, row: Record) -> bool:
                return place.account in accounts and (row.worker or 0) == mine and first < (row.seq or 0) <= last

            book_rows(budgets, self.store, after, rows, earlier)
            if last > first:
                book_rows(budgets, self.store, after, await self._rows(places, {mine: first}), later)

        return book

    async def _rows(self, places: list[Place], after: Mapping[int, int]) -> list[Record]:
        """Of the periods of these places, those that are numbered by now included."""
        if not places:
            return []
        await self._clock.offload(self._written.flush)
        since_ns = min(place.window.start_ns for place in places)
        try:
            return await self._clock.offload(spent_rows, self._folder, since_ns, after)
        except OSError as error:
            names = ", ".join(place.account.name for place in places)
            _log.error("what %s spent so far is not counted: the records can't be read: %s", names, error)
            return []

    def _seqs(self) -> Mapping[int, int]:
        return {**self._others, self._written.worker: self._written.state().seq}

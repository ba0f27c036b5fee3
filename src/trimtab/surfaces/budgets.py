"""Budgets as they stand: asked of the running gateway, or worked out of the records with it stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.controlplane import records
from trimtab.controlplane.registry import Storage, load
from trimtab.core.clock import NS_PER_MS, Clock, SystemClock
from trimtab.core.errors import ConfigError, TrimtabError
from trimtab.core.record import Record
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.spend import BudgetRow, Budgets, Kept, MemoryStore, Place
from trimtab.foundations.store import Journal
from trimtab.surfaces.connect import connect
from trimtab.surfaces.server.ask import NotRunningError, ask

Source = Literal["gateway", "store", "records"]
LONGEST_REQUEST_NS = 86_400 * 1_000_000_000
MONEY_KINDS = ("request", "adjust", "lost")
_log = logging.getLogger(__name__)


def budgets(workspace: Path) -> tuple[list[BudgetRow], Source]:
    """Every declared budget, and who said so: a running gateway, the shared store, or, without either, the records.
    Raises ConfigError for a broken workspace, StoreLostError."""
    try:
        answer = ask(workspace, "GET", "/budgets")
        return msgspec.convert(answer["budgets"], list[BudgetRow]), "gateway"
    except NotRunningError:
        clock = SystemClock()
        loaded = load(workspace, clock)
    tenancy, storage = loaded.snapshot.tenancy, loaded.settings.storage
    if storage.is_shared:
        return asyncio.run(_shared(storage, workspace, clock, tenancy)), "store"
    store = MemoryStore(clock)
    state = Budgets(clock, store)
    try:
        kept = Kept(Journal.peek(money_folder(workspace)))
    except TrimtabError as error:
        raise ConfigError([f"var/money: {error}"]) from error
    places = state.places(tenancy)
    rows = spent_rows(workspace / "var" / "records", *needed(places, kept, clock))
    book_rows(state, store, tenancy, rows, lambda place, row: not kept.holds(place, row))
    kept.restore(store, places)
    return asyncio.run(state.rows(tenancy)), "records"


async def _shared(storage: Storage, workspace: Path, clock: Clock, tenancy: Tenancy) -> list[BudgetRow]:
    store = connect(storage, workspace, clock)
    try:
        return await Budgets(clock, store).rows(tenancy)
    finally:
        await store.close()


def money_folder(workspace: Path) -> Path:
    """Where drawn money is made durable."""
    return workspace / "var" / "money"


def needed(places: Sequence[Place], kept: Kept, clock: Clock) -> tuple[int, Mapping[int, int]]:
    """From when on rows matter, and behind which number of each worker: behind those that `kept` holds, unless it knows
    nothing of one of these places."""
    new = [place for place in places if not kept.knows(place)]
    since_ns = min((place.window.start_ns for place in new or places), default=clock.wall_ns())
    return since_ns, {} if new else kept.seqs


def spent_rows(folder: Path, since_ns: int, after: Mapping[int, int]) -> list[Record]:
    """Rows of money of periods that began then or later. What is damaged is said, not guessed."""

    def corrupt(found: records.CorruptSegment) -> None:
        _log.error("budgets are worked out without what is damaged: %s", found)

    since_ns -= LONGEST_REQUEST_NS  # what arrived before a period may have reserved in it
    return list(records.query(folder, kinds=MONEY_KINDS, since_wall_ns=since_ns, after=after, on_corrupt=corrupt))


def book_rows(
    budgets: Budgets,
    store: MemoryStore,
    tenancy: Tenancy,
    rows: Iterable[Record],
    wanted: Callable[[Place, Record], bool],
) -> None:
    """Book what rows say was spent in the running periods (those in which the money was reserved), where wanted."""
    for row in rows:
        settled = row.cost.settled_nanousd
        if settled and row.tenant is not None:
            for place in budgets.places_of(tenancy, row.tenant, row.channel, row.key_id, reserved_ns(row)):
                if wanted(place, row):
                    store.restore(place, settled)


def reserved_ns(row: Record) -> int:
    """When the row's money was reserved, as wall time: the period that holds this is the one that pays."""
    start_ms, took_ms = row.stages.get("reserve", (0.0, 0.0))
    return row.t_wall_ns + int((start_ms + took_ms) * NS_PER_MS)

"""One gateway process of a world: the real data plane, put together by the real wiring, with the world listening."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sim.audit import Audit
from sim.loop import Broken, SimClock, SimLoop
from sim.ports import Scripts, WatchedMemory
from sim.workspace import SECRET, Words, loaded
from trimtab.core.errors import Code, Refusal
from trimtab.core.ids import ClockIds
from trimtab.core.record import Record
from trimtab.dataplane import wiring
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.snapshot import Snapshot
from trimtab.dataplane.spend import Lease, MemoryStore, StoreLostError
from trimtab.dataplane.spend.adapters.valkey import ValkeyStore
from trimtab.surfaces.replicas import replicas_of

LOOKS_FOR_LOST_S = 7.0
HEARS_WITHIN_S = 2.5


class Gateway:
    """See the module. `name` is its process; a new one takes the place of one that was killed."""

    def __init__(
        self, name: str, loop: SimLoop, clock: SimClock, snapshot: Snapshot, seed: int, scripts: Scripts | None
    ) -> None:
        self.name, self._loop, self.clock = name, loop, clock
        self._snapshot, self._seed, self._scripts = snapshot, seed, scripts
        self.records: list[Record] = []
        self.lost: list[tuple[str, int]] = []
        """Rows of lost leases that it was handed."""
        self.tasks: dict[str, asyncio.Task[Record]] = {}
        """Requests in progress, by id."""
        self.holders: dict[str, str] = {}
        """By request: its record's id, once it asked for money."""
        self.asking: dict[str, tuple[int, int]] = {}
        """Requests inside `reserve`, by holder: in which order they came, and their least."""
        self._short_since: dict[str, float] = {}
        self.unspent: dict[str, int | None] = {}
        """By request: what was left of its budgets when it was routed."""
        self._came = self._latest_ns = 0

    async def boot(self, url: str) -> None:
        ready = loaded()
        if self._scripts is None:
            watched = WatchedMemory(MemoryStore(self.clock), self.clock, self._loop.note)
            self.audit: Audit = watched.audit
            self.store: Any = watched
        else:
            self.store = ValkeyStore(url, self.clock)
            for script, registered in self.store._scripts.items():
                self._scripts.names[registered.script] = script
            self.audit = self._scripts.audit
            await self.store.open()
        counters = {name: Words() for name in self._snapshot.release.models}
        self.dialer = Http1Dialer()
        self.plane = wiring.build(
            clock=self.clock,
            ids=ClockIds(self.clock, self._seed),
            sink=self,
            dialer=self.dialer,
            configuration=wiring.configure(self._snapshot, counters, ready.prepared),
            secret=SECRET,
            embedder=ready.embedder,
            classifier=ready.classifier,
            store=self.store,
            cache_bytes=1 << 20,
        )
        wiring.set_fleet(self.plane, replicas_of(self._snapshot.release.models, {}, Path()))
        self._reserve, self._unspent = self.plane.budgets.reserve, self.plane.budgets.unspent
        self.plane.budgets.reserve = self._watched_reserve  # type: ignore[method-assign]
        self.plane.budgets.unspent = self._watched_unspent  # type: ignore[method-assign]
        if self._scripts is not None:
            self._loop.spawn(self.name, self._look_for_lost(), f"{self.name} looks for lost leases")

    def write(self, record: Record) -> None:
        """It is the plane's `RecordSink`."""
        self._loop.note(self.name, record.kind, record.id, record.code or record.path, record.cost.settled_nanousd)
        self.records.append(record)

    async def close(self) -> None:
        await self.plane.dialer.close()
        if isinstance(self.store, ValkeyStore):
            await self.store.close()

    async def _look_for_lost(self) -> None:
        while True:
            await asyncio.sleep(LOOKS_FOR_LOST_S)
            await self.look_for_lost()

    async def look_for_lost(self) -> None:
        for tenant in self._snapshot.tenancy.tenants:
            try:
                rows = await self.store.take_lost(tenant)
            except StoreLostError:
                continue
            self.lost += [(row.lease, row.granted) for row in rows]

    # --- what the world listens to

    async def _watched_reserve(self, *who: Any, least: int, holder: str, **more: Any) -> Lease | Refusal:
        """A refusal is held against what the request's last step met: it must have been true."""
        task = asyncio.current_task()
        assert task is not None
        self.holders[task.get_name()] = holder
        self.audit.found.pop(holder, None)
        self._short_since.pop(holder, None)
        self._came += 1
        self.asking[holder] = self._came, least
        try:
            answer = await self._reserve(*who, least=least, holder=holder, **more)
        finally:
            del self.asking[holder]
        if isinstance(answer, Refusal):
            self._judge(holder, answer, least)
        return answer

    def _judge(self, holder: str, refusal: Refusal, least: int) -> None:
        found = self.audit.found[holder]
        self._loop.note(self.name, "refuses", holder, refusal.code.wire, found.rooms)
        if refusal.code is Code.BUDGET_EXHAUSTED and found.unspent >= least:
            raise Broken(
                f"{holder} was told budget_exhausted while {found.unspent} are unspent of the {least} it needs"
            )
        if refusal.code is Code.BUDGET_BUSY and min(found.rooms) >= least:
            raise Broken(f"{holder} was told budget_busy while {min(found.rooms)} are there of the {least} it needs")

    async def _watched_unspent(self, *who: Any) -> int | None:
        left = await self._unspent(*who)
        task = asyncio.current_task()
        assert task is not None
        self.unspent[task.get_name()] = left
        return left

    def check_idle(self) -> None:
        """Nothing is ready, and time is about to move: nobody waits for what is there, or holds what he can't use."""
        self._latest_ns = max(self._latest_ns, self.clock.wall_ns())
        used = sum(gate.used for gate in self.plane.gates._gates.values())
        waiting = [holder for holder in self.asking if self._waits(holder)]
        if self._scripts is not None:  # that it must wait may still be on its way to it
            now = self._loop.time()
            waiting = [one for one in waiting if now - self._short_since.setdefault(one, now) > HEARS_WITHIN_S]
        if used > len(self.tasks) - len(waiting):
            raise Broken(
                f"{used} tokens are taken, but of {len(self.tasks)} requests {len(waiting)} wait for money: {waiting}"
            )
        if waiting and self._scripts is None:
            self._check_first(min(waiting, key=lambda holder: self.asking[holder]))

    def _waits(self, holder: str) -> bool:
        found = self.audit.found.get(holder)
        return found is not None and found.granted is None

    def _check_first(self, holder: str) -> None:
        """Who has waited longest is overtaken by nobody: as soon as there is enough for it, it goes."""
        found, least = self.audit.found[holder], self.asking[holder][1]
        if any(ask.ends_ns <= self._latest_ns for ask in found.asks):
            return  # another window has begun, with room of its own; it stays, wherever the clock is set
        rooms = []
        for ask in found.asks:
            book = self.audit.books[ask.book]
            own = sum(
                one.granted for one in self.audit.of.get(holder, ()) if one.state == "open" and ask.book in one.books
            )
            rooms.append(ask.limit - book.settled - book.reserved + own)
        if min(rooms) >= least:
            raise Broken(f"{holder} waits for {least}, and nobody calls it while {min(rooms)} are there")

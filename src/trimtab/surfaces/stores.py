"""Where a gateway's limits and budgets live: in its own process, or in a store that gateways share.

counters = await keep(workspace, journal, clock)    # before the data plane is built: `counters.store`
await counters.begin(plane)                         # before the first request
await counters.close()                              # after the last one
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from trimtab.controlplane import records
from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import Clock
from trimtab.core.ids import ClockIds, arrival_ns
from trimtab.core.record import Record, blank
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.plane import DataPlane
from trimtab.dataplane.spend import POOLS, Budgets, Holder, LostLease, StandingStore, Store, StoreLostError
from trimtab.surfaces.connect import connect
from trimtab.surfaces.money import InProcess

if TYPE_CHECKING:
    from trimtab.dataplane.spend.adapters.valkey import StoreFacts, ValkeyStore

LOST_EVERY_S: Final = 5.0
"""Between two questions for the lost leases of a tenant; those of all tenants are spread over it."""
_AS_OFTEN: Final = {"always": "synced at each step", "everysec": "synced each second", "no": "synced by the system"}
_log = logging.getLogger(__name__)


class Counters(Protocol):
    """See the module. Also a sink of records, behind the one that numbers them."""

    @property
    def store(self) -> Store: ...

    def write(self, record: Record) -> None: ...
    async def begin(self, plane: DataPlane) -> None:
        """Raises ConfigError."""
        ...

    async def prepare(self, budgets: Budgets, before: Tenancy, after: Tenancy) -> Callable[[], Awaitable[None]]:
        """For a configuration that is about to be put in place; what is given is to be awaited in the step that does
        so."""
        ...

    async def close(self) -> None: ...
    def state(self) -> dict[str, Any]:
        """For the admin socket: where they are, and why they can't be reached."""
        ...


async def keep(workspace: Workspace, written: records.Journal, clock: Clock) -> Counters:
    """As the workspace's `storage` says. Raises ConfigError."""
    storage = workspace.settings.storage
    if not storage.is_shared:
        return await InProcess.open(workspace.folder, written, clock)
    store = connect(storage, workspace.folder, clock)
    if storage.on_loss == "refuse":
        return Shared(store)
    return Shared(store, StandingStore(store, clock, ClockIds(clock).record_id, storage.stale_s))


class Shared:
    """In a store that others use, too. Nothing is restored: what was spent stands there. `standing`: what goes on
    without it for a while."""

    def __init__(self, shared: ValkeyStore, standing: StandingStore | None = None) -> None:
        self._shared, self._standing = shared, standing
        self.store: Store = shared if standing is None else standing
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, plane: DataPlane) -> None:
        """A store that is not there is waited for in the background; meanwhile it counts as lost."""
        await self._shared.open()
        try:
            facts = await self._shared.facts()
        except StoreLostError as error:
            _log.error("limits and budgets live in a shared store that can't be reached: %s", error)
        else:
            _log.info("limits and budgets live in %s; nothing is restored from the records", durability(facts))
            for problem in problems(facts):
                _log.error("the shared store: %s", problem)
        self._tasks.append(asyncio.create_task(_collect(self._shared, plane)))
        if self._standing is not None:
            self._tasks.append(asyncio.create_task(self._standing.keep()))

    def write(self, record: Record) -> None:
        return

    async def prepare(self, budgets: Budgets, before: Tenancy, after: Tenancy) -> Callable[[], Awaitable[None]]:
        """A new budget starts at what the store has of it: other gateways may have spent from it already."""
        return _nothing

    async def close(self) -> None:
        """What ended is told to the store first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._standing is not None:
            self._standing.give_back()
        await self._shared.close()

    def state(self) -> dict[str, Any]:
        return {"name": self._shared.name, "lost": self._shared.lost}


async def _nothing() -> None: ...


def durability(facts: StoreFacts) -> str:
    """`Redis 7.0.15, on disk, synced each second`: what a crash of the server would take."""
    if not facts.appendonly:
        return f"{facts.server}, in memory only: a restart of it forgets what was spent"
    often = _AS_OFTEN.get(facts.appendfsync or "", "it does not tell how often that is synced")
    return f"{facts.server}, in its append-only file, {often}"


def problems(facts: StoreFacts) -> Iterator[str]:
    """Settings with which counters can vanish while it runs."""
    if facts.policy != "noeviction":
        yield f"maxmemory-policy {facts.policy} may drop counters when memory is short. Set it to noeviction"


async def _collect(store: ValkeyStore, plane: DataPlane) -> None:
    """Have leases that ran out written down, each by the one gateway that gets it. Until cancelled."""
    while True:
        tenancy = plane.configuration.snapshot.tenancy
        models = plane.configuration.snapshot.release.models
        places = [*plane.budgets.places(tenancy), *plane.pools.places(models)]
        tenants = sorted({place.account.tenant for place in places})
        for tenant in tenants:
            try:
                while lost := await store.take_lost(tenant):
                    for lease in lost if tenant != POOLS else ():  # tokens are no money, and have no row
                        plane.sink.write(lost_row(lease, plane))
            except StoreLostError:
                pass  # it keeps them
            except Exception:  # noqa: BLE001 - what is odd about one tenant must not end it for all
                _log.exception("lost leases of %s could not be collected", tenant)
            await asyncio.sleep(LOST_EVERY_S / len(tenants))
        if not tenants:
            await asyncio.sleep(LOST_EVERY_S)


def lost_row(lease: LostLease, plane: DataPlane) -> Record:
    """The row of a lease that nobody ended, in the periods in which its money was reserved; a negative one takes that
    back."""
    holder = Holder.of(lease.lease)
    at_ns = max([arrival_ns(holder.record), *[window.start_ns for window in lease.windows]])
    row = blank(plane.ids.record_id(), at_ns)
    row.kind, row.of, row.snapshots = "lost", holder.record, plane.configuration.snapshot.names
    row.tenant, row.channel, row.key_id = lease.tenant, holder.channel, holder.key
    row.cost.settled_nanousd = lease.granted
    return row


__all__ = ["Counters", "InProcess", "Shared", "durability", "keep", "lost_row", "problems"]

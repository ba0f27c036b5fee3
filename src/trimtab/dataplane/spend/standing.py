"""Going on without the shared store for a while, on what this gateway holds of it (`storage.on_loss: leases`).

While the store is there, money is taken ahead of need: for each set of budgets that requests here claim on together a
*standing lease*, as big as what they took in the last second, at least one request's. It is an ordinary lease, reserved
like any other; it is given back when nobody has asked for a few seconds, when money is short, and at the end. Rates are
charged ahead by as much, where a bucket is at most half full.

While the store is lost, requests are paid out of the standing lease of their budgets, and charged to what was charged
ahead, and to nothing else: the store has counted all of it already, so that nothing can be overspent, whatever other
gateways do. What is used up is refused, and all is after `stale_s`. When the store is back, a standing lease that was
drawn on is settled at what was drawn, once the requests that it pays for have ended. If it ran out in the meantime, the
store has taken it for spent, and is corrected.

Charging ahead may let a bucket's burst be exceeded by what was charged ahead, once a loss; its rate is never exceeded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.spend.base import Account, Charge, Charged, Level, Place, Reserved, Store, StoreLostError
from trimtab.dataplane.spend.lease import Holder

PASS_S: Final = 1.0
"""Between two looks at what is held: what was taken in this time is held."""
IDLE_S: Final = 5.0
"""What nobody asked for in this time is given back."""
SHARE: Final = 16
"""A standing lease is at most this part of what its tightest budget has left: the last money is for requests."""
MOST_HELD: Final = 4096
"""Standing leases of a gateway, and rates that it charges ahead."""
_log = logging.getLogger(__name__)
_Books = tuple[tuple[Account, str], ...]


class Losable(Store, Protocol):
    """A store that can be lost."""

    @property
    def lost(self) -> str | None: ...


class _Held:
    """A standing lease. `drawn`: spent out of it, `open`: held by requests that it pays for; both while the store is
    lost only. `busy`: it is just being exchanged, and nobody knows how much it is."""

    __slots__ = ("busy", "drawn", "granted", "id", "open", "tenant")

    def __init__(self, tenant: str, id: str, granted: int) -> None:
        self.tenant, self.id, self.granted = tenant, id, granted
        self.drawn = self.open = 0
        self.busy = False

    @property
    def left(self) -> int:
        return self.granted - self.drawn - self.open

    @property
    def is_drawn_on(self) -> bool:
        return bool(self.drawn or self.open)


class _Demand:
    """What requests with these budgets took lately. `lease`: the last of theirs."""

    __slots__ = ("held", "largest", "lease", "places", "seen_ns", "taken")

    def __init__(self) -> None:
        self.held: _Held | None = None
        self.places: tuple[Place, ...] = ()
        self.lease = ""
        self.taken = self.largest = self.seen_ns = 0


class _Ahead:
    """A rate: what was charged ahead of it, and what it took since the last pass."""

    __slots__ = ("charge", "left_as", "seen_ns", "taken_as", "tenant", "used_as")

    def __init__(self) -> None:
        self.left_as = self.taken_as = self.used_as = self.seen_ns = 0
        self.tenant = ""
        self.charge: Charge | None = None


class StandingStore:
    """See the module, and `Store`. `record_id` makes the names of standing leases; `keep` is to be run beside it."""

    def __init__(self, store: Losable, clock: Clock, record_id: Callable[[], str], stale_s: float) -> None:
        self._store, self._clock, self._record_id = store, clock, record_id
        self._stale_ns = int(stale_s * NS_PER_S)
        self._demands: dict[_Books, _Demand] = {}
        self._rates: dict[str, _Ahead] = {}
        self._local: dict[str, tuple[_Held, int]] = {}
        """Leases that standing ones pay for, and how much each has."""
        self._ending: list[_Held] = []
        """Standing leases that were drawn on before the store came back."""
        self._lost_ns: int | None = None
        self.name = store.name

    def __repr__(self) -> str:
        held = sum(demand.held is not None for demand in self._demands.values())
        return f"<StandingStore {held} leases held, {len(self._local)} requests on them>"

    async def keep(self) -> None:
        """Hold what is needed. Until cancelled."""
        while True:
            await asyncio.sleep(PASS_S)
            try:
                await self.look()
            except StoreLostError:
                continue
            except Exception:  # noqa: BLE001 - what is held ahead is never worth the gateway
                _log.exception("standing leases could not be kept up")

    def give_back(self) -> None:
        """All that is held, at the end."""
        for demand in self._demands.values():
            self._end(demand)

    async def look(self) -> None:
        """One pass over what was taken since the last one. Raises StoreLostError."""
        now = self._clock.now_ns()
        if self._store.lost is not None:
            self._lost_ns = now if self._lost_ns is None else self._lost_ns
            return
        self._lost_ns = None
        self._returned()
        for books, demand in list(self._demands.items()):
            if now - demand.seen_ns > IDLE_S * NS_PER_S:
                self._end(demand)
                del self._demands[books]
            elif demand.taken:
                await self._exchange(demand)
        for name, rate in list(self._rates.items()):
            if now - rate.seen_ns > self._stale_ns:
                del self._rates[name]
            elif rate.taken_as > rate.left_as:
                await self._charge_ahead(name, rate)
            rate.taken_as = 0

    # --- rates

    async def charge(self, tenant: str, charges: Sequence[Charge]) -> Charged:
        try:
            charged = await self._store.charge(tenant, charges)
        except StoreLostError:
            return self._charge_held(charges)
        self._lost_ns = None
        if charged.ok:
            now = self._clock.now_ns()
            for one, used_as in zip(charges, charged.used_as, strict=True):
                rate = self._rates.get(one.name)
                if rate is None:
                    if len(self._rates) >= MOST_HELD:
                        continue
                    rate = self._rates[one.name] = _Ahead()
                rate.tenant, rate.charge, rate.used_as, rate.seen_ns = tenant, one, used_as, now
                rate.taken_as += one.cost_as
        return charged

    def credit(self, tenant: str, charges: Sequence[Charge]) -> None:
        self._store.credit(tenant, charges)

    def _charge_held(self, charges: Sequence[Charge]) -> Charged:
        self._check_age()
        rates = [self._rates.get(one.name) for one in charges]
        for one, rate in zip(charges, rates, strict=True):
            if rate is None or rate.left_as < one.cost_as:
                raise StoreLostError(f"what was charged ahead of {one.name} is used up")
        for one, rate in zip(charges, rates, strict=True):
            assert rate is not None
            rate.left_as -= one.cost_as
        used_as = [one.whole_as - rate.left_as for one, rate in zip(charges, rates, strict=True) if rate is not None]
        return Charged(True, tuple(used_as))

    async def _charge_ahead(self, name: str, rate: _Ahead) -> None:
        assert rate.charge is not None
        more, whole = rate.taken_as - rate.left_as, rate.charge.whole_as
        if rate.used_as + more <= whole // 2:
            charged = await self._store.charge(rate.tenant, [Charge(name, more, whole)])
            rate.left_as += more if charged.ok else 0

    # --- money

    async def reserve(
        self, lease: str, places: Sequence[Place], want: int, least: int, *, instead_of: str | None, until_ns: int
    ) -> Reserved:
        if instead_of in self._local:  # an exchange of what is paid out of a standing lease
            return await self._exchange_local(lease, places, want, least, instead_of, until_ns)
        try:
            answer = await self._store.reserve(lease, places, want, least, instead_of=instead_of, until_ns=until_ns)
        except StoreLostError:
            answer = self._reserve_held(lease, places, want, least)
            if instead_of is not None:
                self._store.settle(places[0].account.tenant, instead_of, 0)
            return answer
        self._lost_ns = None
        self._note(lease, places, answer)
        return answer

    async def _exchange_local(
        self, lease: str, places: Sequence[Place], want: int, least: int, old: str | None, until_ns: int
    ) -> Reserved:
        """Its own money counts as free where it stays on its standing lease; in the store that is not so, which errs to
        the safe side."""
        tenant = places[0].account.tenant
        assert old is not None
        if self._store.lost is not None:
            held, granted = self._local[old]
            held.open -= granted
            try:
                answer = self._reserve_held(lease, places, want, least)
            except StoreLostError:
                held.open += granted
                raise
            held.open += granted
        else:
            answer = await self._store.reserve(lease, places, want, least, instead_of=None, until_ns=until_ns)
        if answer.granted is not None:
            self.settle(tenant, old, 0)
        return answer

    async def extend(self, lease: str, places: Sequence[Place], want: int, until_ns: int) -> int:
        """A lease of the lost store does not grow: its answer ends where its money does."""
        if lease in self._local:
            held, granted = self._local[lease]
            more = max(0, min(want, held.left))
            held.open += more
            self._local[lease] = held, granted + more
            return more
        try:
            return await self._store.extend(lease, places, want, until_ns)
        except StoreLostError:
            return 0

    def settle(self, tenant: str, lease: str, cost: int) -> None:
        local = self._local.pop(lease, None)
        if local is None:
            self._store.settle(tenant, lease, cost)
            return
        held, granted = local
        held.open -= granted
        held.drawn += cost
        self._finish()

    async def levels(self, places: Sequence[Place]) -> list[Level]:
        """While the store is lost, for the budgets of one request only: as if all that is not held here was spent."""
        try:
            return await self._store.levels(places)
        except StoreLostError:
            return self._levels_held(self._held(places), places)

    def glance(self, places: Sequence[Place]) -> list[Level] | None:
        return self._store.glance(places)

    def listen(self, freed: Callable[[Iterable[Account]], None]) -> None:
        self._store.listen(freed)

    def _reserve_held(self, lease: str, places: Sequence[Place], want: int, least: int) -> Reserved:
        held = self._held(places)
        levels = self._levels_held(held, places)
        granted = min(want, held.left)
        if granted < least:
            raise StoreLostError("what this gateway holds of the budget is used up")
        held.open += granted
        self._local[lease] = held, granted
        return Reserved(tuple(levels), granted)

    def _held(self, places: Sequence[Place]) -> _Held:
        self._check_age()
        demand = self._demands.get(_books(places))
        if demand is None or demand.held is None or demand.held.busy:
            raise StoreLostError("this gateway holds nothing of the budget")
        return demand.held

    def _levels_held(self, held: _Held, places: Sequence[Place]) -> list[Level]:
        return [Level(place.limit - (held.granted - held.drawn), held.open) for place in places]

    def _check_age(self) -> None:
        now = self._clock.now_ns()
        if self._lost_ns is None:
            self._lost_ns = now
        if now - self._lost_ns > self._stale_ns:
            raise StoreLostError(f"it has been lost for more than {self._stale_ns // NS_PER_S} s")

    # --- what is held

    def _note(self, lease: str, places: Sequence[Place], answer: Reserved) -> None:
        books = _books(places)
        demand = self._demands.get(books)
        if answer.granted is None or any(place.most is not None for place in places):
            if demand is not None:
                self._end(demand)  # others could run with it
            return
        if demand is None:
            if len(self._demands) >= MOST_HELD:
                return
            demand = self._demands[books] = _Demand()
        demand.places, demand.lease, demand.seen_ns = tuple(places), lease, self._clock.now_ns()
        demand.taken += answer.granted
        demand.largest = max(demand.largest, answer.granted)

    async def _exchange(self, demand: _Demand) -> None:
        """A standing lease as big as what was taken, and good for as long as may be, in the place of the old one."""
        want = max(demand.taken, demand.largest)
        demand.taken = 0
        old, places = demand.held, demand.places
        tenant = places[0].account.tenant
        name = Holder.of(demand.lease)._replace(record=self._record_id()).lease(0)
        until_ns = self._clock.now_ns() + 2 * self._stale_ns + int(IDLE_S * NS_PER_S)
        if old is not None:
            old.busy = True
        try:
            answer = await self._store.reserve(
                name, places, want, want, instead_of=None if old is None else old.id, until_ns=until_ns
            )
        except BaseException:
            if old is not None:  # it may have happened: there is now what was wanted, or what was there
                old.granted = min(old.granted, want)
            raise
        finally:
            if old is not None:
                old.busy = False
        if answer.granted is None:
            self._end(demand)
            return
        if demand.held is not old:  # it was given back meanwhile
            self._store.settle(tenant, name, 0)
            return
        demand.held = _Held(tenant, name, answer.granted)
        if min(place.limit - level.used for place, level in zip(places, answer.levels, strict=True)) < SHARE * want:
            self._end(demand)

    def _end(self, demand: _Demand) -> None:
        """Give it back, or have it settled when the requests on it have ended."""
        held, demand.held = demand.held, None
        if held is None:
            return
        if held.is_drawn_on:
            self._ending.append(held)
        else:
            self._store.settle(held.tenant, held.id, 0)

    def _returned(self) -> None:
        """The store is there: what was drawn on is settled, and held anew."""
        for demand in self._demands.values():
            if demand.held is not None and demand.held.is_drawn_on:
                self._end(demand)
        self._finish()

    def _finish(self) -> None:
        still = []
        for held in self._ending:
            if held.open:
                still.append(held)
            else:
                self._store.settle(held.tenant, held.id, held.drawn)
        self._ending = still


def _books(places: Sequence[Place]) -> _Books:
    return tuple([(place.account, place.window.id) for place in places])


__all__ = ["StandingStore"]

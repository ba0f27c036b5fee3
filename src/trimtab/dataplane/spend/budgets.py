"""Budgets: reserve before the work, settle after it, on all accounts of a request in one step.

    room = limit - settled - reserved - doubt        settled + reserved + doubt <= limit, at every instant

A request names what it wants and the least that is any use. It gets `min(want, room)` of the tightest account if that
is at least the least; it is refused for good only if `limit - settled - doubt` is less, for then no running request can
give back enough; if what is reserved is in the way, it waits. Counting after the answer overspends by all that runs at
once; reserving the most that a request could cost, and refusing the next one, fills a budget with money that nobody
spends.

Waiting: a request stands at each account that is short for it, and takes from none at which an earlier one stands.
Whoever frees money calls the first in line, if there is enough for it; that one decides anew, goes, and calls the next.
Nobody polls, and nobody is called for nothing. Two rules bend the order. Who can't wait any longer takes what is there,
since refusing would be false; and an exchange never waits behind others for the money that it already holds. Accounts
of channels and keys lie within their tenant's, so whoever stands there is overtaken nowhere; between a channel's and a
key's account a request can be, if both are short in turn, until its wait is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import count

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import Refusal
from trimtab.core.tenancy import Channel, KeyEntry, Tenancy
from trimtab.dataplane.spend.accounts import Claim, Claims
from trimtab.dataplane.spend.base import Account, Level, Place, Store
from trimtab.dataplane.spend.lease import Hold, Holder, Lease, until_ns
from trimtab.dataplane.spend.queues import Asking, Queues
from trimtab.dataplane.spend.refusals import Look, busy, exhausted, used_up


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One budget at a glance. Settled above the limit: providers billed more than their meters said."""

    name: str
    """`shop`, `shop/web` or `key_0123456789abcdef`."""
    period: str
    tz: str
    window: str
    """The day or month there, as on the calendar."""
    limit_nanousd: int
    settled_nanousd: int
    reserved_nanousd: int
    in_doubt_nanousd: int = 0
    """What a crash left unaccounted for; it counts as spent."""
    left_nanousd: int
    ends_wall_ns: int


class Budgets:
    """What requests claim on, who waits, and what they are told; the amounts are the store's. `reserve` may wait."""

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock, self._store = clock, store
        self._claims = Claims()
        self._queues = Queues()
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        store.listen(self._freed)

    def __repr__(self) -> str:
        return f"<Budgets in {self._store.name}, {len(self._queues)} waiting>"

    async def reserve(
        self,
        entry: KeyEntry,
        name: str,
        channel: Channel,
        *,
        want: int,
        least: int,
        wait_s: float,
        holder: str = "",
        lasts_s: float = 0.0,
        instead_of: Lease | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Lease | Refusal:
        """Between `least` and `want` nano-dollars, now or within `wait_s`; else who is in the way, and for how long.
        Raises StoreLostError.

        `holder` names the request, which ends within `lasts_s`. `instead_of`: an exchange. Its money counts as free for
        this decision; it ends if this succeeds, in the same step, and stays as it was if not. `on_wait` is called once
        if there is a wait, before it: whoever waits for money gives back what others could run with.
        """
        assert 0 <= least <= want, (least, want)
        claims = self._claims.of(entry, name, channel)
        ends_ns = until_ns(self._clock.now_ns(), lasts_s)
        who = Holder(holder, name, entry.key.id)
        asking = Asking(claims, want, least, instead_of, next(self._order), who, ends_ns)
        answer = await self._decide(asking, in_order=wait_s > 0)
        if isinstance(answer, list):
            return await self._wait(asking, answer, wait_s, on_wait) if wait_s > 0 else self._busy(asking, answer)
        if instead_of is not None:
            self._call(asking.accounts)
        return answer

    async def unspent(self, entry: KeyEntry, name: str, channel: Channel) -> int | None:
        """What the tightest account has that is not gone for good, reserved money included; None: no budget applies.

        This, not what is free, decides whether a request could ever be paid for: what others hold may come free.
        Raises StoreLostError.
        """
        claims = self._claims.of(entry, name, channel)
        if not claims:
            return None
        wall_ns = self._clock.wall_ns()
        places = [claim.place(wall_ns) for claim in claims]
        levels = self._store.glance(places) or await self._store.levels(places)
        least = min([place.limit - level.settled - level.doubt for place, level in zip(places, levels, strict=True)])
        return max(0, least)

    async def used_up(self, entry: KeyEntry, name: str, channel: Channel) -> Refusal:
        """For a request that has a budget which pays for none of its plans: which one, and when it is whole again."""
        looks = await self._looks(self._claims.of(entry, name, channel))
        return used_up(looks, self._clock.wall_ns())

    def places_of(
        self, tenancy: Tenancy, tenant_id: str | None, channel_name: str | None, key_id: str | None, wall_ns: int
    ) -> list[Place]:
        """Where money that a record says was reserved at `wall_ns` belongs, in the windows of now. A name that is no
        longer declared is passed over."""
        now_ns = self._clock.wall_ns()
        places = [claim.place(now_ns) for claim in self._claims.named(tenancy, tenant_id, channel_name, key_id)]
        return [place for place in places if place.window.holds(wall_ns)]

    def places(self, tenancy: Tenancy) -> list[Place]:
        """Of every declared budget, now."""
        now_ns = self._clock.wall_ns()
        return [claim.place(now_ns) for claim in self._claims.declared(tenancy)]

    async def rows(self, tenancy: Tenancy) -> list[BudgetRow]:
        """Every declared budget as it stands. Raises StoreLostError."""
        places = self.places(tenancy)
        levels = await self._store.levels(places)
        return [_row(place, level) for place, level in zip(places, levels, strict=True)]

    # --- deciding

    async def _decide(self, asking: Asking, *, in_order: bool = True) -> Lease | Refusal | list[Look]:
        """A lease, a refusal for good, or the accounts that are short."""
        wall_ns = self._clock.wall_ns()
        lease = asking.holder.lease(next(self._order))
        if not asking.claims:
            if asking.instead_of is not None:
                asking.instead_of.release()
            return self._granted(lease, asking, [], asking.want)
        places = [self._place_of(claim, asking, wall_ns, in_order) for claim in asking.claims]
        old = asking.instead_of
        answer = await self._store.reserve(
            lease,
            places,
            asking.want,
            asking.least,
            instead_of=None if old is None else old.id,
            until_ns=asking.until_ns,
        )
        looks = [Look(*row) for row in zip(asking.claims, places, answer.levels, strict=True)]
        if answer.granted is not None:
            return self._granted(lease, asking, looks, answer.granted)
        if spent := [look for look in looks if look.unspent < asking.least]:
            return exhausted(spent, asking.least, wall_ns)
        return [look for look in looks if look.room < asking.least]

    def _granted(self, lease: str, asking: Asking, looks: list[Look], granted: int) -> Lease:
        if asking.instead_of is not None:
            asking.instead_of.close()
        holds = tuple([Hold(look.claim, look.place.window) for look in looks])
        room = min((look.limit - look.level.used for look in looks), default=None)
        left = None if room is None else room - granted
        return Lease(lease, self._clock, self._store, holds, granted, left, asking.until_ns)

    def _short(self, asking: Asking) -> list[Look]:
        """The accounts that would keep `_decide` from an answer, as far as that is known without asking the store."""
        wall_ns = self._clock.wall_ns()
        places = [self._place_of(claim, asking, wall_ns, in_order=True) for claim in asking.claims]
        levels = self._store.glance(places)
        if levels is None:
            return []
        looks = []
        for claim, place, level in zip(asking.claims, places, levels, strict=True):
            own = 0 if asking.instead_of is None else asking.instead_of.held_in(place.account, place.window)
            looks.append(Look(claim, place, level._replace(reserved=level.reserved - own)))
        spent = any(look.unspent < asking.least for look in looks)
        return [] if spent else [look for look in looks if look.room < asking.least]

    def _place_of(self, claim: Claim, asking: Asking, wall_ns: int, in_order: bool) -> Place:
        """The account, and nothing but the request's own money in it where somebody came earlier."""
        place = claim.place(wall_ns)
        if in_order and self._queues.goes_before(claim.account, asking.order):
            old = asking.instead_of
            return place._replace(most=0 if old is None else old.held_in(place.account, place.window))
        return place

    async def _looks(self, claims: list[Claim]) -> list[Look]:
        if not claims:
            return []
        wall_ns = self._clock.wall_ns()
        places = [claim.place(wall_ns) for claim in claims]
        return [Look(*row) for row in zip(claims, places, await self._store.levels(places), strict=True)]

    def _busy(self, asking: Asking, short: list[Look]) -> Refusal:
        ahead = max(self._queues.length(look.claim.account) for look in short)
        return busy(short, asking.least, ahead, self._clock.wall_ns())

    def _freed(self, accounts: Iterable[Account]) -> None:
        """Money came free; a scope of "" stands for all accounts of a tenant."""
        if self._queues:
            named = [account for account in accounts if account.scope]
            whole = [one for account in accounts if not account.scope for one in self._queues.of_tenant(account.tenant)]
            self._call([*named, *whole])

    # --- waiting

    async def _wait(
        self, asking: Asking, short: list[Look], wait_s: float, on_wait: Callable[[], None] | None
    ) -> Lease | Refusal:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        asking.called = loop.create_future()
        self._place(asking, short)
        try:
            self._call(asking.at)  # a period may have turned, and nobody before us has noticed
            if on_wait is not None:
                on_wait()
            # only the wait is bounded: a step in the store is not left half done
            while await _called(asking.called, until):
                asking.called = loop.create_future()
                answer = await self._decide(asking)
                if not isinstance(answer, list):
                    return answer
                self._call(self._place(asking, answer))  # who could not wait has overtaken us
            self._place(asking, [])
            answer = await self._decide(asking, in_order=False)
            return self._busy(asking, answer) if isinstance(answer, list) else answer
        finally:
            self._place(asking, [])
            self._call(asking.accounts)

    def _call(self, accounts: Iterable[Account]) -> None:
        """Call the first who waits at each of these accounts, if it would be answered; the oldest of them first."""
        if not self._queues:
            return
        changed = set(accounts)
        while changed := {account for account in changed if account in self._queues}:
            account = min(changed, key=lambda account: self._queues.first(account).order)
            asking = self._queues.first(account)
            called = asking.called
            assert called is not None
            short = [] if called.done() else self._short(asking)
            if short:
                changed |= self._place(asking, short)
            elif not called.done():
                called.set_result(None)
            changed -= asking.at

    def _place(self, asking: Asking, short: list[Look]) -> frozenset[Account]:
        """Where it waits from now on (nowhere: it goes), and a timer for the first period that ends there."""
        gone = self._queues.place(asking, [look.claim.account for look in short])
        if short and asking.called is not None:
            self._set_timer(min(look.place.window.end_ns for look in short), asking.called.get_loop())
        elif not self._queues and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return gone

    def _set_timer(self, wall_ns: int, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            if self._timer_ns <= wall_ns:
                return
            self._timer.cancel()
        self._timer_ns = wall_ns
        delay_s = (wall_ns - self._clock.wall_ns()) / NS_PER_S
        self._timer = loop.call_later(delay_s, self._turned)

    def _turned(self) -> None:
        """A period has ended, or is about to: timers and the wall keep their own time. Who is not served sets it
        again."""
        self._timer = None
        self._call(self._queues)


async def _called(called: asyncio.Future[None], until: float) -> bool:
    """False: nobody called by then."""
    try:
        async with asyncio.timeout_at(until):
            await called
    except TimeoutError:
        return False
    return True


def _row(place: Place, level: Level) -> BudgetRow:
    account = place.account
    return BudgetRow(
        name=account.scope,
        period=account.period,
        tz=account.tz,
        window=place.window.id,
        limit_nanousd=place.limit,
        settled_nanousd=level.settled,
        reserved_nanousd=level.reserved,
        in_doubt_nanousd=level.doubt,
        left_nanousd=max(0, place.limit - level.used),
        ends_wall_ns=place.window.end_ns,
    )

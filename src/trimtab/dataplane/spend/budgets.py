"""Budgets: reserve before the work, settle after it, on all accounts of a request in one step.

    room = limit - settled - reserved        settled + reserved <= limit, at every instant

A request names what it wants and the least that is any use. It gets `min(want, room)` of the tightest account if that
is at least the least; it is refused for good only if `limit - settled` is less, for then no running request can give
back enough; if what is reserved is in the way, it waits. Counting after the answer overspends by all that runs at once;
reserving the most that a request could cost, and refusing the next one, fills a budget with money that nobody spends.

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
from trimtab.dataplane.spend.accounts import Account, Books, Claim
from trimtab.dataplane.spend.lease import Hold, Lease
from trimtab.dataplane.spend.queues import Asking, Queues
from trimtab.dataplane.spend.refusals import Look, busy, exhausted, used_up


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One budget at a glance. Settled above the limit: requests cost more than they were granted."""

    name: str
    """`shop`, `shop/web` or `key_0123456789abcdef`."""
    period: str
    tz: str
    window: str
    """The day or month there, as on the calendar."""
    limit_nanousd: int
    settled_nanousd: int
    reserved_nanousd: int
    left_nanousd: int
    ends_wall_ns: int


class Budgets:
    """All accounts of this gateway. `reserve` may wait; everything else is one step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._books = Books()
        self._queues = Queues()
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._keys: tuple[Tenancy | None, dict[str, KeyEntry]] = (None, {})

    def __repr__(self) -> str:
        return f"<Budgets {len(self._books)} accounts, {len(self._queues)} waiting>"

    async def reserve(
        self,
        entry: KeyEntry,
        name: str,
        channel: Channel,
        *,
        want: int,
        least: int,
        wait_s: float,
        instead_of: Lease | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Lease | Refusal:
        """Between `least` and `want` nano-dollars, now or within `wait_s`; else who is in the way, and for how long.

        `instead_of`: an exchange. Its money counts as free for this decision; it ends if this succeeds, in the same
        step, and stays as it was if not. `on_wait` is called once if there is a wait, before it: whoever waits for
        money gives back what others could run with.
        """
        assert 0 <= least <= want, (least, want)
        asking = Asking(self._books.claims(entry, name, channel), want, least, instead_of, next(self._order))
        answer = self._decide(asking, in_order=wait_s > 0)
        if isinstance(answer, list):
            return await self._wait(asking, answer, wait_s, on_wait) if wait_s > 0 else self._busy(asking, answer)
        if instead_of is not None:
            self._call(asking.accounts)
        return answer

    def left(self, entry: KeyEntry, name: str, channel: Channel) -> int | None:
        """Room of the tightest account; None: no budget applies."""
        wall_ns = self._clock.wall_ns()
        claims = self._books.claims(entry, name, channel)
        return max(0, min(Hold(claim, claim.book(wall_ns)).room(wall_ns) for claim in claims)) if claims else None

    def unspent(self, entry: KeyEntry, name: str, channel: Channel) -> int | None:
        """What the tightest account has that is not gone for good, reserved money included; None: no budget applies.

        This, not `left`, is what decides whether a request could ever be paid for: what others hold may come free.
        """
        wall_ns = self._clock.wall_ns()
        claims = self._books.claims(entry, name, channel)
        return max(0, min(claim.limit(wall_ns) - claim.book(wall_ns).settled for claim in claims)) if claims else None

    def used_up(self, entry: KeyEntry, name: str, channel: Channel) -> Refusal:
        """For a request that has a budget which pays for none of its plans: which one, and when it is whole again."""
        wall_ns = self._clock.wall_ns()
        claims = self._books.claims(entry, name, channel)
        looks = [Look(Hold(claim, claim.book(wall_ns)), claim.limit(wall_ns), 0) for claim in claims]
        return used_up(looks, wall_ns)

    def restore(
        self,
        tenant_id: str | None,
        channel_name: str | None,
        key_id: str | None,
        wall_ns: int,
        nanousd: int,
        tenancy: Tenancy,
    ) -> None:
        """Book what a record says was spent at `wall_ns`, on the accounts of `tenancy` whose window of now holds that
        time. A name that is no longer declared is passed over."""
        if self._keys[0] is not tenancy:
            self._keys = (tenancy, {entry.key.id: entry for entry in tenancy.keys.values()})
        now_ns = self._clock.wall_ns()
        for claim in self._books.named(tenancy, self._keys[1], tenant_id, channel_name, key_id):
            book = claim.book(now_ns)
            if book.window.holds(wall_ns):
                book.settled += nanousd

    def earliest_ns(self, tenancy: Tenancy) -> int:
        """From when on records matter: the start of the oldest window; now, if there is no budget."""
        now_ns = self._clock.wall_ns()
        starts = (claim.book(now_ns).window.start_ns for claim in self._books.declared(tenancy))
        return min(starts, default=now_ns)

    def rows(self, tenancy: Tenancy) -> list[BudgetRow]:
        """Every declared budget as it stands."""
        wall_ns = self._clock.wall_ns()
        return [_row(Hold(claim, claim.book(wall_ns)), wall_ns) for claim in self._books.declared(tenancy)]

    # --- deciding

    def _decide(self, asking: Asking, *, in_order: bool = True) -> Lease | Refusal | list[Look]:
        """A lease, a refusal for good, or the accounts that are short."""
        wall_ns = self._clock.wall_ns()
        looks = [self._look(claim, asking, wall_ns, in_order) for claim in asking.claims]
        if spent := [look for look in looks if look.unspent < asking.least]:
            return exhausted(spent, asking.least, wall_ns)
        if short := [look for look in looks if look.room < asking.least]:
            return short
        if asking.instead_of is not None:
            asking.instead_of.close(0)
        granted = min([asking.want, *[look.room for look in looks]])
        return Lease(self._clock, self._call, tuple([look.hold for look in looks]), granted)

    def _short(self, asking: Asking) -> list[Look]:
        """The accounts that would keep `_decide` from an answer."""
        wall_ns = self._clock.wall_ns()
        looks = [self._look(claim, asking, wall_ns, in_order=True) for claim in asking.claims]
        spent = any(look.unspent < asking.least for look in looks)
        return [] if spent else [look for look in looks if look.room < asking.least]

    def _look(self, claim: Claim, asking: Asking, wall_ns: int, in_order: bool) -> Look:
        book, limit = claim.book(wall_ns), claim.limit(wall_ns)
        own = 0 if asking.instead_of is None else asking.instead_of.held_in(book)
        room = max(0, limit - book.settled - book.reserved + own)
        if in_order and self._queues.goes_before(claim.account, asking.order):
            room = min(room, own)
        return Look(Hold(claim, book), limit, room)

    def _busy(self, asking: Asking, short: list[Look]) -> Refusal:
        ahead = max(self._queues.length(look.hold.book.account) for look in short)
        return busy(short, asking.least, ahead, self._clock.wall_ns())

    # --- waiting

    async def _wait(
        self, asking: Asking, short: list[Look], wait_s: float, on_wait: Callable[[], None] | None
    ) -> Lease | Refusal:
        loop = asyncio.get_running_loop()
        asking.called = loop.create_future()
        self._place(asking, short)
        try:
            self._call(asking.at)  # a period may have turned, and nobody before us has noticed
            if on_wait is not None:
                on_wait()
            async with asyncio.timeout(wait_s):
                while True:
                    await asking.called
                    asking.called = loop.create_future()
                    answer = self._decide(asking)
                    if not isinstance(answer, list):
                        return answer
                    self._call(self._place(asking, answer))  # who could not wait has overtaken us
        except TimeoutError:
            self._place(asking, [])
            answer = self._decide(asking, in_order=False)
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
        gone = self._queues.place(asking, [look.hold.book.account for look in short])
        if short and asking.called is not None:
            self._set_timer(min(look.hold.book.ends_ns for look in short), asking.called.get_loop())
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


def _row(hold: Hold, wall_ns: int) -> BudgetRow:
    account, book = hold.claim.account, hold.book
    return BudgetRow(
        name=account.scope,
        period=account.period,
        tz=account.tz,
        window=book.window.id,
        limit_nanousd=hold.claim.limit(wall_ns),
        settled_nanousd=book.settled,
        reserved_nanousd=book.reserved,
        left_nanousd=max(0, hold.room(wall_ns)),
        ends_wall_ns=book.window.end_ns,
    )

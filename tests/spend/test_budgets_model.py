"""Any order of reserving, waiting, settling, growing, exchanging and hanging up, beside a model that only adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import ParamSpec, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spend.world import S, channel, day, entry, grant, in_memory, key, month
from trimtab.core.clock import instant_ns
from trimtab.core.errors import Code, Refusal
from trimtab.core.tenancy import Budget, KeyEntry, Tenancy
from trimtab.dataplane.spend import BudgetRow, Lease
from trimtab.surfaces.twin import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")

DAY = 86_400 * S
BERLIN = ZoneInfo("Europe/Berlin")
GRANT_UNTIL = "2027-01-16T00:00:00Z"
OTHER_KEY = "key_" + "1" * 16


def tiny(nanousd: int) -> Decimal:
    """So few that sums often are just enough."""
    return Decimal(nanousd) / 10**9


SMALL = [
    day(str(tiny(100)), "UTC", grant(str(tiny(20)), GRANT_UNTIL)),
    month(str(tiny(260)), "Europe/Berlin"),
]
CHANNELS = {"a": channel(day(str(tiny(70)))), "b": channel(month(str(tiny(150)), "UTC"))}
FIRST = entry(*SMALL, channels=CHANNELS, own=key(day(str(tiny(90)), "Europe/Berlin")))
SECOND = KeyEntry(FIRST.tenant, key(id=OTHER_KEY))
EVERYTHING = Tenancy("t1", {FIRST.tenant.id: FIRST.tenant}, {one.key.sha256: one for one in (FIRST, SECOND)})

Account = tuple[str, str, str]  # scope, period, zone
Window = tuple[int, int]


class Jumping:
    """The loop's clock; its wall may be set."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._clock, self.ahead_ns = loop.clock, 0

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def wall_ns(self) -> int:
        return self._clock.wall_ns() + self.ahead_ns

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return fn(*args, **kwargs)


class Held:
    """A lease as the model has it; `cost` None: open."""

    def __init__(self, lease: Lease, windows: dict[Account, Window]) -> None:
        self.lease, self.windows, self.granted = lease, windows, lease.granted
        self.cost: int | None = None


class Waiter:
    """One request that may wait."""

    def __init__(self, who: KeyEntry, name: str, want: int, least: int, old: Held | None) -> None:
        self.who, self.name, self.want, self.least, self.old = who, name, want, least, old
        self.task: asyncio.Task[None]


def declared(who: KeyEntry, name: str) -> dict[Account, Budget]:
    """The accounts of a request."""
    tenant = who.tenant
    scopes = (
        (tenant.id, tenant.budgets),
        (f"{tenant.id}/{name}", tenant.channels[name].cost.budgets),
        (who.key.id, who.key.budgets),
    )
    return {(scope, one.period, one.tz): one for scope, budgets in scopes for one in budgets}


ALL = {**declared(FIRST, "a"), **declared(FIRST, "b")}


def limit(account: Account, wall_ns: int) -> int:
    budget = ALL[account]
    return int(budget.usd * 10**9) + sum(
        int(one.usd * 10**9) for one in budget.grants if instant_ns(one.until) > wall_ns
    )


def window(account: Account, wall_ns: int) -> Window:
    zone = ZoneInfo(account[2])
    at = datetime.fromtimestamp(wall_ns // S, zone)
    first = datetime(at.year, at.month, at.day if account[1] == "day" else 1, tzinfo=zone)
    after = (first.toordinal() + 1) if account[1] == "day" else (at.year * 12 + at.month)
    if account[1] == "day":
        there = datetime.fromordinal(after)
        end = datetime(there.year, there.month, there.day, tzinfo=zone)
    else:
        end = datetime(after // 12, after % 12 + 1, 1, tzinfo=zone)
    return int(first.timestamp()) * S, int(end.timestamp()) * S


AMOUNTS = st.integers(0, 60)
KEYS = {"first": FIRST, "second": SECOND}
SPEAKERS = {"who": st.sampled_from(sorted(KEYS)), "name": st.sampled_from(sorted(CHANNELS))}


class Spending(RuleBasedStateMachine):
    """The machine: budgets on virtual time, and what they should say."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.clock = Jumping(self.loop)
        self.budgets = in_memory(self.clock)
        self.held: list[Held] = []
        self.waiters: list[Waiter] = []
        self.windows: dict[Account, Window] = {}
        self.peaks: dict[tuple[Account, Window], int] = {}
        self.overrun: set[tuple[Account, Window]] = set()

    # --- the model

    def turn(self) -> None:
        """Windows turn with the wall clock, and never back."""
        wall_ns = self.clock.wall_ns()
        for account in ALL:
            if account not in self.windows or wall_ns >= self.windows[account][1]:
                self.windows[account] = window(account, wall_ns)
            at = (account, self.windows[account])
            self.peaks[at] = max(self.peaks.get(at, 0), limit(account, wall_ns))

    def settled(self, account: Account, at: Window) -> int:
        return sum(one.cost for one in self.held if one.cost is not None and one.windows.get(account) == at)

    def reserved(self, account: Account, at: Window) -> int:
        return sum(one.granted for one in self.held if one.cost is None and one.windows.get(account) == at)

    def room(self, account: Account, old: Held | None = None) -> int:
        at = self.windows[account]
        own = old.granted if old is not None and old.cost is None and old.windows.get(account) == at else 0
        total = limit(account, self.clock.wall_ns()) - self.settled(account, at) - self.reserved(account, at) + own
        return max(0, total)

    def short(self, waiter: Waiter) -> bool:
        return any(self.room(one, waiter.old) < waiter.least for one in declared(waiter.who, waiter.name))

    def spent(self, waiter: Waiter) -> bool:
        wall_ns = self.clock.wall_ns()
        accounts = declared(waiter.who, waiter.name)
        return any(
            max(0, limit(one, wall_ns) - self.settled(one, self.windows[one])) < waiter.least for one in accounts
        )

    def granted(self, waiter: Waiter, lease: Lease) -> None:
        """Book a lease; one that it replaced has ended."""
        accounts = declared(waiter.who, waiter.name)
        most = min([waiter.want, *(self.room(account, waiter.old) for account in accounts)])
        assert waiter.least <= lease.granted <= most
        if (
            lease.granted < most
        ):  # with others in line an exchange gets what it held, and who needs nothing gets nothing
            assert waiter.least == 0 or (waiter.old is not None and waiter.old.cost is None)
        if waiter.old is not None and waiter.old.cost is None:
            waiter.old.cost = 0
        self.held.append(Held(lease, {account: self.windows[account] for account in accounts}))

    def refused(self, waiter: Waiter, refusal: Refusal) -> None:
        """Whoever is refused is so rightly, at this moment, by the account that is named."""
        names = {f"budget {scope}/{period}" for scope, period, _ in declared(waiter.who, waiter.name)}
        assert refusal.rule in names
        if refusal.code is Code.BUDGET_EXHAUSTED:
            assert self.spent(waiter)
        else:
            assert refusal.code is Code.BUDGET_BUSY
            assert refusal.retry_after_s is not None
            assert self.short(waiter)
            assert not self.spent(waiter)

    # --- the real thing

    async def ask(self, waiter: Waiter, wait_s: float) -> None:
        channels = waiter.who.tenant.channels
        answer = await self.budgets.reserve(
            waiter.who,
            waiter.name,
            channels[waiter.name],
            want=waiter.want,
            least=waiter.least,
            wait_s=wait_s,
            instead_of=None if waiter.old is None else waiter.old.lease,
        )
        self.turn()
        if isinstance(answer, Lease):
            self.granted(waiter, answer)
        else:
            self.refused(waiter, answer)

    def rows(self) -> dict[Account, BudgetRow]:
        rows = self.loop.run_until_complete(self.budgets.rows(EVERYTHING))
        return {(row.name, row.period, row.tz): row for row in rows}

    def run(self, seconds: float = 0.0) -> None:
        async def pass_time() -> None:
            await asyncio.sleep(seconds)
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(pass_time())
        for waiter in [one for one in self.waiters if one.task.done()]:
            self.waiters.remove(waiter)
            if not waiter.task.cancelled():
                waiter.task.result()
        self.turn()

    def begin(self, waiter: Waiter, wait_s: float) -> None:
        waiter.task = self.loop.create_task(self.ask(waiter, wait_s))
        self.waiters.append(waiter)
        self.run()

    def at_once(self, waiter: Waiter) -> None:
        """Without a wait the answer is known exactly."""
        rooms = [self.room(account, waiter.old) for account in declared(waiter.who, waiter.name)]
        spent, count = self.spent(waiter), len(self.held)
        self.begin(waiter, 0.0)
        got = self.held[count].granted if len(self.held) > count else None
        if spent or min(rooms) < waiter.least:
            assert got is None
        else:
            assert got == min([waiter.want, *rooms])

    def open(self) -> list[Held]:
        """Leases that no exchange is waiting to replace."""
        busy = [waiter.old for waiter in self.waiters]
        return [one for one in self.held if one.cost is None and one not in busy]

    # --- what may happen

    @initialize()
    def begins(self) -> None:
        self.run()

    @rule(**SPEAKERS, least=AMOUNTS, more=AMOUNTS)
    def reserve(self, who: str, name: str, least: int, more: int) -> None:
        self.at_once(Waiter(KEYS[who], name, least + more, least, None))

    @rule(**SPEAKERS, least=AMOUNTS, more=AMOUNTS, wait_s=st.sampled_from([0.5, 30.0, 20_000.0]))
    def wait(self, who: str, name: str, least: int, more: int, wait_s: float) -> None:
        self.begin(Waiter(KEYS[who], name, least + more, least, None), wait_s)

    @precondition(open)
    @rule(data=st.data(), least=AMOUNTS, more=AMOUNTS, wait_s=st.sampled_from([0.0, 30.0]))
    def exchange(self, data: st.DataObject, least: int, more: int, wait_s: float) -> None:
        old = data.draw(st.sampled_from(self.open()))
        scopes = {scope for scope, _, _ in old.windows}
        who = FIRST if FIRST.key.id in scopes else SECOND
        name = next(name for name in CHANNELS if f"{who.tenant.id}/{name}" in scopes)
        waiter = Waiter(who, name, least + more, least, old)
        if wait_s:
            self.begin(waiter, wait_s)
        else:
            self.at_once(waiter)

    @precondition(open)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.3, 1.0, 1.0, 1.5]))
    def settle(self, data: st.DataObject, share: float) -> None:
        one = data.draw(st.sampled_from(self.open()))
        one.cost = int(one.granted * share)
        if one.cost > one.granted:
            self.overrun.update(one.windows.items())
        one.lease.settle(one.cost)
        one.lease.settle(one.cost + 1)
        self.run()

    @precondition(open)
    @rule(data=st.data(), more=AMOUNTS)
    def extend(self, data: st.DataObject, more: int) -> None:
        one = data.draw(st.sampled_from(self.open()))
        wall_ns = self.clock.wall_ns()
        rooms = [
            limit(account, min(wall_ns, at[1] - 1)) - self.settled(account, at) - self.reserved(account, at)
            for account, at in one.windows.items()
        ]
        got = self.loop.run_until_complete(one.lease.extend(more))
        assert got == max(0, min([more, *rooms]))
        one.granted = one.lease.granted

    @precondition(lambda self: self.waiters)
    @rule(data=st.data(), first=st.booleans())
    def hang_up(self, data: st.DataObject, first: bool) -> None:
        """Just so, or in the turn of the loop in which money is freed, before or after."""
        waiter = data.draw(st.sampled_from(self.waiters))
        others = [one for one in self.open() if one is not waiter.old]
        if first or not others:
            waiter.task.cancel()
        if others:
            one = data.draw(st.sampled_from(others))
            one.cost = 0
            one.lease.release()
            waiter.task.cancel()
        self.run()
        if waiter.old is not None:  # its request is over, and settles what it has had
            waiter.old.cost = 1
            waiter.old.lease.settle(1)
            self.overrun.update(waiter.old.windows.items())
            self.run()

    @rule(seconds=st.sampled_from([0.4, 10.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(seconds)

    @rule(before_s=st.sampled_from([0.0, 10.0]))
    def a_day_turns(self, before_s: float) -> None:
        wall_ns = self.clock.wall_ns()
        self.run((DAY - wall_ns % DAY) / S - before_s)

    @precondition(lambda self: not self.waiters)
    @rule(hours=st.sampled_from([-3, -1, 5, 24 * 31]))
    def the_wall_is_set(self, hours: int) -> None:
        self.clock.ahead_ns += hours * 3600 * S
        self.turn()

    # --- what always holds

    @invariant()
    def the_books_agree(self) -> None:
        for account, row in self.rows().items():
            at = self.windows[account]
            assert row.ends_wall_ns == at[1]
            assert row.limit_nanousd == limit(account, self.clock.wall_ns())
            assert row.settled_nanousd == self.settled(account, at)
            assert row.reserved_nanousd == self.reserved(account, at)
            assert row.left_nanousd == self.room(account)

    @invariant()
    def nothing_is_overspent(self) -> None:
        for at, peak in self.peaks.items():
            if at not in self.overrun:
                assert self.settled(*at) + self.reserved(*at) <= peak

    @invariant()
    def nobody_waits_for_money_that_is_there(self) -> None:
        """Only for what is short, or behind somebody older with whom it shares an account."""
        for index, waiter in enumerate(self.waiters):
            accounts = declared(waiter.who, waiter.name).keys()
            behind = any(accounts & declared(one.who, one.name).keys() for one in self.waiters[:index])
            assert behind or self.short(waiter)

    def teardown(self) -> None:
        """At rest nothing is reserved, nobody waits and no timer runs."""
        try:
            for waiter in self.waiters:
                waiter.task.cancel()
            self.run()
            for one in self.open():
                one.cost = 0
                one.lease.release()
            self.run()
            assert all(row.reserved_nanousd == 0 for row in self.rows().values())
            assert repr(self.budgets).endswith(" 0 waiting>")
            assert all(timer.cancelled() for timer in self.loop._scheduled)  # type: ignore[attr-defined]
            self.the_books_agree()
        finally:
            self.loop.close()


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

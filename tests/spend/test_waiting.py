"""Waiting for money that is reserved: in order, woken by who frees it, and nothing left behind by who goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import pytest

from spend.world import HandClock, Purse, channel, day, entry, in_memory, key, month, nano, tenancy
from trimtab.core.clock import instant_ns
from trimtab.core.errors import Code, Refusal
from trimtab.core.tenancy import KeyEntry
from trimtab.dataplane.spend import Lease
from trimtab.surfaces.twin import VirtualLoop, run_virtual

Asked = Coroutine[Any, Any, Lease | Refusal]


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def purse(who: KeyEntry, name: str = "bot") -> Purse:
    """On the clock of the loop, whose wall begins at 2027-01-15 08:00 UTC."""
    return Purse(in_memory(loop().clock), who, name)


async def waiting(*asked: Asked) -> list[asyncio.Task[Lease | Refusal]]:
    """Begin these one after the other; each must wait."""
    tasks = []
    for one in asked:
        tasks.append(asyncio.create_task(one))
        await settled()
    assert not any(task.done() for task in tasks)
    return tasks


async def settled() -> None:
    """Until everybody who can go on has gone on, in no time."""
    for _ in range(5):
        await asyncio.sleep(0)


async def lease_of(asked: Awaitable[Lease | Refusal]) -> Lease:
    lease = await asked
    assert isinstance(lease, Lease), lease
    return lease


async def refusal_of(asked: Awaitable[Lease | Refusal]) -> Refusal:
    refusal = await asked
    assert isinstance(refusal, Refusal), refusal
    return refusal


def test_who_frees_money_serves_the_first_who_waits() -> None:
    """Those who wait are served in order of arrival, each as soon as there is enough, at that very time."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        held = [await mine.lease(5), await mine.lease(5)]
        first, second, third = await waiting(*(mine.reserve(4, wait_s=60) for _ in range(3)))
        await asyncio.sleep(7)
        held[0].settle(nano(1))
        await settled()
        assert (first.done(), second.done(), third.done()) == (True, False, False)
        held[1].settle(nano(1))
        assert (await lease_of(second)).granted == nano(4)
        assert loop().time() == pytest.approx(7)
        assert not third.done()
        first.result().settle(nano(4))  # type: ignore[union-attr]
        assert (await refusal_of(third)).code is Code.BUDGET_BUSY
        assert loop().time() == pytest.approx(60)

    run_virtual(main)


def test_nobody_slips_in_between() -> None:
    """Money that is freed belongs to who waits before another task runs: a newcomer who can wait queues behind."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        held = await mine.lease(10)
        (first,) = await waiting(mine.reserve(8, wait_s=60))
        held.release()
        newcomer = asyncio.create_task(mine.reserve(8, wait_s=1))
        assert (await lease_of(first)).granted == nano(8)
        assert (await refusal_of(newcomer)).code is Code.BUDGET_BUSY

    run_virtual(main)


def test_a_large_request_is_not_starved_by_small_ones() -> None:
    """A stream of small requests, for each of which there is room, does not keep a large one that came before them from
    its money."""

    async def main() -> None:
        mine = purse(entry(day(10)))

        async def small(number: int) -> None:
            await asyncio.sleep(0.4 * number)
            lease = await lease_of(mine.reserve(3, wait_s=60))
            await asyncio.sleep(1)
            lease.release()

        smalls = [asyncio.create_task(small(number)) for number in range(50)]
        await asyncio.sleep(1.5)
        large = await lease_of(mine.reserve(10, wait_s=60))
        assert loop().time() < 3
        large.release()
        await asyncio.gather(*smalls)

    run_virtual(main)


def test_nobody_is_refused_money_that_is_there() -> None:
    """Who can't wait takes what there is although a larger request waits for more; and so does, when its wait is over,
    who stood behind it."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        await mine.lease(6)
        large, small = await waiting(mine.reserve(8, wait_s=60), mine.reserve(1, wait_s=5))
        assert (await mine.lease(1)).granted == nano(1)
        assert (await lease_of(small)).granted == nano(1)
        assert loop().time() == pytest.approx(5)
        assert (await refusal_of(large)).code is Code.BUDGET_BUSY

    run_virtual(main)


def test_one_channel_does_not_hold_up_another() -> None:
    """While a channel's own budget is busy, the other channels of its tenant go on without a wait."""

    async def main() -> None:
        who = entry(day(100), channels={"busy": channel(day(5)), "free": channel(day(5))})
        busy = purse(who, "busy")
        free = Purse(busy.budgets, who, "free")
        await busy.lease(5)
        (stuck,) = await waiting(busy.reserve(5, wait_s=60))
        assert (await free.lease(5, wait_s=60)).granted == nano(5)
        assert loop().time() == 0
        assert (await refusal_of(stuck)).rule == "budget commerce/busy/day"

    run_virtual(main)


def two_channels() -> tuple[Purse, Purse]:
    """Of a tenant with $10 a day; the first has $6 of its own."""
    who = entry(day(10), channels={"a": channel(day(6)), "b": channel()})
    a = purse(who, "a")
    return a, Purse(a.budgets, who, "b")


def test_the_oldest_goes_first_whatever_it_waits_for() -> None:
    """Money that is freed at several accounts at once goes to the oldest of all who wait at any of them."""

    async def main() -> None:
        a, b = two_channels()
        held = await a.lease(6)
        (older,) = await waiting(a.reserve(4, wait_s=60))  # for the channel's money: the tenant has 4
        await b.lease(4)
        (younger,) = await waiting(b.reserve(5, wait_s=60))  # for the tenant's
        held.release()
        assert (await lease_of(older)).granted == nano(4)
        await settled()
        assert not younger.done()
        older.result().release()  # type: ignore[union-attr]
        assert (await lease_of(younger)).granted == nano(5)

    run_virtual(main)


def test_who_is_short_of_something_else_keeps_its_place() -> None:
    """What a request is short of changes while it waits: it stands before all who came later wherever it is short, and
    in nobody's way where it is not."""

    async def main() -> None:
        a, b = two_channels()
        little, much = await a.lease(1), await a.lease(5)
        (first,) = await waiting(a.reserve(2, wait_s=60))  # the channel has 0, the tenant 4
        one, _ = await b.lease(1), await b.lease(3)
        (second,) = await waiting(b.reserve(1, wait_s=60))  # the tenant has 0
        little.release()
        await settled()
        assert not second.done()  # 1 and 1: too little for the first, who now is short of both
        one.release()
        assert (await lease_of(second)).granted == nano(1)  # 1 and 2: the first is short of the channel's only
        assert not first.done()
        much.release()
        assert (await lease_of(first)).granted == nano(2)
        assert loop().time() == 0

    run_virtual(main)


def test_money_that_is_spent_meanwhile_ends_the_wait() -> None:
    """Who waits for money that was then spent is told at once that the budget is exhausted, and the next is looked
    at."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        held = await mine.lease(10)
        large, small = await waiting(mine.reserve(5, wait_s=600), mine.reserve(2, wait_s=600))
        await asyncio.sleep(1)
        held.settle(nano(8))
        refusal = await refusal_of(large)
        assert refusal.code is Code.BUDGET_EXHAUSTED
        assert refusal.retry_after_s == 16 * 3600 - 1
        assert (await lease_of(small)).granted == nano(2)
        assert loop().time() == pytest.approx(1)

    run_virtual(main)


def test_midnight_ends_a_wait() -> None:
    """When the period turns all who wait for it are served, in order, although nobody frees or asks for anything, and
    although somebody waits for a longer one."""

    async def main() -> None:
        mine = purse(entry(day(10, "Europe/Berlin"), month(1000)))
        monthly = Purse(mine.budgets, entry(month(1), id="hr"))
        await mine.lease(10)
        await monthly.lease(1)
        await asyncio.sleep(15 * 3600 - 30)  # 23:59:30 there
        (longer,) = await waiting(monthly.reserve(1, wait_s=120))
        served: list[int] = []

        async def ask(number: int) -> None:
            await lease_of(mine.reserve(3, wait_s=60))
            served.append(number)

        tasks = [asyncio.create_task(ask(number)) for number in range(3)]
        await asyncio.gather(*tasks)
        assert served == [0, 1, 2]
        assert loop().time() == pytest.approx(15 * 3600, abs=1e-6)
        assert await mine.books() == {"commerce/day": (0, 9), "commerce/month": (0, 19)}
        assert (await refusal_of(longer)).code is Code.BUDGET_BUSY

    run_virtual(main)


def test_midnight_is_noticed_where_only_the_wall_clock_says_so() -> None:
    """A wall clock that is set forward turns the period for those who wait as soon as anybody comes, and at the latest
    when their own wait ends."""

    async def main() -> None:
        clock = HandClock()
        mine = Purse(in_memory(clock), entry(day(10)))
        await mine.lease(10)
        alone, first = await waiting(mine.reserve(5, wait_s=1), mine.reserve(5, wait_s=60))
        clock.wall = instant_ns("2027-01-16T00:00:01Z")
        assert (await lease_of(alone)).granted == nano(5)
        assert loop().time() == pytest.approx(1)
        assert (await lease_of(first)).granted == nano(5)
        assert loop().time() == pytest.approx(1)
        (second,) = await waiting(mine.reserve(5, wait_s=60))
        clock.wall = instant_ns("2027-01-17T00:00:01Z")
        newcomer = await mine.lease(5, wait_s=60)
        assert (await lease_of(second)).granted == newcomer.granted == nano(5)
        assert loop().time() == pytest.approx(1)

    run_virtual(main)


def test_who_is_cancelled_leaves_nothing_behind() -> None:
    """A client that hangs up while it waits frees its place: the next goes on, and no money, waiter or timer stays."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        held = await mine.lease(6)
        large, small = await waiting(mine.reserve(8, wait_s=60), mine.reserve(3, wait_s=60))
        large.cancel()
        assert (await lease_of(small)).granted == nano(3)
        assert large.cancelled()
        assert loop().time() == 0
        held.release()
        small.result().release()  # type: ignore[union-attr]
        assert await mine.books() == {"commerce/day": (0, 0)}
        assert repr(mine.budgets) == "<Budgets in memory, 0 waiting>"
        assert pending_timers() == []

    run_virtual(main)


def test_who_is_cancelled_as_it_is_served_gives_the_money_back() -> None:
    """Money that comes in the same turn of the loop in which the client hangs up goes on to the next, in either
    order."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        for cancel_first in (True, False):
            held = await mine.lease(10)
            gone, following = await waiting(mine.reserve(8, wait_s=60), mine.reserve(8, wait_s=60))
            if cancel_first:
                gone.cancel()
            held.release()
            gone.cancel()
            assert (await lease_of(following)).granted == nano(8)
            assert gone.cancelled()
            following.result().release()  # type: ignore[union-attr]
            assert await mine.books() == {"commerce/day": (0, 0)}

    run_virtual(main)


def test_a_cancelled_exchange_loses_no_cost() -> None:
    """Cancelled in the turn in which the money for its exchange came, the old lease is as it was, on the day that holds
    it, and what the failed attempt cost is booked there."""

    async def main() -> None:
        mine = purse(entry(day(10), month(1000)))
        old = await mine.lease(5)
        await asyncio.sleep(16 * 3600)
        held = await mine.lease(10)
        (fallback,) = await waiting(mine.reserve(8, wait_s=60, instead_of=old))
        held.settle(nano(1))
        fallback.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fallback
        assert await mine.books() == {"commerce/day": (1, 0), "commerce/month": (1, 5)}
        old.settle(nano(2))
        assert await mine.books() == {"commerce/day": (1, 0), "commerce/month": (3, 0)}

    run_virtual(main)


def test_an_exchange_waits_with_its_old_money() -> None:
    """While a fallback waits it keeps what it holds; when it is served, what it holds too much serves the next."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        held, old = await mine.lease(6), await mine.lease(4)
        fallback, following = await waiting(mine.reserve(5, wait_s=60, instead_of=old), mine.reserve(5, wait_s=60))
        assert await mine.books() == {"commerce/day": (0, 10)}
        held.release()
        assert (await lease_of(fallback)).granted == (await lease_of(following)).granted == nano(5)
        old.settle(nano(3))  # it has ended
        assert await mine.books() == {"commerce/day": (0, 10)}

    run_virtual(main)


def test_an_exchange_never_waits_for_its_own_money() -> None:
    """With others waiting, a fallback gets what it holds at once, and no more; what it leaves goes to them."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        old = await mine.lease(6)
        (first,) = await waiting(mine.reserve(7, wait_s=60))
        second = await mine.lease(9, 1, wait_s=60, instead_of=old)
        assert second.granted == nano(6)
        third = await mine.lease(3, wait_s=60, instead_of=second)
        assert third.granted == nano(3)
        assert (await lease_of(first)).granted == nano(7)
        assert loop().time() == 0

    run_virtual(main)


def test_two_exchanges_that_wait_for_each_other_end() -> None:
    """Each holds what the other needs: both are told busy when their wait is over, and hold what they held."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        olds = [await mine.lease(5), await mine.lease(5)]
        tasks = await waiting(*(mine.reserve(8, wait_s=5, instead_of=old) for old in olds))
        assert [(await refusal_of(task)).code for task in tasks] == [Code.BUDGET_BUSY] * 2
        assert await mine.books() == {"commerce/day": (0, 10)}

    run_virtual(main)


def test_an_exchange_frees_accounts_that_no_longer_apply() -> None:
    """Where a reload has taken the channel's own budget away, what the old lease held of it serves who waits for it."""

    async def main() -> None:
        before, after = entry(channels={"bot": channel(day(5))}), entry()
        mine = purse(before)
        old = await mine.lease(5)
        (first,) = await waiting(mine.reserve(5, wait_s=60))
        await Purse(mine.budgets, after).lease(9, instead_of=old)
        assert (await lease_of(first)).granted == nano(5)
        assert loop().time() == 0

    run_virtual(main)


def test_who_was_overtaken_is_in_nobodys_way() -> None:
    """Called for its money, and overtaken by one who could not wait, a request is short of something else: those behind
    it, who don't need that, go on."""

    async def main() -> None:
        who = entry(channels={"a": channel(day(5)), "b": channel()}, own=key(day(5)))
        a = purse(who, "a")
        other = Purse(a.budgets, KeyEntry(who.tenant, key(id="key_" + "1" * 16)), "a")
        held = await a.lease(5)
        first, second = await waiting(a.reserve(4, wait_s=60), other.reserve(1, wait_s=60))
        held.release()
        impatient = await Purse(a.budgets, who, "b").lease(5)
        assert (await lease_of(second)).granted == nano(1)
        assert not first.done()
        assert loop().time() == 0
        impatient.release()
        assert (await lease_of(first)).granted == nano(4)

    run_virtual(main)


def test_who_is_no_longer_short_is_in_nobodys_way() -> None:
    """A request that waits for two accounts leaves the line at the one whose period has turned, whoever notices it, and
    those behind it there go on."""

    async def main() -> None:
        clock = HandClock()
        who = entry(channels={"a": channel(month(5)), "b": channel()}, own=key(day(5)))
        a = Purse(in_memory(clock), who, "a")
        b = Purse(a.budgets, who, "b")
        other = Purse(a.budgets, KeyEntry(who.tenant, key(id="key_" + "1" * 16)), "a")
        await other.lease(5)
        await b.lease(5)
        first, second = await waiting(a.reserve(5, wait_s=60), b.reserve(1, wait_s=60))
        clock.wall = instant_ns("2027-01-16T00:00:01Z")
        newcomer = asyncio.create_task(other.reserve(1, wait_s=60))
        assert (await lease_of(second)).granted == nano(1)
        assert loop().time() == 0
        assert [(await refusal_of(task)).code for task in (first, newcomer)] == [Code.BUDGET_BUSY] * 2

    run_virtual(main)


def test_a_running_answer_grows_before_those_who_wait() -> None:
    """`extend` takes what is there although others wait for more: they can wait, a running answer would be cut."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        running = await mine.lease(6)
        (first,) = await waiting(mine.reserve(8, wait_s=5))
        assert await running.extend(nano(4)) == nano(4)
        assert (await refusal_of(first)).code is Code.BUDGET_BUSY

    run_virtual(main)


def test_on_wait_is_called_once_and_only_for_a_wait() -> None:
    """Who must wait for money can first give back what others could run with; who is answered at once need not."""

    async def main() -> None:
        mine, calls = purse(entry(day(10))), []
        held = await mine.lease(10, wait_s=60, on_wait=lambda: calls.append("granted"))
        await mine.refusal(11, wait_s=60, on_wait=lambda: calls.append("exhausted"))
        await mine.refusal(1, on_wait=lambda: calls.append("busy"))
        assert calls == []
        (first,) = await waiting(mine.reserve(10, wait_s=60, on_wait=lambda: calls.append("waits")))
        assert calls == ["waits"]
        held.release()
        await lease_of(first)
        assert calls == ["waits"]

    run_virtual(main)


def test_what_on_wait_frees_may_be_the_money() -> None:
    """Freed by its own `on_wait`, the money is there at once; and if that fails, nothing waits on."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        held = await mine.lease(10)
        lease = await mine.lease(8, wait_s=60, on_wait=held.release)
        assert loop().time() == 0
        with pytest.raises(ZeroDivisionError):
            await mine.reserve(8, wait_s=60, on_wait=lambda: print(1 // 0))
        assert repr(mine.budgets) == "<Budgets in memory, 0 waiting>"
        lease.release()

    run_virtual(main)


def test_a_thousand_at_once_never_overspend() -> None:
    """A thousand requests over three channels, with failures and hang-ups: at no instant is more settled and reserved
    than the limit, nobody is refused while there is room, at rest nothing is reserved, and what was settled is spent.
    """

    async def main() -> None:
        names = ("a", "b", "c")
        who = entry(day(30), month(1000), channels={name: channel(day(15)) for name in names}, own=key(day(28)))
        purses = [Purse(in_memory(loop().clock), who, name) for name in names]
        for one in purses[1:]:
            one.budgets = purses[0].budgets
        random = loop().ids.random
        spent: list[int] = []
        codes: list[Code] = []

        async def check() -> None:
            for name, limit in (("commerce/day", 30), (f"{who.key.id}/day", 28), ("commerce/a/day", 15)):
                settled, reserved = (await purses[0].books())[name]
                assert reserved >= 0
                assert settled + reserved <= limit + 1e-9

        async def request(number: int) -> None:
            await asyncio.sleep(number * 0.003)
            mine = purses[number % 3]
            asked = await mine.reserve(0.2, 0.05, wait_s=random.choice((0, 0.5, 20)))
            await check()
            if isinstance(asked, Refusal):
                assert await mine.left() is not None
                assert await mine.left() < 0.05
                codes.append(asked.code)
                return
            cost = 0
            try:
                await asyncio.sleep(random.random())
                cost = random.choice((0, nano(0.01), nano(0.04), asked.granted))
            finally:
                asked.settle(cost)
                spent.append(cost)
                await check()

        tasks = [asyncio.create_task(request(number)) for number in range(1000)]
        for task in tasks[::17]:
            loop().call_later(random.random() * 3, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not [task for task in tasks if not task.cancelled() and task.exception()]
        rows = await purses[0].budgets.rows(tenancy(who))
        assert {row.reserved_nanousd for row in rows} == {0}
        assert {row.settled_nanousd for row in rows if "/" not in row.name} == {sum(spent)}
        assert sum(row.settled_nanousd for row in rows if "/" in row.name) == sum(spent)
        assert set(codes) == {Code.BUDGET_BUSY, Code.BUDGET_EXHAUSTED}
        assert len(spent) > 300
        assert pending_timers() == []

    run_virtual(main, seed=5)


def test_a_release_looks_at_no_more_than_it_serves() -> None:
    """With a thousand waiting for hours, time passing costs nothing, and one release is a handful of decisions."""

    async def main() -> None:
        clock = HandClock()
        mine = Purse(in_memory(clock), entry(day(10), month(1000)))
        held = await mine.lease(10)
        tasks = await waiting(*(mine.reserve(5, wait_s=7200) for _ in range(1000)))
        clock.wall_reads = 0
        await asyncio.sleep(3600)
        assert clock.wall_reads == 0
        held.release()
        await settled()
        assert [task.done() for task in tasks[:3]] == [True, True, False]
        assert clock.wall_reads <= 6
        for task in tasks:
            task.cancel()
        await settled()
        assert repr(mine.budgets) == "<Budgets in memory, 0 waiting>"

    run_virtual(main)


def pending_timers() -> list[asyncio.TimerHandle]:
    """Timers of the loop that somebody still counts on."""
    scheduled: list[asyncio.TimerHandle] = loop()._scheduled  # type: ignore[attr-defined]
    return [timer for timer in scheduled if not timer.cancelled()]

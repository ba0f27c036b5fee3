"""Money: reserved before the work, settled after it, on all accounts in one step."""

from __future__ import annotations

import asyncio
import gc

import pytest

from spend.world import (
    KEY,
    HandClock,
    Purse,
    S,
    channel,
    day,
    entry,
    grant,
    in_memory,
    key,
    month,
    nano,
    tenancy,
)
from trimtab.core.clock import instant_ns
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import NANO
from trimtab.core.record import blank
from trimtab.core.tenancy import KeyEntry, Tenancy
from trimtab.dataplane.spend import BudgetRow, Budgets, Kept, MemoryStore
from trimtab.dataplane.spend.adapters.memory import Book
from trimtab.surfaces.budgets import book_rows, needed
from trimtab.surfaces.twin import run_virtual

HOUR = 3600 * S


def since_ns(budgets: Budgets, everything: Tenancy, clock: HandClock) -> int:
    return needed(budgets.places(everything), Kept(), clock)[0]


def restored(
    budgets: Budgets,
    kept: MemoryStore,
    tenant: str | None,
    name: str | None,
    key_id: str | None,
    wall_ns: int,
    nanousd: int,
    everything: Tenancy,
) -> None:
    """Book what a record says."""
    row = blank("rec_1", wall_ns)
    row.tenant, row.channel, row.key_id, row.cost.settled_nanousd = tenant, name, key_id, nanousd
    book_rows(budgets, kept, everything, [row], lambda place, row: True)


def purse(who: KeyEntry, clock: HandClock | None = None) -> Purse:
    return Purse(in_memory(clock or HandClock()), who)


def layered() -> KeyEntry:
    """Two budgets of the tenant, one of the channel, one of the key; the channel's is the tightest."""
    return entry(day(10), month(100), channels={"bot": channel(day(3))}, own=key(day(5)))


def test_money_is_reserved_and_settled_on_all_accounts() -> None:
    """A lease holds the same money on every budget of tenant, channel and key; its settling moves the true cost."""

    async def main() -> None:
        mine = purse(layered())
        lease = await mine.lease(2)
        assert await mine.books() == {
            "commerce/day": (0, 2),
            "commerce/month": (0, 2),
            "commerce/bot/day": (0, 2),
            f"{KEY}/day": (0, 2),
        }
        lease.settle(nano(0.5))
        assert set((await mine.books()).values()) == {(0.5, 0)}
        assert await mine.left() == 2.5

    run_virtual(main)


def test_what_is_there_is_granted() -> None:
    """The tightest account decides: all that is wanted, or all that it has if that is at least the least."""

    async def main() -> None:
        mine = purse(layered())
        assert (await mine.lease(100, 1)).granted == nano(3)
        assert await mine.left() == 0
        refusal = await mine.refusal(1, 0.000000001)
        assert refusal.code is Code.BUDGET_BUSY
        assert refusal.rule == "budget commerce/bot/day"
        assert (await mine.refusal(3)).rule == "budget commerce/bot/day"  # where there is least, of two that are short

    run_virtual(main)


def test_what_others_hold_is_not_gone() -> None:
    """`left` is without what is reserved, `unspent` with it; neither is ever negative, both are None without a
    budget."""

    async def main() -> None:
        mine = purse(layered())
        (await mine.lease(1)).settle(nano(1))
        lease = await mine.lease(2)
        assert await mine.left() == 0
        assert await mine.budgets.unspent(mine.who, mine.name, mine.channel) == nano(2)
        lease.settle(nano(4))
        assert await mine.budgets.unspent(mine.who, mine.name, mine.channel) == 0
        assert await in_memory(HandClock()).unspent(entry(), "bot", channel()) is None

    run_virtual(main)


def test_a_refusal_reserves_nothing() -> None:
    """Where one account is short nothing is held on the others."""

    async def main() -> None:
        mine = purse(layered())
        before = await mine.books()
        await mine.refusal(4)
        assert await mine.books() == before

    run_virtual(main)


def test_exhausted_only_by_what_is_spent() -> None:
    """`budget_exhausted` says when the period ends, what it had and what was spent; before that, money that is merely
    reserved makes a budget busy."""

    async def main() -> None:
        mine = purse(entry(day(10, "Europe/Berlin")))
        (await mine.lease(4)).settle(nano(4))
        other = await mine.lease(5)
        assert (await mine.refusal(2)).code is Code.BUDGET_BUSY
        other.settle(nano(5))
        refusal = await mine.refusal(2)
        assert (refusal.code, refusal.rule) == (Code.BUDGET_EXHAUSTED, "budget commerce/day")
        assert refusal.retry_after_s == 15 * 3600  # 09:00 there
        assert refusal.message == (
            "of budget commerce/day's $10 for 2027-01-15, $9 is spent and $0 reserved; the request needs $2 at least"
        )
        assert (await mine.lease(2, 1)).granted == nano(1)

    run_virtual(main)


def test_the_last_exhausted_period_is_told() -> None:
    """Of several accounts that are spent the refusal names the one that has money again last."""

    async def main() -> None:
        mine = purse(entry(month(10), day(10)))
        (await mine.lease(10)).settle(nano(10))
        refusal = await mine.refusal(1)
        assert refusal.rule == "budget commerce/month"
        assert refusal.retry_after_s == (instant_ns("2027-02-01T00:00:00Z") - HandClock().wall) / S

    run_virtual(main)


def test_no_time_is_told_where_waiting_never_helps() -> None:
    """A request that is larger than the whole budget has no `retry_after_s`; a grant that will have ended is none."""

    async def main() -> None:
        mine = purse(entry(day(1, "UTC", grant(4, "2027-01-16T00:00:00Z")), month(100)))
        (await mine.lease(5)).settle(nano(5))
        assert (await mine.refusal(1)).retry_after_s == 16 * 3600
        assert (await mine.refusal(2)).retry_after_s is None

    run_virtual(main)


def test_the_wait_for_a_busy_budget_follows_its_leases() -> None:
    """`budget_busy` tells the time in which, at the pace of leases so far, as many of the open ones end as wait already
    and one more; a second where none has ended yet; never beyond the period's end."""

    async def main() -> None:
        clock = HandClock()
        mine = purse(entry(day(10)), clock)
        leases = [await mine.lease(5), await mine.lease(5)]
        assert (await mine.refusal(5)).retry_after_s == 1.0
        clock.move(8 * S)
        leases[0].release()
        leases[0] = await mine.lease(5)
        refusal = await mine.refusal(5)
        assert refusal.retry_after_s == 4.0  # two leases, 8 s each
        assert refusal.message == (
            "of budget commerce/day's $10 for 2027-01-15, $0 is spent and $10 reserved by requests that still run; "
            "the request needs $5 at least"
        )
        ahead = asyncio.create_task(mine.reserve(5, wait_s=60))
        await asyncio.sleep(0)
        assert (await mine.refusal(5)).retry_after_s == 8.0  # the one that waits comes first
        refusal = await ahead
        assert isinstance(refusal, Refusal)
        assert refusal.retry_after_s == 4.0  # nobody but itself waited
        clock.wall = instant_ns("2027-01-15T23:59:59.5Z")
        assert (await mine.refusal(5)).retry_after_s == 0.5

    run_virtual(main)


def test_a_lease_settles_once() -> None:
    """The first `settle` or `release` counts; later ones, in whatever order, change nothing."""

    async def main() -> None:
        mine = purse(layered())
        lease = await mine.lease(2)
        assert repr(lease) == f"<Lease $2 of commerce/day, commerce/month, commerce/bot/day, {KEY}/day, open>"
        lease.settle(nano(1))
        lease.settle(nano(2))
        lease.release()
        assert repr(lease).endswith(", ended>")
        assert set((await mine.books()).values()) == {(1, 0)}

    run_virtual(main)


def test_a_cost_above_the_grant_is_booked_in_full() -> None:
    """An overrun is visible, and the budget is exhausted by it; a request that costs nothing still passes."""

    async def main() -> None:
        who = entry(day(3))
        mine = purse(who)
        (await mine.lease(3)).settle(nano(3.5))
        (row,) = await mine.budgets.rows(tenancy(who))
        assert row == BudgetRow(
            name="commerce",
            period="day",
            tz="UTC",
            window="2027-01-15",
            limit_nanousd=3 * NANO,
            settled_nanousd=nano(3.5),
            reserved_nanousd=0,
            left_nanousd=0,
            ends_wall_ns=instant_ns("2027-01-16T00:00:00Z"),
        )
        assert await mine.left() == 0
        assert (await mine.refusal(0.1)).code is Code.BUDGET_EXHAUSTED
        assert (await mine.lease(0)).granted == 0

    run_virtual(main)


def test_a_lease_grows_on_all_accounts_or_on_none() -> None:
    """`extend` takes room from every account in one step, and leaves all as they were if one has none."""

    async def main() -> None:
        mine = purse(layered())
        lease = await mine.lease(2)
        assert await lease.extend(nano(1)) == nano(1)
        assert lease.granted == nano(3)
        before = await mine.books()
        assert not await lease.extend(1)
        assert await mine.books() == before
        assert await lease.extend(0) == 0
        lease.settle(nano(3))
        assert not await lease.extend(0)
        assert set((await mine.books()).values()) == {(3, 0)}

    run_virtual(main)


def test_without_a_budget_everything_is_granted() -> None:
    """No account: a lease of all that is wanted, at once, and nothing to tell."""

    async def main() -> None:
        mine = purse(entry())
        lease = await mine.lease(1_000_000, wait_s=1)
        assert lease.granted == nano(1_000_000)
        assert await lease.extend(nano(1)) == nano(1)
        assert repr(lease) == "<Lease $1000001 of no account, open>"
        lease.settle(5)
        assert await mine.left() is None
        assert await mine.books() == {}

    run_virtual(main)


def test_an_exchange_counts_the_old_money_as_free() -> None:
    """A fallback takes over what the failed attempt held, and more or less than that, in one step."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        first = await mine.lease(8)
        second = await mine.lease(9, instead_of=first)
        assert await mine.books() == {"commerce/day": (0, 9)}
        first.settle(nano(5))  # it has ended: the new one answers for both attempts
        third = await mine.lease(2, instead_of=second)
        third.settle(nano(6))
        assert await mine.books() == {"commerce/day": (6, 0)}

    run_virtual(main)


def test_an_exchange_that_fails_leaves_the_old_lease() -> None:
    """Refused as busy or exhausted, the old lease holds what it held and settles as ever."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        mine_too = await mine.lease(3)
        old = await mine.lease(6)
        assert (await mine.refusal(8, instead_of=old)).code is Code.BUDGET_BUSY
        assert (await mine.refusal(11, instead_of=old)).code is Code.BUDGET_EXHAUSTED
        assert await mine.books() == {"commerce/day": (0, 9)}
        assert (await mine.lease(9, 7, instead_of=old)).granted == nano(7)
        mine_too.release()

    run_virtual(main)


def test_an_exchange_of_a_lease_that_has_ended_is_none() -> None:
    """What has been settled is not counted as free once more."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        old = await mine.lease(6)
        old.settle(nano(6))
        assert (await mine.refusal(5, instead_of=old)).code is Code.BUDGET_EXHAUSTED
        other = await mine.lease(2)
        assert (await mine.refusal(4, instead_of=old)).code is Code.BUDGET_BUSY
        other.release()
        assert await mine.books() == {"commerce/day": (6, 0)}

    run_virtual(main)


def test_the_turn_of_a_period_gives_all_of_it_anew() -> None:
    """At local midnight a day's account is whole again, to the nanosecond; the month's goes on."""

    async def main() -> None:
        clock = HandClock()
        mine = purse(entry(day(10, "Europe/Berlin"), month(100, "Europe/Berlin")), clock)
        (await mine.lease(10)).settle(nano(10))
        clock.wall = instant_ns("2027-01-15T23:00:00Z") - 1
        assert await mine.left() == 0
        clock.move(1)
        assert await mine.left() == 10
        assert await mine.books() == {"commerce/day": (0, 0), "commerce/month": (10, 0)}

    run_virtual(main)


def test_a_cost_belongs_to_the_period_that_reserved_it() -> None:
    """What is settled after midnight is spent money of yesterday: today keeps all of its own."""

    async def main() -> None:
        clock = HandClock()
        mine = purse(entry(day(10), month(100)), clock)
        late = await mine.lease(6)
        clock.move(16 * HOUR)
        assert await mine.books() == {"commerce/day": (0, 0), "commerce/month": (0, 6)}
        today = await mine.lease(10)
        late.settle(nano(5))
        assert await mine.books() == {"commerce/day": (0, 10), "commerce/month": (5, 10)}
        today.settle(nano(10))

    run_virtual(main)


def test_a_lease_grows_in_the_period_that_reserved_it() -> None:
    """After midnight it may grow by what yesterday had left, a grant that ended with the day included, and no more."""

    async def main() -> None:
        clock = HandClock()
        mine = purse(entry(day(10, "UTC", grant(5, "2027-01-16T00:00:00Z"))), clock)
        late = await mine.lease(12)
        clock.move(16 * HOUR)
        today = await mine.lease(10)
        assert await late.extend(nano(3)) == nano(3)
        assert not await late.extend(1)
        assert not await today.extend(1)
        assert await mine.books() == {"commerce/day": (0, 10)}

    run_virtual(main)


def test_a_grant_counts_until_its_time() -> None:
    """A grant is part of the limit to the last nanosecond before `until`; what was then granted is still honoured."""

    async def main() -> None:
        clock = HandClock()
        who = entry(day(10, "UTC", grant(5, "2027-01-15T12:00:00+01:00"), grant(1, "2027-01-01T00:00:00Z")))
        mine = purse(who, clock)
        clock.wall = instant_ns("2027-01-15T11:00:00Z") - 1
        lease = await mine.lease(15)
        clock.move(1)
        (row,) = await mine.budgets.rows(tenancy(who))
        assert (row.limit_nanousd, row.left_nanousd) == (10 * NANO, 0)
        lease.settle(nano(15))
        assert await mine.books() == {"commerce/day": (15, 0)}

    run_virtual(main)


def test_a_wall_clock_set_back_forgets_nothing() -> None:
    """Set back past midnight, the day that has begun goes on: neither its money nor yesterday's is given twice."""

    async def main() -> None:
        clock = HandClock("2027-01-15T23:59:59Z")
        mine = purse(entry(day(10)), clock)
        (await mine.lease(10)).settle(nano(10))
        clock.move(2 * S)
        (await mine.lease(4)).settle(nano(4))
        clock.wall -= 3 * S
        assert await mine.books() == {"commerce/day": (4, 0)}

    run_virtual(main)


def test_a_reload_moves_the_limit_and_keeps_the_books() -> None:
    """An account is found by name: another amount or grant applies at once to what has been spent already."""

    async def main() -> None:
        mine = purse(entry(day(10)))
        lease = await mine.lease(6)
        lease.settle(nano(6))
        mine.who = entry(day(20), channels={"bot": channel(day(5))})
        assert await mine.books() == {"commerce/day": (6, 0), "commerce/bot/day": (0, 0)}
        assert await mine.left() == 5
        mine.who = entry(day(4))
        assert (await mine.refusal(1)).code is Code.BUDGET_EXHAUSTED

    run_virtual(main)


def test_two_channels_never_share_their_own_budgets() -> None:
    """Channels of equal declaration, and tenants with channels of equal names, have accounts of their own."""

    async def main() -> None:
        same = channel(day(5))
        budgets = in_memory(HandClock())
        who = entry(channels={"a": same, "b": same})
        other = entry(id="hr", channels={"a": same})
        await Purse(budgets, who, "a").lease(5)
        assert await Purse(budgets, who, "b").left() == 5
        assert await Purse(budgets, other, "a").left() == 5

    run_virtual(main)


def test_who_is_no_longer_configured_is_forgotten_with_its_window() -> None:
    """Accounts of a tenant that a reload removed stay until their windows end, and are then gone, whichever period
    those who remain use."""

    async def main() -> None:
        clock = HandClock()
        kept = MemoryStore(clock)
        budgets = Budgets(clock, kept)
        for number in range(100):
            (await Purse(budgets, entry(day(1), id=f"t{number}")).lease(1)).release()
        mine = Purse(budgets, entry(month(1)))
        assert await mine.left() == 1
        assert repr(kept).startswith("<MemoryStore 101 accounts, 0 leases")
        clock.move(16 * HOUR)
        assert await Purse(budgets, entry(day(1, "Asia/Tokyo"), id="new")).left() == 1
        assert repr(kept).startswith("<MemoryStore 2 accounts, 0 leases")
        gc.collect()
        assert sum(isinstance(one, Book) and one.window.id == "2027-01-15" for one in gc.get_objects()) == 0

    run_virtual(main)


def test_the_journal_rebuilds_the_books() -> None:
    """Records since `needed`, booked by `book_rows`, give the same books as the gateway that wrote them had; older
    ones and unknown names change nothing."""

    async def main() -> None:
        clock = HandClock("2027-01-15T08:00:00Z")
        who = entry(day(10), month(100, "Asia/Tokyo"), channels={"bot": channel(day(3))}, own=key(month(50)))
        mine, records = purse(who, clock), []
        for hour in range(40):
            lease = await mine.lease(0.5, 0)
            lease.settle(cost := nano(0.01 * hour) if lease.granted else 0)
            records.append((clock.wall, cost))
            clock.move(HOUR)
        kept = MemoryStore(clock)
        rebuilt = Budgets(clock, kept)
        everything = tenancy(who)
        assert since_ns(rebuilt, everything, clock) == instant_ns("2026-12-31T15:00:00Z")
        for wall_ns, cost in records:
            restored(rebuilt, kept, "commerce", "bot", KEY, wall_ns, cost, everything)
        assert await rebuilt.rows(everything) == await mine.budgets.rows(everything)
        assert (await mine.books())["commerce/day"] != (await mine.books())["commerce/month"] != (0, 0)

        foreign = entry(id="hr", own=key(month(50), id="key_" + "1" * 16))
        everything = tenancy(who, foreign)
        mine_too = await mine.budgets.rows(everything)
        restored(rebuilt, kept, "gone", "bot", KEY, clock.wall, nano(1), everything)
        restored(rebuilt, kept, None, None, None, clock.wall, nano(1), everything)
        restored(rebuilt, kept, "commerce", "bot", KEY, since_ns(rebuilt, everything, clock) - 1, nano(1), everything)
        assert await rebuilt.rows(everything) == mine_too
        for name, key_id in (("gone", "key_" + "9" * 16), (None, foreign.key.id), (None, None)):
            restored(rebuilt, kept, "commerce", name, key_id, clock.wall, nano(1), everything)
        moved = {row.name for row, old in zip(await rebuilt.rows(everything), mine_too, strict=True) if row != old}
        assert moved == {"commerce"}
        restored(rebuilt, kept, "hr", None, foreign.key.id, clock.wall, nano(1), everything)
        assert (await rebuilt.rows(everything))[-1].settled_nanousd == nano(1)

    run_virtual(main)


def test_an_adjustment_may_take_back() -> None:
    """A record of an adjustment lowers what is settled: reports and books sum the same."""
    clock, who = HandClock(), entry(day(10))
    kept = MemoryStore(clock)
    budgets = Budgets(clock, kept)
    restored(budgets, kept, "commerce", "bot", KEY, clock.wall, nano(3), tenancy(who))
    restored(budgets, kept, "commerce", "bot", KEY, clock.wall, -nano(1), tenancy(who))
    assert run_virtual(Purse(budgets, who).left) == 8


def test_without_budgets_no_record_matters() -> None:
    """`needed` is now where nobody has a budget: nothing need be read."""
    clock = HandClock()
    assert since_ns(in_memory(clock), tenancy(entry()), clock) == clock.wall


@pytest.mark.parametrize(("want", "least"), [(1, 2), (1, -1)])
def test_a_senseless_request_is_a_fault(want: float, least: float) -> None:
    """Less wanted than needed, or less than nothing needed, is the caller's mistake."""
    with pytest.raises(AssertionError):
        run_virtual(lambda: purse(entry(day(10))).reserve(want, least))

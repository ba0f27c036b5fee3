"""One port, two places to keep counters, one suite: in this process, and in a real Valkey or Redis server."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from spend.world import HandClock, S, day, entry, tenancy
from support.valkey import ValkeyServer
from trimtab.core.errors import Code, Refusal
from trimtab.dataplane.spend import Account, Budgets, Level, MemoryStore, Place, Store, StoreLostError
from trimtab.dataplane.spend.adapters.valkey import StoreFacts, ValkeyStore
from trimtab.dataplane.spend.base import Charge, Charged, Reserved
from trimtab.dataplane.spend.periods import window_at

T = TypeVar("T")
AS = 10**18
TENANT = Account("shop", "shop", "day", "UTC")
CHANNEL = Account("shop", "shop/web", "month", "Europe/Berlin")


class Bench:
    """A store, driven from outside a loop; what it is told has arrived when a call returns."""

    def __init__(self, server: ValkeyServer | None) -> None:
        self.clock = HandClock()
        self.runner = asyncio.Runner()
        self.count = 0
        if server is None:
            self.store: Store = MemoryStore(self.clock)
        else:
            server.ask("FLUSHALL")
            self.store = self.run(self._opened(server))

    async def _opened(self, server: ValkeyServer) -> Store:
        store = ValkeyStore(server.url, self.clock, own_time=True)
        await store.open()
        return store

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    def close(self) -> None:
        if isinstance(self.store, ValkeyStore):
            self.run(self.store.close())
        self.runner.close()

    def place(self, account: Account, limit: int, most: int | None = None) -> Place:
        return Place(account, window_at(account.period, account.tz, self.clock.wall), limit, most)

    def charge(self, *charges: Charge) -> Charged:
        return self.run(self.store.charge("shop", charges))

    def credit(self, *charges: Charge) -> None:
        self._tell(lambda: self.store.credit("shop", charges))

    def reserve(
        self, places: Sequence[Place], want: int, least: int | None = None, old: str | None = None, until_s: float = 60
    ) -> tuple[str, Reserved]:
        self.count += 1
        lease = f"lease{self.count}"
        until_ns = self.clock.now + int(until_s * S)
        least = want if least is None else least
        answer = self.run(self.store.reserve(lease, places, want, least, instead_of=old, until_ns=until_ns))
        return lease, answer

    def extend(self, lease: str, places: Sequence[Place], want: int) -> int:
        return self.run(self.store.extend(lease, places, want, self.clock.now + 60 * S))

    def settle(self, lease: str, cost: int) -> None:
        self._tell(lambda: self.store.settle("shop", lease, cost))

    def levels(self, *places: Place) -> list[Level]:
        return self.run(self.store.levels(places))

    def _tell(self, tell: Callable[[], None]) -> None:
        async def told() -> None:
            tell()
            if isinstance(self.store, ValkeyStore):
                await self.store.flush()

        self.run(told())


@pytest.fixture(params=["memory", "valkey"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    server = request.getfixturevalue("valkey") if request.param == "valkey" else None
    made = Bench(server)
    yield made
    made.close()


# --- rates


def test_a_burst_and_then_the_pace(bench: Bench) -> None:
    """Five at once, then one a second, and what is told of the bucket says when."""
    one = Charge("key k requests", AS, 5 * AS)
    assert [bench.charge(one).ok for _ in range(6)] == [True] * 5 + [False]
    assert bench.charge(one).used_as == (5 * AS,), "a refusal changes nothing"
    bench.clock.move(S - 1000)
    assert not bench.charge(one).ok
    bench.clock.move(1000)
    assert bench.charge(one) == Charged(True, (5 * AS,))
    bench.clock.move(3600 * S)
    assert bench.charge(one) == Charged(True, (AS,)), "a bucket is never fuller than full"


def test_all_rates_are_charged_or_none(bench: Bench) -> None:
    """One that has no room keeps the others as they were."""
    wide, tight = Charge("tenant shop tokens", 10 * AS, 100 * AS), Charge("channel shop/web tokens", 10 * AS, 15 * AS)
    assert bench.charge(wide, tight) == Charged(True, (10 * AS, 10 * AS))
    assert bench.charge(wide, tight) == Charged(False, (10 * AS, 10 * AS))
    assert bench.charge(wide) == Charged(True, (20 * AS,))


def test_a_correction_is_never_refused(bench: Bench) -> None:
    """A debt goes beyond the bucket, a credit at most to its brim."""
    name, whole = "key k tokens", 10 * AS
    bench.credit(Charge(name, 25 * AS, whole))
    assert bench.charge(Charge(name, 0, whole)) == Charged(False, (25 * AS,))
    bench.credit(Charge(name, -100 * AS, whole))
    assert bench.charge(Charge(name, AS, whole)) == Charged(True, (AS,))


# --- money


def test_a_lease_holds_on_every_account_or_on_none(bench: Bench) -> None:
    """What the tightest has, if that is enough; the levels are those that were met."""
    places = [bench.place(TENANT, 1000), bench.place(CHANNEL, 300)]
    first, answer = bench.reserve(places, 500, 100)
    assert answer == Reserved((Level(), Level()), 300)
    assert bench.reserve(places, 1)[1] == Reserved((Level(0, 300), Level(0, 300)), None)
    assert bench.reserve(places[:1], 800, 100)[1].granted == 700
    bench.settle(first, 120)
    assert bench.levels(*places) == [Level(120, 700), Level(120, 0)]


def test_a_lease_ends_once(bench: Bench) -> None:
    """Later ends change nothing, and one that is over can't grow."""
    place = bench.place(TENANT, 1000)
    lease, _ = bench.reserve([place], 400)
    for cost in (100, 300, 0):
        bench.settle(lease, cost)
    assert bench.extend(lease, [place], 10) == 0
    assert bench.levels(place) == [Level(100, 0)]
    bench.settle("never was", 50)
    assert bench.levels(place) == [Level(100, 0)]


def test_it_grows_by_what_is_there(bench: Bench) -> None:
    """On all accounts alike; what it grew by comes free with it."""
    places = [bench.place(TENANT, 1000), bench.place(CHANNEL, 450)]
    lease, _ = bench.reserve(places, 400)
    assert [bench.extend(lease, places, 30), bench.extend(lease, places, 30), bench.extend(lease, places, 30)] == [
        30,
        20,
        0,
    ]
    assert bench.levels(*places) == [Level(0, 450), Level(0, 450)]
    bench.settle(lease, 0)
    assert bench.levels(*places) == [Level(), Level()]


def test_an_exchange_is_one_step(bench: Bench) -> None:
    """The old lease's money counts as free, it ends with the new one's beginning, and stays if there is none."""
    place = bench.place(TENANT, 1000)
    old, _ = bench.reserve([place], 700)
    _, answer = bench.reserve([place], 1001, old=old)
    assert answer == Reserved((Level(0, 0),), None)
    assert bench.levels(place) == [Level(0, 700)]
    new, answer = bench.reserve([place], 900, old=old)
    assert answer == Reserved((Level(0, 0),), 900)
    assert bench.levels(place) == [Level(0, 900)]
    bench.settle(new, 10)
    assert bench.levels(place) == [Level(10, 0)]


def test_who_came_later_takes_no_more_than_it_may(bench: Bench) -> None:
    """`most` bounds one request at one account, whatever there is."""
    assert bench.reserve([bench.place(TENANT, 1000, most=0)], 1)[1].granted is None
    assert bench.reserve([bench.place(TENANT, 1000, most=40)], 100, 10)[1].granted == 40


def test_windows_are_apart(bench: Bench) -> None:
    """Money of yesterday is settled yesterday, and today begins with none spent."""
    before = bench.place(TENANT, 1000)
    lease, _ = bench.reserve([before], 400, until_s=200_000)
    bench.clock.move(86_400 * S)
    now = bench.place(TENANT, 1000)
    assert bench.reserve([now], 1000)[1].granted == 1000
    bench.settle(lease, 90)
    assert bench.levels(now) == [Level(0, 1000)]


def test_yesterday_can_be_looked_at_today(bench: Bench) -> None:
    """A lease of yesterday that asks how its accounts stand is told so, and today's accounts keep what is theirs."""
    before = bench.place(TENANT, 1000)
    lease, _ = bench.reserve([before], 400, until_s=200_000)
    bench.clock.move(86_400 * S)
    now = bench.place(TENANT, 1000)
    spent, _ = bench.reserve([now], 600)
    bench.settle(spent, 600)
    bench.reserve([now], 300)
    assert bench.levels(before) == [Level(0, 400)]
    assert bench.extend(lease, [before], 700) == 600
    assert bench.levels(now) == [Level(600, 300)]
    assert bench.reserve([now], 101)[1].granted is None


def test_large_amounts_are_exact(bench: Bench) -> None:
    """Up to 2^53 nano-dollars, to the nano-dollar."""
    place = bench.place(TENANT, 2**53 - 1)
    lease, answer = bench.reserve([place], 2**53 - 1)
    assert answer.granted == 2**53 - 1
    bench.settle(lease, 2**53 - 2)
    assert bench.levels(place) == [Level(2**53 - 2, 0)]
    assert bench.reserve([place], 2, 1)[1].granted == 1


class Spending(RuleBasedStateMachine):
    """Any order of steps, beside a model that only adds up."""

    made: Callable[[], Bench]

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.made()
        self.limits = {TENANT: 300, CHANNEL: 120}
        self.settled = dict.fromkeys(self.limits, 0)
        self.held: dict[str, tuple[list[Account], int]] = {}

    @initialize()
    def begin(self) -> None:
        assert self.bench.levels(*self.places(list(self.limits))) == [Level(), Level()]

    def places(self, accounts: list[Account]) -> list[Place]:
        return [self.bench.place(account, self.limits[account]) for account in accounts]

    def reserved(self, account: Account) -> int:
        return sum(granted for accounts, granted in self.held.values() if account in accounts)

    def room(self, account: Account) -> int:
        return max(0, self.limits[account] - self.settled[account] - self.reserved(account))

    @rule(
        channel=st.booleans(), want=st.integers(0, 150), share=st.floats(0, 1), exchange=st.booleans(), data=st.data()
    )
    def reserve(self, channel: bool, want: int, share: float, exchange: bool, data: st.DataObject) -> None:
        accounts = [TENANT, CHANNEL] if channel else [TENANT]
        old = data.draw(st.sampled_from(sorted(self.held))) if exchange and self.held else None
        least = int(want * share)
        own = self.held[old] if old is not None else ([], 0)
        rooms = []
        for account in accounts:
            mine = own[1] if account in own[0] else 0
            rooms.append(max(0, self.limits[account] - self.settled[account] - self.reserved(account) + mine))
        lease, answer = self.bench.reserve(self.places(accounts), want, least, old)
        expected = min([want, *rooms])
        assert answer.granted == (expected if expected >= least else None)
        if answer.granted is not None:
            if old is not None:
                del self.held[old]
            self.held[lease] = (accounts, answer.granted)

    @precondition(lambda self: self.held)
    @rule(want=st.integers(0, 80), data=st.data())
    def extend(self, want: int, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.held)))
        accounts, granted = self.held[lease]
        got = self.bench.extend(lease, self.places(accounts), want)
        assert got == min([want, *[self.room(account) for account in accounts]])
        self.held[lease] = (accounts, granted + got)

    @precondition(lambda self: self.held)
    @rule(share=st.floats(0, 1), data=st.data())
    def settle(self, share: float, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.held)))
        accounts, granted = self.held.pop(lease)
        cost = int(granted * share)
        self.bench.settle(lease, cost)
        self.bench.settle(lease, cost + 1)
        for account in accounts:
            self.settled[account] += cost

    @invariant()
    def levels_agree_and_nothing_is_overspent(self) -> None:
        for account, level in zip(self.limits, self.bench.levels(*self.places(list(self.limits))), strict=True):
            assert level == Level(self.settled[account], self.reserved(account))
            assert level.used <= self.limits[account]

    def teardown(self) -> None:
        for lease in list(self.held):
            self.bench.settle(lease, 0)
        assert all(level.reserved == 0 for level in self.bench.levels(*self.places(list(self.limits))))
        self.bench.close()


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_any_order_of_steps(kind: str, request: pytest.FixtureRequest) -> None:
    """Both stores do what a model does that only adds up; at every step settled + reserved <= limit, in the end
    reserved == 0."""
    server = request.getfixturevalue("valkey") if kind == "valkey" else None

    class Here(Spending):
        @staticmethod
        def made() -> Bench:
            return Bench(server)

    run_state_machine_as_test(Here, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))


# --- what only a shared store has


async def opened(server: ValkeyServer, clock: HandClock) -> ValkeyStore:
    store = ValkeyStore(server.url, clock, own_time=True)
    await store.open()
    return store


def test_gateways_share_a_budget_exactly(valkey: ValkeyServer) -> None:
    """Three gateways, two hundred requests each at once, against a hundred requests' worth: exactly that many are
    served, nobody is refused while there is money, and who waits is called by whoever frees it."""
    valkey.ask("FLUSHALL")

    async def main() -> None:
        clock, who = HandClock(), entry(day(1))
        stores = [await opened(valkey, clock) for _ in range(3)]
        gateways = [Budgets(clock, store) for store in stores]
        channel = who.tenant.channels["bot"]
        served = 0

        async def request(gateway: Budgets, number: int) -> Code | None:
            nonlocal served
            lease = await gateway.reserve(
                who, "bot", channel, want=20_000_000, least=10_000_000, wait_s=30, holder=f"r{number}", lasts_s=60
            )
            if isinstance(lease, Refusal):
                return lease.code
            await asyncio.sleep(0)
            lease.settle(10_000_000)
            served += 1
            return None

        told = await asyncio.gather(*(request(gateways[number % 3], number) for number in range(600)))
        assert served == 100
        assert {code for code in told if code is not None} == {Code.BUDGET_EXHAUSTED}
        for store in stores:
            await store.flush()
        (row,) = await gateways[0].rows(tenancy(who))
        assert (row.settled_nanousd, row.reserved_nanousd, row.left_nanousd) == (10**9, 0, 0)
        for store in stores:
            await store.close()

    asyncio.run(main())


def test_a_lease_that_nobody_ends_counts_as_spent_once(valkey: ValkeyServer) -> None:
    """When its time is over what it was granted is spent, and told as lost; a holder that turns up later is believed:
    the budget then has what it did cost, and what was told is taken back."""
    bench = Bench(valkey)
    store = bench.store
    assert isinstance(store, ValkeyStore)
    place = bench.place(TENANT, 1000)
    gone, _ = bench.reserve([place], 300, until_s=10)
    late, _ = bench.reserve([place], 200, until_s=10)
    bench.clock.move(9 * S)
    assert bench.levels(place) == [Level(0, 500)]
    bench.clock.move(2 * S)
    assert bench.levels(place) == [Level(500, 0)]
    told = bench.run(store.take_lost("shop"))
    assert {(one.lease, one.granted, one.accounts) for one in told} == {(gone, 300, (TENANT,)), (late, 200, (TENANT,))}
    bench.settle(late, 50)
    assert bench.levels(place) == [Level(350, 0)]
    assert [(one.lease, one.granted) for one in bench.run(store.take_lost("shop"))] == [(late, -200)]
    assert bench.run(store.take_lost("shop")) == []
    bench.close()


def test_a_lost_lease_that_is_exchanged_is_taken_back(valkey: ValkeyServer) -> None:
    """Its holder has turned up: what it was granted is no longer spent, and counts as free for the exchange."""
    bench = Bench(valkey)
    store = bench.store
    assert isinstance(store, ValkeyStore)
    place = bench.place(TENANT, 1000)
    old, _ = bench.reserve([place], 700, until_s=10)
    bench.clock.move(11 * S)
    assert bench.levels(place) == [Level(700, 0)]
    new, answer = bench.reserve([place], 900, old=old)
    assert answer == Reserved((Level(),), 900)
    bench.settle(new, 60)
    assert bench.levels(place) == [Level(60, 0)]
    assert [one.granted for one in bench.run(store.take_lost("shop"))] == [700, -700]
    bench.close()


def test_who_settles_an_exchanged_lease_settles_its_successor(valkey: ValkeyServer) -> None:
    """The answer to an exchange was lost: the request knows only the old lease, and its money comes free by it."""
    bench = Bench(valkey)
    place = bench.place(TENANT, 1000)
    old, _ = bench.reserve([place], 100)
    bench.reserve([place], 700, old=old)
    bench.settle(old, 60)
    assert bench.levels(place) == [Level(60, 0)]
    bench.close()


def test_a_lost_store_is_said_at_once_and_what_ended_meanwhile_arrives(valkey: ValkeyServer) -> None:
    """While the server answers nobody each step raises, after the first without asking; leases that end are kept, and
    booked when it is back. It is then asked no more often than before: one question a step."""

    async def main() -> None:
        clock = HandClock()
        store = await opened(valkey, clock)
        valkey.ask("FLUSHALL")
        place = Place(TENANT, window_at("day", "UTC", clock.wall), 1000)
        until_ns = clock.now + 60 * S
        await store.reserve("before", [place], 300, 300, instead_of=None, until_ns=until_ns)
        valkey.freeze()
        try:
            for number in range(50):
                with pytest.raises(StoreLostError):
                    await store.reserve(f"lost{number}", [place], 1, 1, instead_of=None, until_ns=until_ns)
            store.settle("shop", "before", 120)
            assert store.lost is not None
        finally:
            valkey.thaw()
        async with asyncio.timeout(30):
            while store.lost is not None:
                await asyncio.sleep(0.01)
            await store.flush()
        assert await store.levels([place]) == [Level(120, 0)]
        before = valkey.calls()
        for number in range(100):
            await store.reserve(f"after{number}", [place], 1, 1, instead_of=None, until_ns=until_ns)
        assert valkey.calls() - before <= 120
        await store.close()

    asyncio.run(main())


def test_an_empty_store_after_a_restart_is_used_anew(valkey: ValkeyServer) -> None:
    """A server that lost its scripts and all it knew is served again without a restart of the gateway."""

    async def main() -> None:
        clock = HandClock()
        store = await opened(valkey, clock)
        place = Place(TENANT, window_at("day", "UTC", clock.wall), 1000)
        until_ns = clock.now + 60 * S
        await store.reserve("one", [place], 300, 300, instead_of=None, until_ns=until_ns)
        valkey.stop()
        valkey.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    answer = await store.reserve("two", [place], 900, 900, instead_of=None, until_ns=until_ns)
                except StoreLostError:
                    await asyncio.sleep(0.01)
                else:
                    break
        assert answer.granted == 900
        await store.close()

    asyncio.run(main())


def test_a_server_says_how_safe_counters_are_in_it(tmp_path: Path) -> None:
    """What it is, how durable it is, and whether it may drop them when memory is short."""

    async def facts(server: ValkeyServer) -> StoreFacts:
        store = ValkeyStore(server.url, HandClock())
        try:
            return await store.facts()
        finally:
            await store.close()

    (tmp_path / "a").mkdir()
    with ValkeyServer(tmp_path, durable=True) as server:
        told = asyncio.run(facts(server))
    assert (told.appendonly, told.appendfsync, told.policy, told.max_bytes) == (True, "always", "noeviction", 0)
    assert told.server.partition(" ")[0] in ("Redis", "Valkey")
    options = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    with ValkeyServer(tmp_path / "a", *options) as server:
        told = asyncio.run(facts(server))
    assert (told.appendonly, told.policy, told.max_bytes) == (False, "allkeys-lru", 64 << 20)


def test_a_store_that_comes_back_without_its_counters_is_said(
    valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart that forgot what was spent is an error in the log; one that kept it, or was none, is not."""

    async def main() -> None:
        store = await opened(valkey, HandClock())
        for forgets in (False, True):
            caplog.clear()
            if forgets:
                valkey.ask("FLUSHALL")
            valkey.freeze()
            with pytest.raises(StoreLostError):
                await store.charge("shop", [])
            valkey.thaw()
            async with asyncio.timeout(30):
                while store.lost is not None:
                    await asyncio.sleep(0.01)
            assert any("came back without its counters" in line for line in caplog.messages) is forgets
        await store.close()

    asyncio.run(main())


def test_a_store_can_be_closed_as_soon_as_it_is_open(valkey: ValkeyServer) -> None:
    """Its tasks are connecting then, and end all the same."""

    async def main() -> None:
        async with asyncio.timeout(5):
            for _ in range(5):
                await (await opened(valkey, HandClock())).close()

    asyncio.run(main())


def test_a_wall_clock_that_is_set_moves_no_lease(valkey: ValkeyServer) -> None:
    """Leases and rates go by the store's time, carried on by a clock that nobody sets: an hour's correction of one
    gateway's wall ends nobody's lease, and opens or shuts nobody's rate."""
    valkey.ask("FLUSHALL")

    async def main() -> None:
        clock, still = HandClock(), HandClock()
        set_one, other = ValkeyStore(valkey.url, clock), ValkeyStore(valkey.url, still)
        await set_one.open()
        await other.open()
        place = Place(TENANT, window_at("day", "UTC", clock.wall), 1000)
        rate = Charge("key k requests", AS, AS)
        assert (await set_one.charge("shop", [rate])).ok
        for step_s in (7200, -14400):
            clock.wall += step_s * S
            lease = f"lease{step_s}"
            await set_one.reserve(lease, [place], 100, 100, instead_of=None, until_ns=clock.now + 60 * S)
            assert await set_one.extend(lease, [place], 10, clock.now + 60 * S) == 10
            assert not (await set_one.charge("shop", [rate])).ok
            assert not (await other.charge("shop", [rate])).ok
        assert await other.levels([place]) == [Level(0, 220)]
        assert await set_one.take_lost("shop") == []
        await set_one.close()
        await other.close()

    asyncio.run(main())


def test_a_batch_that_is_lost_gives_its_connection_back(valkey: ValkeyServer) -> None:
    """Where the store falls silent under a batch of ends, the connection goes back to its pool: one lost for each
    outage would leave none in the end, and everybody waiting for one."""
    valkey.ask("FLUSHALL")

    async def main() -> None:
        store = await opened(valkey, HandClock())
        valkey.freeze()
        try:
            store.settle("shop", "some lease", 1)
            async with asyncio.timeout(30):
                while store.lost is None:
                    await asyncio.sleep(0.01)
            gc.collect()  # what nobody gave back complains here
        finally:
            valkey.thaw()
        await store.close()

    asyncio.run(main())

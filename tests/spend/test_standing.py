"""Going on without the store on what is held of it: nobody overspends, and the store is told all when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from spend.world import HandClock, S
from support.valkey import ValkeyServer
from trimtab.core.ids import ClockIds
from trimtab.dataplane.spend import Account, Level, Place, StandingStore, StoreLostError, window_at
from trimtab.dataplane.spend.adapters.valkey import ValkeyStore
from trimtab.dataplane.spend.base import Charge

AS = 10**18
TENANT, CHANNEL = Account("shop", "shop", "day", "UTC"), Account("shop", "shop/web", "month", "UTC")
STALE_S = 60


class One:
    """One gateway's store, and the leases that requests of it hold."""

    def __init__(self, inner: ValkeyStore, clock: HandClock, seed: int) -> None:
        self.inner, self.clock, self.ids = inner, clock, ClockIds(clock, seed)
        self.store = StandingStore(inner, clock, self.ids.record_id, STALE_S)
        self.open: dict[str, int] = {}

    def places(self, limit: int = 10_000) -> list[Place]:
        return [Place(one, window_at(one.period, one.tz, self.clock.wall), limit) for one in (TENANT, CHANNEL)]

    async def reserve(self, want: int, limit: int = 10_000, least: int | None = None) -> str | None:
        """A lease; None: there is not so much. Raises StoreLostError."""
        lease = f"{self.ids.record_id()}/web/key_1.1"
        answer = await self.store.reserve(
            lease,
            self.places(limit),
            want,
            want if least is None else least,
            instead_of=None,
            until_ns=self.clock.wall + 600 * S,
        )
        if answer.granted is None:
            return None
        self.open[lease] = answer.granted
        return lease

    def settle(self, lease: str, cost: int) -> None:
        del self.open[lease]
        self.store.settle("shop", lease, cost)

    async def spend(self, cost: int) -> None:
        lease = await self.reserve(cost)
        assert lease is not None
        self.settle(lease, cost)

    async def level(self) -> Level:
        await self.inner.flush()
        return (await self.inner.levels(self.places()))[0]


@asynccontextmanager
async def gateways(server: ValkeyServer, count: int = 1) -> AsyncIterator[list[One]]:
    server.ask("FLUSHALL")
    clock = HandClock()
    found = []
    for number in range(count):
        store = ValkeyStore(server.url, clock, own_time=True)
        await store.open()
        found.append(One(store, clock, number))
    yield found
    for one in found:
        await one.inner.close()


async def lose(server: ValkeyServer, *all_: One) -> None:
    """The server answers nobody, and each of them has noticed."""
    server.freeze()
    told = await asyncio.gather(*(one.inner.levels(one.places()) for one in all_), return_exceptions=True)
    assert all(isinstance(one, StoreLostError) for one in told)


async def back(server: ValkeyServer, *all_: One) -> None:
    server.thaw()
    for one in all_:
        async with asyncio.timeout(30):
            while one.inner.lost is not None:
                await asyncio.sleep(0.01)
        await one.inner.flush()
        await one.store.look()
        await one.inner.flush()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_what_the_last_second_took_is_held_and_pays_while_the_store_is_lost(valkey: ValkeyServer) -> None:
    """Three requests took 300: that much goes on, not a nano-dollar more, and the store hears of it at its return."""

    async def main() -> None:
        async with gateways(valkey) as (one,):
            for _ in range(3):
                await one.spend(100)
            await one.store.look()
            assert await one.level() == Level(300, 300)
            await lose(valkey, one)
            first = await one.reserve(100)
            second = await one.reserve(300, least=10)
            assert first is not None
            assert second is not None
            assert one.open[second] == 200
            with pytest.raises(StoreLostError):
                await one.reserve(1)
            one.settle(first, 40)
            assert await one.store.extend(second, one.places(), 50, 0) == 50  # what the first one gave back
            await back(valkey, one)
            assert (await one.level()).settled == 300  # the second one still runs on it
            one.settle(second, 210)
            await one.inner.flush()
            assert await one.level() == Level(550, 0)

    run(main)


def test_an_exchange_in_doubt_counts_as_the_smaller_of_the_two(valkey: ValkeyServer) -> None:
    """300 were held and 100 are to be from now on; whether that happened is not known when the store is lost."""

    async def main() -> None:
        async with gateways(valkey) as (one,):
            for _ in range(3):
                await one.spend(100)
            await one.store.look()
            await one.spend(100)
            await one.inner.flush()
            valkey.freeze()
            with pytest.raises(StoreLostError):
                await one.store.look()
            await one.spend(70)
            lease = await one.reserve(100, least=1)
            assert lease is not None
            assert one.open[lease] == 30
            one.settle(lease, 30)
            await back(valkey, one)
            assert await one.level() == Level(500, 0)

    run(main)


def test_it_ends_after_the_stale_time(valkey: ValkeyServer) -> None:
    """Money that is there is not spent any more when the store has been away for too long."""

    async def main() -> None:
        async with gateways(valkey) as (one,):
            await one.spend(100)
            await one.store.look()
            await lose(valkey, one)
            lease = await one.reserve(10)
            assert lease is not None
            one.clock.move(STALE_S * S)
            assert await one.reserve(10) is not None
            one.clock.move(1)
            with pytest.raises(StoreLostError):
                await one.reserve(10)
            await back(valkey, one)

    run(main)


def test_a_lease_that_ran_out_meanwhile_is_corrected(valkey: ValkeyServer) -> None:
    """The store has taken all of it for spent; what was drawn counts in the end."""

    async def main() -> None:
        async with gateways(valkey, 2) as (one, other):
            await one.spend(100)
            await one.store.look()
            await one.inner.flush()
            await lose(valkey, one)
            await one.spend(30)
            one.clock.move(1000 * S)
            valkey.thaw()
            assert await other.level() == Level(200, 0)
            await back(valkey, one)
            assert await one.level() == Level(130, 0)
            rows = await other.inner.take_lost("shop")
            assert [row.granted for row in rows] == [100, -100]

    run(main)


def test_the_last_money_and_idle_money_is_for_requests(valkey: ValkeyServer) -> None:
    """Nothing is held where a budget is short, or where nobody has asked for a while; who is refused gets it back."""

    async def main() -> None:
        async with gateways(valkey) as (one,):
            await one.spend(100)
            await one.store.look()
            assert await one.level() == Level(100, 100)
            one.clock.move(6 * S)
            await one.store.look()
            assert await one.level() == Level(100, 0)
            lease = await one.reserve(800, limit=1000)
            assert lease is not None
            one.settle(lease, 800)
            await one.store.look()  # 100 are left, of which 800 can't be held
            assert await one.level() == Level(900, 0)
            lease = await one.reserve(100, limit=1000)
            assert lease is not None
            one.settle(lease, 100)

    run(main)


def test_rates_are_charged_ahead_where_there_is_room(valkey: ValkeyServer) -> None:
    """Two requests a second: two go on while the store is lost. A bucket that is nearly full is left alone."""

    async def main() -> None:
        async with gateways(valkey) as (one,):
            easy, hard = Charge("easy", AS, 10 * AS), Charge("hard", AS, 2 * AS)
            for _ in range(2):
                assert (await one.store.charge("shop", [easy])).ok
                assert (await one.store.charge("shop", [hard])).ok
            await one.store.look()
            await lose(valkey, one)
            assert (await one.store.charge("shop", [easy])).used_as == (9 * AS,)
            assert (await one.store.charge("shop", [easy])).ok
            for charge in (easy, hard):
                with pytest.raises(StoreLostError):
                    await one.store.charge("shop", [charge])
            await back(valkey, one)
            assert (await one.store.charge("shop", [easy])).used_as == (5 * AS,)

    run(main)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_nobody_overspends(valkey: ValkeyServer, seed: int) -> None:
    """Three gateways on one small budget, requests at random, the store lost and back at random: what is granted and
    not given back never exceeds the limit, and in the end the store says what was spent."""
    random, limit = ClockIds(HandClock(), seed).random, 2000

    async def main() -> None:
        async with gateways(valkey, 3) as all_:
            spent = 0
            for turn in range(4):
                for _ in range(60):
                    one = random.choice(all_)
                    one.clock.move(random.randrange(S // 5))
                    step = random.random()
                    try:
                        if step < 0.5:
                            await one.reserve(random.randrange(5, 40), limit, least=5)
                        elif step < 0.85 and one.open:
                            lease = random.choice(sorted(one.open))
                            cost = random.randrange(one.open[lease] + 1)
                            spent += cost
                            one.settle(lease, cost)
                        elif one.open:
                            lease = random.choice(sorted(one.open))
                            one.open[lease] += await one.store.extend(lease, one.places(limit), 10, 10**20)
                        if one.inner.lost is None and random.random() < 0.3:
                            await one.store.look()
                    except StoreLostError:
                        pass
                    assert spent + sum(sum(one.open.values()) for one in all_) <= limit
                if turn % 2 == 0:
                    await lose(valkey, *all_)
                else:
                    await back(valkey, *all_)
            for one in all_:
                for lease in list(one.open):
                    one.settle(lease, 0)
                one.store.give_back()
                await one.inner.flush()
            assert (await all_[0].level()) == Level(spent, 0)

    run(main)

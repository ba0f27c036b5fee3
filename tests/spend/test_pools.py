"""Tokens of pools: one account for all gateways of a store, and none of it is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from spend.world import HandClock
from support.valkey import ValkeyServer
from trimtab.core.ids import ClockIds
from trimtab.core.models import Model, OverflowTerms
from trimtab.dataplane.spend import POOLS, MemoryStore, Pools, Store, Tokens
from trimtab.dataplane.spend.adapters.valkey import ValkeyStore

TERMS = OverflowTerms(for_=["eu"], tokens_per_day=1000, redact=["email"])
MODELS = {"far": Model(endpoint="https://far/v1", tier="L", overflow=TERMS), "near": Model(endpoint="n", tier="S")}


@pytest.fixture(params=["memory", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    """A server, or this process."""
    if request.param == "memory":
        yield None
    else:
        found: ValkeyServer = request.getfixturevalue("valkey")
        found.ask("FLUSHALL")
        yield found


def test_two_gateways_share_a_day(server: ValkeyServer | None) -> None:
    """What one has reserved is not there for the other; what it did not use is, and what it used stays used. The
    window that has ended is another's."""
    clock = HandClock()

    async def taken(pools: Pools, tokens: int) -> Tokens | None:
        record = ClockIds(clock).record_id()
        return await pools.reserve("far", 1000, tokens, record=record, key="key_0123456789abcdef", lasts_s=10)

    async def main() -> None:
        stores: list[Store] = [MemoryStore(clock)] * 2
        if server is not None:
            stores = [ValkeyStore(server.url, clock, own_time=True) for _ in range(2)]
            for store in stores:
                assert isinstance(store, ValkeyStore)
                await store.open()
        one, other = [Pools(clock, store) for store in stores]
        held = await taken(one, 700)
        assert held is not None
        assert await taken(other, 301) is None
        held.settle(100)
        held.settle(100)
        for store in stores:
            if isinstance(store, ValkeyStore):
                await store.flush()
        assert await taken(other, 901) is None
        assert await taken(other, 900) is not None
        (place,) = other.places(MODELS)
        assert (await stores[0].levels([place]))[0][:2] == (100, 900)
        assert place.account.tenant == POOLS
        clock.wall += 86_400 * 10**9
        assert await taken(one, 1000) is not None
        for store in stores:
            if isinstance(store, ValkeyStore):
                await store.close()

    asyncio.run(main())

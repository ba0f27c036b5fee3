"""`on_loss: leases`: requests go on for a while on what their gateway holds, and the store hears of it later."""

from __future__ import annotations

import asyncio

import pytest

from shared.bench import SHOP, Bench, code, until
from support.gateway import OTHER_KEY

pytestmark = pytest.mark.timeout(120)
STORAGE = "  on_loss: leases\n"


def test_requests_go_on_until_what_is_held_is_used_up(bench: Bench) -> None:
    """With load on all gateways the store is killed: some are still served, then they get 503; with the store back all
    is well, records and store agree to the nano-dollar, and nothing stays reserved."""

    async def main() -> None:
        answers: list[tuple[int, str | None]] = []
        stop, lost = asyncio.Event(), False
        during: list[int] = []

        async def load() -> None:
            while not stop.is_set():
                began = lost
                answer = await bench.ask(max_tokens=8)
                answers.append((answer.status, code(answer)))
                if began:
                    during.append(answer.status)

        def holds() -> bool:
            """Each gateway has a standing lease, whose number is 0."""
            return bench.store.ask("ZRANGE", "tt:{shop}:due", "0", "-1").count(b".0\r\n") == 3

        loads = [asyncio.create_task(load()) for _ in range(6)]
        await until(holds)
        bench.store.stop()
        lost = True
        await until(lambda: during.count(200) >= 10 and during.count(503) >= 30)
        assert (await bench.ask(key=OTHER_KEY)).status == 200
        bench.store.start()
        lost = False
        since = len(answers)
        await until(lambda: [status for status, _ in answers[since:]].count(200) >= 30)
        stop.set()
        await asyncio.gather(*loads)
        assert {status for status, _ in answers} == {200, 503}
        assert {found for status, found in answers if status == 503} == {"store_lost"}

    bench.run(main())
    bench.run(until(lambda: bench.level(SHOP).reserved == 0))
    spent = sum(row.cost.settled_nanousd or 0 for row in bench.rows(tenant="shop"))
    assert bench.level(SHOP).settled == spent

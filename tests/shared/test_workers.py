"""Three gateways of one workspace and one store: each limit and budget holds for all of them together."""

from __future__ import annotations

import asyncio
import os
import signal
from decimal import Decimal

import pytest

from shared.bench import HOLD, SHOP, TIGHT, TIGHT_KEY, TIGHT_USD, Bench, code, until
from support.gateway import OTHER_KEY, chat
from support.live import trimtab
from support.rawhttp import RawClient
from support.scrape import parsed, value
from trimtab.controlplane import records
from trimtab.core.money import nanousd

pytestmark = pytest.mark.timeout(120)
LIMIT = nanousd(Decimal(TIGHT_USD))


def test_a_budget_is_spent_to_the_end_and_never_over_by_all_together(bench: Bench) -> None:
    """Of 330 requests at once on three gateways the budget pays some; what is left pays for none, store and records
    agree to the nano-dollar, and every gateway had its part."""

    async def main() -> None:
        answers = await asyncio.gather(*(bench.ask(key=TIGHT_KEY, max_tokens=16) for _ in range(330)))
        while (last := await bench.ask(key=TIGHT_KEY, max_tokens=16)).status == 200:
            answers.append(last)
        assert {answer.status for answer in answers} <= {200, 429}
        assert code(last) == "budget_exhausted"

    bench.run(main())
    rows = bench.rows(tenant="tight")
    spent = sum(row.cost.settled_nanousd or 0 for row in rows)
    level = bench.level(TIGHT)
    assert (level.settled, level.reserved) == (spent, 0)
    assert spent <= LIMIT
    assert LIMIT - spent < max(row.cost.reserved_nanousd or 0 for row in rows)
    assert {row.worker for row in rows if row.status == 200} == {0, 1, 2}


def test_a_change_reaches_all_of_them(bench: Bench) -> None:
    """What `budget set` has said when it ends holds in each gateway."""
    trimtab("budget", "set", "shop", "--period", "day", "--usd", "12", "--workspace", str(bench.server.workspace))
    names = [one["snapshots"]["tenancy"] for one in bench.workers()]
    assert len(names) == 3
    assert len(set(names)) == 1
    status, told = bench.server.admin("GET", "/budgets")
    assert status == 200
    assert {row["limit_nanousd"] for row in told["budgets"] if row["name"] == "shop"} == {12 * 10**9}


def test_one_scrape_has_the_series_of_all(bench: Bench) -> None:
    """Requests are counted by worker and add up to the records; a budget, which all see alike, is there once."""
    before = len([row for row in bench.rows(tenant="other") if row.kind == "request"])

    async def main() -> str:
        await asyncio.gather(*(bench.ask(f"word {number}", key=OTHER_KEY) for number in range(24)))
        return (await asyncio.to_thread(bench.server.request, "GET", "/metrics"))[2].decode()

    found = parsed(bench.run(main()))
    assert value(found, "trimtab_requests_total", tenant="other") == before + 24
    assert all(value(found, "trimtab_requests_total", tenant="other", worker=str(one)) > 0 for one in range(3))
    assert [value(found, "trimtab_worker_up", worker=str(one)) for one in range(3)] == [1, 1, 1]
    assert value(found, "trimtab_budget_limit_usd", name="tight") == pytest.approx(0.0011)
    assert value(found, "trimtab_model_slots", model="small") == 64


def test_a_killed_gateway_comes_back_alone_and_its_money_is_booked_once(bench: Bench) -> None:
    """kill -9 of one while streams run: the others' streams end whole, another process takes its place, and what it
    held is a `lost` row each, so that the records come to what the store says."""

    async def main() -> tuple[int, int]:
        clients = [await RawClient(bench.server.port).__aenter__() for _ in range(24)]
        for number, client in enumerate(clients):
            client.send(chat(f"{HOLD} {number}", "connection: close", "trimtab-channel: fresh", stream=True))
            await client.head()
            await client.chunk()
        victim = (await asyncio.to_thread(bench.workers))[1]
        await asyncio.to_thread(bench.server.admin, "POST", "/records/flush")
        os.kill(victim["pid"], signal.SIGKILL)
        bench.release()
        whole = [b"data: [DONE]" in await client.rest() for client in clients]
        for client in clients:
            client.hang_up()
        await until(lambda: [one for one in bench.workers() if one["worker"] == 1 and one["pid"] != victim["pid"]])
        return whole.count(True), whole.count(False)

    whole, broken = bench.run(main())
    assert whole > 0
    assert broken > 0
    bench.run(until(lambda: bench.level(SHOP, ahead_s=600).reserved == 0))
    bench.run(until(lambda: len(bench.rows(kind="lost")) >= broken))
    rows = bench.rows(tenant="shop")
    lost = [row for row in rows if row.kind == "lost"]
    assert len({row.of for row in lost}) == len(lost) == broken
    assert {(row.channel, row.worker in (0, 1, 2)) for row in lost} == {("fresh", True)}
    assert sum(row.cost.settled_nanousd or 0 for row in rows) == bench.level(SHOP).settled
    assert not records.verify(bench.records).problems

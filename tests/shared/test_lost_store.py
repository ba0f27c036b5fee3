"""The shared store is lost and comes back: keys stay valid, limits and money are refused, and its return is calm."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from shared.bench import SHOP, Bench, code, until
from support.gateway import KEY, OTHER_KEY
from support.live import trimtab
from support.rawhttp import RawAnswer
from support.serving import end
from trimtab.core.keys import make

pytestmark = pytest.mark.timeout(120)
STRANGER = make("test")
MANY = 150


def test_keys_hold_limits_are_refused_and_the_return_is_calm(bench: Bench) -> None:
    """Under load the store is killed and started again, with what it had synced. Whoever has limits gets 503 with
    `Retry-After` meanwhile, whoever has none is served; no valid key is ever refused as one, and a stranger is. Once it
    is back the same work costs at most 1.2 times the calls of before."""

    async def main() -> None:
        usual = await _calls(bench, lambda: _served(bench, MANY))
        answers: list[tuple[str, RawAnswer]] = []
        stop = asyncio.Event()

        async def load(key: str) -> None:
            while not stop.is_set():
                answers.append((key, await bench.ask(key=key, max_tokens=8)))

        loads = [asyncio.create_task(load(key)) for key in (KEY, KEY, OTHER_KEY, STRANGER)]
        await _reached(lambda: len(answers) >= 40)
        bench.store.stop()
        gone = len(answers)
        await _reached(lambda: sum(code(answer) == "store_lost" for _, answer in answers) >= 100)
        await _reached(lambda: sum(key == OTHER_KEY for key, _ in answers[gone:]) >= 20)
        lost = await asyncio.to_thread(bench.server.admin, "GET", "/budgets")
        bench.store.start()
        await _reached(lambda: any(key == KEY and answer.status == 200 for key, answer in answers[gone + 100 :]))
        stop.set()
        await asyncio.gather(*loads)
        for key, answer in answers:
            allowed = {401} if key == STRANGER else {200} if key == OTHER_KEY else {200, 503}
            assert answer.status in allowed, (answer.status, answer.body)
            if answer.status == 503:
                assert code(answer) == "store_lost"
                assert int(answer.headers["retry-after"]) >= 1
        assert lost[0] == 503
        assert lost[1]["error"]["code"] == "store_lost"
        await until(lambda: not any(one["store"]["lost"] for one in bench.workers()))
        again = await _calls(bench, lambda: _served(bench, MANY))
        assert again <= 1.2 * usual

    bench.run(main())
    bench.run(until(lambda: bench.level(SHOP).reserved == 0))
    spent = sum(row.cost.settled_nanousd or 0 for row in bench.rows(tenant="shop"))
    assert bench.level(SHOP).settled == spent


def test_callers_who_come_with_the_store_do_not_storm_it(bench: Bench) -> None:
    """All that waited comes at once when the store is back: from its first second on, and with its scripts lost, each
    request costs what it did before, to a fifth."""

    async def main() -> None:
        usual = await _calls(bench, lambda: _served(bench, MANY))
        bench.store.stop()
        await until(lambda: all(one["store"]["lost"] for one in bench.workers()))
        bench.store.start()  # it has counted nothing yet

        async def patient() -> None:
            while (answer := await bench.ask(max_tokens=8)).status != 200:
                assert code(answer) == "store_lost"
                await asyncio.sleep(0.05)

        await asyncio.gather(*(patient() for _ in range(MANY)))
        again = await asyncio.to_thread(bench.store.calls)
        assert again <= 1.2 * usual

    bench.run(main())


async def _served(bench: Bench, count: int) -> None:
    answers = await asyncio.gather(*(bench.ask(max_tokens=8) for _ in range(count)))
    assert Counter(answer.status for answer in answers) == {200: count}


async def _calls(bench: Bench, work: Callable[[], Awaitable[None]]) -> int:
    """Scripts that were run for it, and what told their ends."""
    before = bench.store.calls()
    await work()
    await until(lambda: bench.level(SHOP).reserved == 0)
    return bench.store.calls() - before


async def _reached(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.01)


def test_what_is_spent_is_known_with_the_gateways_stopped(bench: Bench) -> None:
    """`budget show` asks the store itself then, and says so. The last test here: it stops what the others use."""
    assert bench.run(bench.ask("spend something")).status == 200
    running = msgspec.json.decode(trimtab("budget", "show", "--json", "--workspace", str(bench.server.workspace)))
    end(bench.server.process)
    stopped = msgspec.json.decode(trimtab("budget", "show", "--json", "--workspace", str(bench.server.workspace)))
    assert (running["source"], stopped["source"]) == ("gateway", "store")
    assert stopped["budgets"] == running["budgets"]
    assert any(row["settled_nanousd"] > 0 for row in stopped["budgets"])

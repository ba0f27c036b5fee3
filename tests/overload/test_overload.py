"""What is refused for overload before its body is read, and what is answered all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.gateway import Gateway, chat
from support.rawhttp import RawClient, request
from support.scrape import scrape, value
from support.upstream import Hang, ScriptedUpstream
from trimtab.surfaces.lag import EVERY_S, LATE_IN_A_ROW, LATE_S, WINDOW_S
from trimtab.surfaces.memory import Bound
from trimtab.surfaces.twin import VirtualLoop, run_virtual

UNREAD = request("POST", "/v1/chat/completions", b"", "Content-Length: 5000000", "Expect: 100-continue")


class Used:
    """Bytes of a limit of 100."""

    bytes = 0


async def told(gateway: Gateway, path: str) -> tuple[int, bytes]:
    async with RawClient(gateway.port) as client:
        client.send(request("GET", path, host="127.0.0.1"))
        answer = await client.answer()
        return answer.status, answer.body


def test_a_full_gateway_refuses_before_the_body_and_still_tells_of_itself(tmp_path: Path) -> None:
    """503 with Retry-After for every API route, whoever asks, and no record; health, metrics, 404 and 405 as ever."""

    async def main() -> None:
        used = Used()
        full = Bound(100, lambda: used.bytes, "test")
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, memory=[full]) as gateway:
            assert (await gateway.ask("before")).status == 200
            used.bytes = 96
            gateway.ladder.look()
            async with RawClient(gateway.port) as client:
                client.send(UNREAD)  # no `100 Continue` comes
                answer = await client.answer()
                assert (answer.status, answer.json["error"]["code"]) == (503, "overloaded")
                assert answer.headers["connection"] == "close"
                assert int(answer.headers["retry-after"]) >= 1
                assert "x-should-retry" not in answer.headers
            for path in ("/v1/models", "/v1/models/auto"):
                assert (await told(gateway, path))[0] == 503
            assert await told(gateway, "/healthz") == (200, b'{"status":"ok"}')
            assert await told(gateway, "/readyz") == (503, b'{"status":"overloaded"}')
            assert (await told(gateway, "/nothing"))[0] == 404
            assert (await told(gateway, "/v1/embeddings"))[0] == 405
            found = await scrape(gateway)
            assert value(found, "trimtab_http_refused_total", code="overloaded") == 3
            assert value(found, "trimtab_memory_step") == 4
            assert len(gateway.records) == 1
            used.bytes = 90
            gateway.ladder.look()
            assert (await gateway.ask("after")).status == 200
            assert (await told(gateway, "/readyz"))[0] == 200

    asyncio.run(main())


def test_a_loop_that_stays_late_refuses_and_one_that_was_late_does_not(tmp_path: Path) -> None:
    """As many timers in a row as are looked at: one fewer refuses nobody, and the first in time ends it."""

    async def late(loop: VirtualLoop, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(EVERY_S / 2)
            loop._advance(EVERY_S / 2 + 1.5 * LATE_S)  # the loop is busy over the timer
            await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            watching = asyncio.create_task(gateway.lag.watch())
            await asyncio.sleep(0)
            async with RawClient(gateway.port) as client:
                await late(loop, LATE_IN_A_ROW - 1)
                client.send(chat("still"))
                assert (await client.answer()).status == 200
            await asyncio.sleep(1)
            async with RawClient(gateway.port) as client:
                await late(loop, LATE_IN_A_ROW + 1)
                client.send(chat("late"))
                refused = await client.answer()
                assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
                assert float(refused.headers["retry-after-ms"]) == 1000 * WINDOW_S
            await asyncio.sleep(2 * EVERY_S)
            assert (await gateway.ask("in time")).status == 200
            watching.cancel()

    run_virtual(main)


def test_requests_at_once_are_bounded(tmp_path: Path) -> None:
    """One more than the bound is refused, so all that requests wait in is bounded, too; one that ends makes room."""

    async def main() -> None:
        async with ScriptedUpstream(lambda seen: [Hang()]) as up, Gateway(tmp_path, up.url, most_requests=5) as gateway:
            clients = [RawClient(gateway.port) for _ in range(5)]
            for number, client in enumerate(clients):
                await client.__aenter__()
                client.send(chat(f"held {number}", temperature=1))
            while gateway.listener.active < 5:
                await asyncio.sleep(0.01)
            refused = await gateway.ask("one more")
            assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
            assert (await told(gateway, "/healthz"))[0] == 200
            clients[0].hang_up()
            while gateway.listener.active > 4:
                await asyncio.sleep(0.01)
            async with RawClient(gateway.port) as client:
                client.send(chat("now", key="tt_test_unknown"))
                assert (await client.answer()).status == 401  # it got as far as its key
            for client in clients:
                client.hang_up()
            await gateway.listener.drained()

    asyncio.run(main())

"""A gateway says that it is there where nothing else does, and what it refused within a second."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.gateway import Gateway, chat
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream
from trimtab.controlplane.slo import Engine, Objective, Window
from trimtab.core.record import ALIVE_S
from trimtab.surfaces.memory import Bound
from trimtab.surfaces.presence import EVERY_S, supervisor
from trimtab.surfaces.twin import run_virtual


def test_a_quiet_gateway_says_once_a_minute_that_it_is_there(tmp_path: Path) -> None:
    """A start, a word a minute after the last row whatever that was, a stop; of the supervisor that it belongs to."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            watching = asyncio.create_task(gateway.presence.watch())
            gateway.presence.began()
            await asyncio.sleep(ALIVE_S / 2)
            await gateway.ask("Hello")
            await asyncio.sleep(ALIVE_S - 2 * EVERY_S)
            assert [row.kind for row in gateway.records] == ["gateway", "request"]
            await asyncio.sleep(1.5 * ALIVE_S)
            watching.cancel()
            gateway.presence.stopped()
            told = [row.gateway for row in gateway.records if row.gateway is not None]
            assert [one.event for one in told] == ["start", "alive", "alive", "stop"]
            assert {one.supervisor for one in told} == {supervisor()}

    run_virtual(main)


def test_what_is_refused_is_written_within_a_second_and_before_the_stop(tmp_path: Path) -> None:
    """One row for all of a channel in that second; what is left is written with the last word."""

    async def main() -> None:
        full = Bound(100, lambda: 96, "test")
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, memory=[full]) as gateway:
            gateway.ladder.look()
            watching = asyncio.create_task(gateway.presence.watch())

            async def refused(times: int) -> None:
                for _ in range(times):
                    async with RawClient(gateway.port) as client:
                        client.send(chat())
                        assert (await client.answer()).status == 503

            await refused(3)
            await asyncio.sleep(1.5 * EVERY_S)
            assert [row.count for row in gateway.records] == [3]
            await refused(2)
            watching.cancel()
            gateway.presence.stopped()
            assert [(row.kind, row.count) for row in gateway.records[1:]] == [("refused", 2), ("gateway", None)]

    run_virtual(main)


def test_what_a_draining_gateway_refuses_is_its_channels(tmp_path: Path) -> None:
    """Before a body is read: by the headers. Its objective counts it."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            gateway.plane.draining = True
            assert (await gateway.ask("Hello", "trimtab-channel: fresh")).status == 503
            assert (await gateway.ask("Hello", "trimtab-channel: none-such")).status == 503
            assert [(row.code, row.channel) for row in gateway.records] == [("draining", "fresh"), ("draining", None)]
            window = Window.parse("30d")
            fresh = Objective(id="x", kind="availability", tenant="shop", channel="fresh", window=window, target=0.9)
            engine = Engine([fresh])
            for row in gateway.records:
                engine.observe(row)
            (status,) = engine.at(gateway.last.t_wall_ns)
            assert (status.budget.events, status.budget.spent) == (1, 1)

    asyncio.run(main())

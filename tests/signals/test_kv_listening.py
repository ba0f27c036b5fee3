"""KV events over real sockets of ZeroMQ's: what an engine publishes reaches what its replica is believed to hold."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from support.gateway import Edit, Gateway, replaced
from support.kv_publisher import CLEARED, Publisher, batch, removed, stored, stored_map
from trimtab.dataplane import wiring
from trimtab.dataplane.inference import Prompt, Replica
from trimtab.dataplane.inference.kv_events import Holding
from trimtab.surfaces.kv_listening import KvListening

RUN: dict[str, Callable[[Coroutine[Any, Any, None]], None]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
PROMPT = Prompt((b"1", b"2", b"3", b"4"), 0.25)


def declared(events: str, replay: str | None = None, private: bool = True) -> Edit:
    more = "" if replay is None else f", kv_replay: {replay}"
    return replaced(
        "models.yaml",
        'small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4,',
        f'small: {{endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4, dialect: vllm, kv_events: "{events}"{more},',
    )


class Believed:
    """What the replica is believed to hold of a prompt of 64 tokens, as events come."""

    def __init__(self, gateway: Gateway) -> None:
        self._choice = gateway.plane.choice
        (self._replica,) = [one for one in gateway.plane.fleet.replicas() if one.model == "small"]
        self._changed = asyncio.Event()
        self._told: list[Holding] = []
        told = self._choice.told

        def noted(replica: Replica, holding: Holding) -> None:
            told(replica, holding)
            self._told.append(holding)
            self._changed.set()

        self._choice.told = noted  # type: ignore[method-assign]

    def place(self) -> None:
        assert self._choice.placed(self._replica, self._choice.look("small", PROMPT), 64) is not None

    async def becomes(self, blocks: int) -> None:
        """Waits for it."""
        await self._until(lambda: self._choice.look("small", PROMPT).blocks.get("small/0", 0) == blocks)

    async def told(self, *tokens: int | None) -> None:
        """Waits until these were told to be held, one after the other, and nothing else."""
        await self._until(lambda: len(self._told) >= len(tokens))
        assert [one.tokens for one in self._told] == list(tokens)

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.parametrize("loop", RUN)
def test_what_an_engine_drops_is_not_believed_to_be_there(tmp_path: Path, loop: str) -> None:
    """Half of it is removed; all is cleared. Frames that are no batch change nothing."""

    async def main() -> None:
        async with Publisher() as engine:
            async with Gateway(tmp_path, None, None, declared(f"tcp://127.0.0.1:{engine.port}")) as gateway:
                believed = Believed(gateway)
                watching = asyncio.create_task(KvListening(gateway.plane).watch())
                await engine.subscribed()
                believed.place()
                await engine.publish(batch(stored(1, 2, 3, 4)))
                await engine.send(b"kv", b"\x00", b"no number")
                await engine.send(b"kv")
                await engine.publish(batch(removed(3, 4)))
                await believed.becomes(2)
                await engine.publish(batch(CLEARED))
                await believed.becomes(0)
                believed.place()
                await engine.publish(batch(stored_map(1, 2, 3, 4), as_map=True))
                await engine.publish(batch({"type": "BlockRemoved", "block_hashes": [4], "medium": "GPU"}, as_map=True))
                await believed.becomes(3)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    RUN[loop](main())


def test_lost_batches_are_asked_for_again(tmp_path: Path) -> None:
    """One that was published before anybody listened, and one on the way: with both told again the count is exact, and
    what is removed then is known."""

    async def main() -> None:
        async with Publisher() as engine:
            places = (f"tcp://127.0.0.1:{engine.port}", f"tcp://127.0.0.1:{engine.replay_port}")
            async with Gateway(tmp_path, None, None, declared(*places)) as gateway:
                believed = Believed(gateway)
                await engine.publish(batch(stored(1, 2)), lost=True)
                watching = asyncio.create_task(KvListening(gateway.plane).watch())
                await engine.subscribed()
                believed.place()
                await engine.publish(batch(stored(3)))
                await believed.told(32, 48)
                await engine.publish(batch(stored(4)), lost=True)
                await engine.publish(batch(removed(4)))
                await believed.told(32, 48, 64, 48)
                await believed.becomes(3)
                assert engine.asked == [0, 2]
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())


def test_without_replay_a_loss_leaves_what_is_believed(tmp_path: Path) -> None:
    """Nobody knows how much is held, until all is cleared."""

    async def main() -> None:
        async with Publisher() as engine:
            async with Gateway(tmp_path, None, None, declared(f"tcp://127.0.0.1:{engine.port}")) as gateway:
                believed = Believed(gateway)
                watching = asyncio.create_task(KvListening(gateway.plane).watch())
                await engine.subscribed()
                believed.place()
                await engine.publish(batch(stored(1, 2, 3, 4)), lost=True)
                await engine.publish(batch(removed(1, 2)))
                await engine.publish(batch(stored(5)))
                await believed.told(None, None)
                await believed.becomes(4)
                await engine.publish(batch(CLEARED))
                await believed.becomes(0)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())


def test_an_engine_that_was_started_again_holds_nothing(tmp_path: Path) -> None:
    """Its numbers begin anew."""

    async def main() -> None:
        async with Publisher() as engine:
            async with Gateway(tmp_path, None, None, declared(f"tcp://127.0.0.1:{engine.port}")) as gateway:
                believed = Believed(gateway)
                watching = asyncio.create_task(KvListening(gateway.plane).watch())
                await engine.subscribed()
                believed.place()
                for number in range(3):
                    await engine.publish(batch(stored(number)))
                engine.restart()
                await engine.publish(batch(stored(9)))
                await believed.becomes(0)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())


def test_a_replica_that_goes_is_listened_to_no_more(tmp_path: Path) -> None:
    """Its socket is closed: the engine sees that nobody listens."""

    async def main() -> None:
        async with Publisher() as engine:
            async with Gateway(tmp_path, None, None, declared(f"tcp://127.0.0.1:{engine.port}")) as gateway:
                watching = asyncio.create_task(KvListening(gateway.plane).watch())
                await engine.subscribed()
                wiring.set_fleet(gateway.plane, {})
                async with asyncio.timeout(20):
                    await engine.subscribed()  # that it is none any more is told in the same way
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())


def test_an_address_that_may_not_be_connected_to_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name that leads to a private network, of a model that is not declared to be there: said in the log, once."""

    async def main() -> None:
        async with Publisher() as engine:
            name = declared(f"tcp://0x7f000001:{engine.port}")

            def public(documents: dict[str, str]) -> None:
                name(documents)
                replaced("models.yaml", '"SMALL/v1"', '"https://example.com/v1"')(documents)
                text = documents["models.yaml"]
                documents["models.yaml"] = text.replace(", private: true}", "}", 1)

            async with Gateway(tmp_path, None, None, public) as gateway:
                watching = asyncio.create_task(KvListening(gateway.plane).watch())
                async with asyncio.timeout(20):
                    while not caplog.records:
                        await asyncio.sleep(0.01)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    (record,) = caplog.records
    assert "replica small/0: its kv_events can't be read: 0x7f000001" in record.getMessage()
    assert "private network" in record.getMessage()

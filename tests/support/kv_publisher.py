"""An engine's publisher of KV events: real sockets, and batches as vLLM packs them, arrays or maps."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq
import zmq.asyncio

END = (-1).to_bytes(8, "big", signed=True)


def stored(*hashes: int, size: int = 16, medium: str | None = "GPU", group: int | None = None) -> list[Any]:
    """As an array."""
    return ["BlockStored", list(hashes), None, list(range(size * len(hashes))), size, None, medium, None, None, group]


def removed(*hashes: int, medium: str | None = "GPU") -> list[Any]:
    return ["BlockRemoved", list(hashes), medium]


CLEARED = ["AllBlocksCleared"]


def stored_map(*hashes: int, size: int = 16, **more: Any) -> dict[str, Any]:
    """As a map, as later releases pack it: what is as usual is left out."""
    told = {"type": "BlockStored", "block_hashes": list(hashes), "parent_block_hash": None, "token_ids": [1] * size}
    return told | {"block_size": size, "lora_id": None, "medium": "GPU", "lora_name": None} | more


def batch(*events: Any, as_map: bool = False) -> bytes:
    if as_map:
        return msgspec.msgpack.encode({"ts": 1.5, "events": list(events), "data_parallel_rank": 0})
    return msgspec.msgpack.encode([1.5, list(events), 0])


class Publisher:
    """Numbers its batches from 0 on, and keeps them for who asks for them again."""

    def __init__(self) -> None:
        self._context = zmq.asyncio.Context()
        self._events, self._replay = self._context.socket(zmq.XPUB), self._context.socket(zmq.ROUTER)
        self._events.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.port = self._events.bind_to_random_port("tcp://127.0.0.1")
        self.replay_port = self._replay.bind_to_random_port("tcp://127.0.0.1")
        self.kept: list[bytes] = []
        self.asked: list[int] = []
        """Numbers that batches were asked for from."""

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._context.destroy(linger=0)

    async def subscribed(self) -> None:
        """Somebody listens."""
        await self._events.recv()

    async def publish(self, payload: bytes, *, lost: bool = False) -> None:
        """The next batch; `lost`: nobody gets it."""
        number = len(self.kept)
        self.kept.append(payload)
        if not lost:
            await self._events.send_multipart([b"kv", number.to_bytes(8, "big"), payload])

    async def send(self, *frames: bytes) -> None:
        """Frames as they are."""
        await self._events.send_multipart(frames)

    def restart(self) -> None:
        """Another engine at the same address."""
        self.kept.clear()

    async def _serve(self) -> None:
        while True:
            client, _, start = await self._replay.recv_multipart()
            self.asked.append(int.from_bytes(start, "big"))
            for number, payload in enumerate(self.kept):
                if number >= self.asked[-1]:
                    await self._replay.send_multipart([client, b"", number.to_bytes(8, "big"), payload])
            await self._replay.send_multipart([client, b"", END, b""])

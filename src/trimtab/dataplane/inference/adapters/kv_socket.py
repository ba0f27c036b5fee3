"""Sockets of ZeroMQ's to one engine: where it publishes its KV events, and where it tells lost ones again."""

from __future__ import annotations

import asyncio
from typing import Final

import zmq
import zmq.asyncio

from trimtab.dataplane.inference.dialer import Origin
from trimtab.dataplane.inference.egress import addresses
from trimtab.dataplane.inference.kv_events import MOST_BYTES

Batch = tuple[int, bytes]
"""Number and payload."""

MOST_QUEUED: Final = 1000
"""Batches that wait here; what comes beyond is lost, and shows as a gap."""
MOST_REPLAYED: Final = 20_000
REPLAY_S: Final = 5.0
_NUMBER_BYTES: Final = 8
_END: Final = (-1).to_bytes(_NUMBER_BYTES, "big", signed=True)


class KvSockets:
    """Opens them; close it when all are done with."""

    def __init__(self) -> None:
        self._context = zmq.asyncio.Context()

    async def open(self, events: Origin, replay: Origin | None) -> KvSocket:
        """Names are resolved and checked as those of requests are. Raises ConnectFailed; who is not there yet is
        waited for."""
        return KvSocket(self._context, await _place(events), None if replay is None else await _place(replay))

    def close(self) -> None:
        """All that are open are closed."""
        self._context.destroy(linger=0)


class KvSocket:
    """One engine's."""

    def __init__(self, context: zmq.asyncio.Context, events: str, replay: str | None) -> None:
        self._context, self._replay = context, replay
        self._events = _connected(context, zmq.SUB, events)
        self._events.subscribe(b"")

    async def receive(self) -> Batch:
        """The next batch; what is none is passed over."""
        while True:
            frames = await self._events.recv_multipart()
            if len(frames) == 3 and len(frames[1]) == _NUMBER_BYTES:
                return int.from_bytes(frames[1], "big"), frames[2]

    async def again(self, number: int) -> list[Batch]:
        """Batches from this one on, as far as the engine has kept them; none where it does not tell, or not in
        time."""
        if self._replay is None:
            return []
        socket, found = _connected(self._context, zmq.DEALER, self._replay), list[Batch]()
        try:
            async with asyncio.timeout(REPLAY_S):
                await socket.send_multipart([b"", number.to_bytes(_NUMBER_BYTES, "big")])
                while len(found) < MOST_REPLAYED:
                    frames = await socket.recv_multipart()
                    if len(frames) != 3 or len(frames[1]) != _NUMBER_BYTES or frames[1] == _END:
                        break
                    found.append((int.from_bytes(frames[1], "big"), frames[2]))
        except TimeoutError:
            return []
        finally:
            socket.close(linger=0)
        return found

    def close(self) -> None:
        self._events.close(linger=0)


def _connected(context: zmq.asyncio.Context, kind: int, address: str) -> zmq.asyncio.Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
    socket.setsockopt(zmq.RCVHWM, MOST_QUEUED)
    socket.setsockopt(zmq.RECONNECT_IVL, 500)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 10_000)
    socket.setsockopt(zmq.IPV6, int("[" in address))
    socket.connect(address)
    return socket


async def _place(origin: Origin) -> str:
    host = (await addresses(origin))[0]
    return f"tcp://[{host}]:{origin.port}" if ":" in host else f"tcp://{host}:{origin.port}"


__all__ = ["Batch", "KvSocket", "KvSockets"]

"""A small gateway that keeps a budget in one of the two usual ways: what Trimtab is compared with.

`python -m benchmarks.budgets.reference POLICY PORT UPSTREAM_PORT REDIS_URL LIMIT_NANOUSD`

    count-after    a request is let through while less than the limit has been spent; what it cost is added after it
    reserve-max    what it costs at its `max_tokens` is taken before, and the difference given back after it

Both keep exact integers in one Redis for any number of these processes, each step atomic, know the true number of the
prompt's tokens beforehand, and charge what was produced where a caller hangs up. Several may listen on one port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any, Final

import msgspec
import uvloop
from redis.asyncio import Redis

from benchmarks.budgets.draws import INPUT_NANO, OUTPUT_NANO
from benchmarks.scripted import Body

POLICIES: Final = ("count-after", "reserve-max")
_CONNECTIONS: Final = 1024
_SPENT, _HELD = "spent", "held"
_TAKE = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0') + tonumber(redis.call('GET', KEYS[2]) or '0')
local limit, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if used >= limit or used + most > limit then return 0 end
redis.call('INCRBY', KEYS[2], most)
return 1
"""
_SETTLE = "redis.call('DECRBY', KEYS[2], ARGV[1]); redis.call('INCRBY', KEYS[1], ARGV[2])"
_REFUSAL: Final = b'{"error":{"code":"budget_exhausted","message":"the budget is used up"}}'
_EVENT = b"data: "


class Gateway:
    """See the module."""

    def __init__(self, policy: str, upstream: int, store: Redis, limit: int) -> None:
        self._policy, self._upstream, self._limit, self._store = policy, upstream, limit, store
        self._take, self._settle = store.register_script(_TAKE), store.register_script(_SETTLE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection, request after request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first = b""
            while True:
                data = await _request(reader, first)
                first = await self._answer(data, reader, writer)
        writer.close()

    async def _answer(self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """What has come of the next request. Raises ConnectionError where the caller has gone."""
        body = msgspec.json.decode(data, type=Body)
        prompt = body.prompt_tokens
        most = 0
        if self._policy == "reserve-max":
            most = prompt * INPUT_NANO + (body.max_tokens or 0) * OUTPUT_NANO
        if not await self._take(keys=[_SPENT, _HELD], args=[self._limit, most]):
            head = b"HTTP/1.1 429 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % len(_REFUSAL) + _REFUSAL)
            await writer.drain()
            return b""
        produced = Produced()
        more = asyncio.ensure_future(reader.read(1))  # while an answer runs nothing but the caller's end can come
        relay = asyncio.ensure_future(self._relay(data, writer, produced))
        try:
            await asyncio.wait({more, relay}, return_when=asyncio.FIRST_COMPLETED)
            relay.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relay
        finally:
            spent = (prompt * INPUT_NANO if produced.begun else 0) + produced.tokens * OUTPUT_NANO
            await self._settle(keys=[_SPENT, _HELD], args=[most, spent])
            more.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if first := await more:
                return first
            raise ConnectionResetError
        return b""

    async def _relay(self, data: bytes, writer: asyncio.StreamWriter, produced: Produced) -> None:
        reader, upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            upstream.write(head % len(data) + data)
            start = await reader.readuntil(b"\r\n\r\n")
            produced.begun = True
            writer.write(start)
            while True:
                size = await reader.readuntil(b"\r\n")
                piece = await reader.readexactly(int(size, 16) + 2)
                writer.write(size + piece)
                await writer.drain()
                if size == b"0\r\n":
                    return
                produced.take(piece)
        finally:
            upstream.close()


class Produced:
    """What one answer has used: as its model tells in the end, else an event a token."""

    def __init__(self) -> None:
        self.begun = False
        self.tokens = 0

    def take(self, piece: bytes) -> None:
        for event in piece.split(b"\n\n"):
            if not event.startswith(b"data: {"):
                continue
            if b'"usage":{' in event:
                told: dict[str, Any] = msgspec.json.decode(event[len(_EVENT) :])["usage"]
                self.tokens = told["completion_tokens"]
            elif b'"content":' in event:
                self.tokens += 1


async def _request(reader: asyncio.StreamReader, first: bytes) -> bytes:
    """The next one's body; `first` of it has been read."""
    head = first + await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(length)


async def main(policy: str, port: int, upstream: int, redis: str, limit: int) -> None:
    """Until ended."""
    assert policy in POLICIES, policy
    listen = socket.socket()
    listen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listen.bind(("127.0.0.1", port))
    gateway = Gateway(policy, upstream, Redis.from_url(redis, max_connections=_CONNECTIONS), limit)
    server = await asyncio.start_server(gateway.serve, sock=listen, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))

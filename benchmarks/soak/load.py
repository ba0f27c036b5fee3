"""Callers: `connections` at once, each sends its next request when it is done with the last. A process of its own.

Arguments: one JSON object (`Order`). Prints one (`Done`); the latencies of plain requests stand in `order.latencies`,
pairs of doubles: seconds since the start of the cycle, milliseconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from collections import Counter
from typing import cast

import httptools
import msgspec
import uvloop

from benchmarks.soak.requests import Ask, ask

LIMIT_S = 60.0
"""For one answer; whoever has none by then counts as failed."""


class Order(msgspec.Struct):
    """`first`, `step`, `end`: the numbers of the requests of this process."""

    port: int
    key: str
    seed: int
    first: int
    step: int
    end: int
    connections: int
    latencies: str


class Done(msgspec.Struct):
    """What callers saw. `whole`: answers with their end; their usage as it was told."""

    sent: int
    kinds: dict[str, int]
    outcomes: dict[str, int]
    """By "KIND STATUS"."""
    prompt: int
    completion: int
    whole: int
    refused: int
    """503 `overloaded`: the gateway keeps no record of these."""
    secs: float


class Answer:
    """One answer as it comes, by httptools."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.body = bytearray()

    def on_body(self, data: bytes) -> None:
        self.body += data
        limit = self.caller.asked.leave_events
        if limit is not None and self.body.count(b"\n\n") >= limit:
            self.caller.leave()

    def on_message_complete(self) -> None:
        self.caller.finish("ended")


class Caller(asyncio.Protocol):
    """A connection, and one request at a time on it."""

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self.load = load
        self.done: asyncio.Future[str] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self.done is not None and not self.done.done():
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                self.finish("no HTTP")
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.finish("cut")

    def finish(self, how: str) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(how)

    def leave(self) -> None:
        """Hang up."""
        self.finish("left")
        self.is_open = False
        self.transport.close()

    async def exchange(self, asked: Ask) -> tuple[str, int, bytearray]:
        """How it ended, the status (0: none came), the body."""
        self.asked, loop = asked, asyncio.get_running_loop()
        answer = Answer(self)
        self.parser = httptools.HttpResponseParser(answer)
        self.done = loop.create_future()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.load.order.key}\r\n"
        self.transport.write(f"{head}Content-Length: {len(asked.body)}\r\n\r\n".encode() + asked.body)
        timer = loop.call_later(LIMIT_S if asked.leave_s is None else asked.leave_s, self.leave)
        how = await self.done
        timer.cancel()
        status = self.parser.get_status_code() if answer.body or how == "ended" else 0
        if how == "ended" and not self.parser.should_keep_alive():
            self.is_open = False
            self.transport.close()
        return how, status, answer.body


class Load:
    """The callers of this process."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.numbers = iter(range(order.first, order.end, order.step))
        self.done = Done(0, {}, {}, 0, 0, 0, 0, 0)
        self.kinds: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.latencies = array("d")
        self.began = 0.0

    async def run(self) -> Done:
        self.began = time.monotonic()
        await asyncio.gather(*(self.call() for _ in range(self.order.connections)))
        self.done.secs = time.monotonic() - self.began
        self.done.kinds, self.done.outcomes = dict(self.kinds), dict(self.outcomes)
        return self.done

    async def call(self) -> None:
        loop = asyncio.get_running_loop()
        caller: Caller | None = None
        for number in self.numbers:
            if caller is None or not caller.is_open:
                _, caller = await loop.create_connection(lambda: Caller(self), "127.0.0.1", self.order.port)
            asked = ask(self.order.seed, number)
            began = time.monotonic()
            self.note(asked, began, *await caller.exchange(asked))
        if caller is not None:
            caller.transport.close()

    def note(self, asked: Ask, began: float, how: str, status: int, body: bytearray) -> None:
        """One that is over."""
        self.done.sent += 1
        self.kinds[asked.kind] += 1
        self.outcomes[f"{asked.kind} {status if how == 'ended' else how}"] += 1
        if how == "ended" and status == 503 and b'"overloaded"' in body:
            self.done.refused += 1
        if how != "ended" or status != 200:
            return
        at = body.rfind(b'"usage":')
        if at < 0:
            return
        self.done.whole += 1
        if asked.kind == "repeat" and b'"cache-exact"' in body:
            return
        if asked.kind == "plain":
            self.latencies.extend((began - self.began, (time.monotonic() - began) * 1000))
        self.done.prompt += _number(body, b'"prompt_tokens":', at)
        self.done.completion += _number(body, b'"completion_tokens":', at)


def _number(body: bytearray, name: bytes, at: int) -> int:
    start = body.index(name, at) + len(name)
    end = start
    while body[end : end + 1].isdigit():
        end += 1
    return int(body[start:end])


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    load = Load(order)
    done = uvloop.run(load.run())
    with open(order.latencies, "wb") as file:  # noqa: PTH123
        load.latencies.tofile(file)
    print(msgspec.json.encode(done).decode())


if __name__ == "__main__":
    main()

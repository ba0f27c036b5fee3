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

import msgspec
import uvloop

from benchmarks.caller import Caller, chat_head, connect
from benchmarks.soak.requests import Ask, ask


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
        caller: Caller | None = None
        head = chat_head(f"Authorization: Bearer {self.order.key}")
        for number in self.numbers:
            if caller is None or not caller.is_open:
                caller = await connect(self.order.port, head)
            asked = ask(self.order.seed, number)
            began = time.monotonic()
            self.note(asked, began, *await caller.exchange(asked.body, asked.leave_s, asked.leave_events))
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

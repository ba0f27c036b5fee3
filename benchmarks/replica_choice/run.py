"""A trace before replicas, on virtual time: when first tokens came, and what of the prompts needed no work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.replica_choice.pods import BLOCK, TOKENS, Replica
from benchmarks.replica_choice.policies import Make, Request
from trimtab.surfaces.twin.loop import VirtualLoop


class Found(NamedTuple):
    """Of one policy: share of prompt tokens that were held, and sorted times in s."""

    hit: float
    ttft_s: list[float]
    e2e_s: list[float]


def drive(requests: Sequence[Request], make: Make, replicas: int, seed: int, tokens: int = TOKENS) -> Found:
    """All requests at their times, until the last has ended."""
    loop = VirtualLoop(seed=seed)
    ttft: list[float] = []
    e2e: list[float] = []
    cached = 0

    async def one(request: Request, pods: Sequence[Replica]) -> None:
        nonlocal cached
        came, count = loop.time(), 0
        sent = await policy.send(request, [len(pod) for pod in pods])
        pod, wrote = pods[sent.replica], sent.wrote

        def on_token() -> None:
            nonlocal count
            if not count:
                ttft.append(loop.time() - came)
            count += 1
            wrote(count)

        job = pod.ask(request.blocks, request.prompt, request.output, on_token)
        await job.done
        held = pod.cached.pop(job)
        cached += held
        e2e.append(loop.time() - came)
        sent.end(held)

    async def main() -> None:
        pods = [Replica(seed + number, tokens) for number in range(replicas)]
        running = [asyncio.create_task(pod.run()) for pod in pods]
        asked = []
        for request in requests:
            await asyncio.sleep(max(0.0, request.at_s - loop.time()))
            asked.append(asyncio.create_task(one(request, pods)))
            await asyncio.sleep(0)  # it is sent before the next one comes
        await asyncio.gather(*asked)
        for task in running:
            task.cancel()

    policy = make(loop.clock, replicas, BLOCK, tokens)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return Found(cached / sum(one.prompt for one in requests), sorted(ttft), sorted(e2e))


def ceiling(requests: Sequence[Request]) -> float:
    """What one replica with room for everything would hold."""
    seen: set[int] = set()
    held = 0
    for request in requests:
        count = 0
        for block in request.blocks:
            if block not in seen:
                break
            count += 1
        held += min(count * BLOCK, request.prompt - 1)
        seen.update(request.blocks)
    return held / sum(one.prompt for one in requests)


def at(ordered: Sequence[float], share: float) -> float:
    """The nearest rank."""
    return ordered[math.ceil(share * len(ordered)) - 1]

"""Callers who hang up in the middle of a stream: how soon the provider's connection ends, and what they are billed.

The same without a gateway is the baseline: what the provider itself takes to notice.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.caller import chat_head, connect
from benchmarks.faults.provider import CALLER, TALKS, Provider
from benchmarks.tables import claim
from trimtab.controlplane.records import rows

AT_ONCE: Final = 8
EVENTS: Final = 10
"""After which a caller leaves."""
WHOLE: Final = 20
"""Answers before, whole ones, whose usage the provider tells: by them the gateway knows how this model counts."""
TARGET_MS: Final = 100.0


async def hang_ups(
    port: int, key: str, provider: Provider, count: int, records: Path
) -> dict[str, list[dict[str, Any]]]:
    """Tables of the times and of the money. `records`: the gateway's journal."""
    for _ in range(WHOLE):
        caller = await connect(port, _head(key))
        answer = await caller.exchange(_asking("Explain."))
        assert answer.is_whole, (answer.how, answer.status)
    through = await _leave(port, key, provider, count)
    direct = await _leave(provider.port, key, provider, count)
    await asyncio.sleep(1)  # the journal is written every tenth of a second
    left = [row for row in rows(records) if row.code == "client_closed"]
    written = sum(provider.left[name].words for name in through)
    billed = sum(row.tokens.completion or 0 for row in left)
    short = sum((row.tokens.completion or 0) < EVENTS - 1 for row in left)
    table = [_row("through the gateway", through, provider), _row("straight to the provider", direct, provider)]
    ours, baseline = (_ms(found, provider) for found in (through, direct))
    return {
        "hang-ups": table,
        "hang-ups' money": [
            {
                "callers": len(through),
                "records that say client_closed": len(left),
                "words the provider wrote": written,
                "tokens billed": billed,
                "billed less than they had": short,
            }
        ],
        "hang-ups' claim": [
            claim(
                "hang-up to the provider, the slowest, in ms", ours[-1], baseline[-1], "<= 100", ours[-1] <= TARGET_MS
            ),
        ],
    }


async def _leave(port: int, key: str, provider: Provider, count: int) -> dict[str, float]:
    """When each caller left, by the name in its prompt."""
    found: dict[str, float] = {}
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            name = f"{CALLER}{port}-{number}"
            caller = await connect(port, _head(key))
            answer = await caller.exchange(_asking(f"Talk. {name}"), leave_events=EVENTS)
            found[name] = time.monotonic()
            assert answer.how == "left", (answer.how, answer.status, bytes(answer.body[-300:]))
            await asyncio.wait_for(provider.left_by(name), 30)

    await asyncio.gather(*(one(number) for number in range(count)))
    return found


def _head(key: str) -> str:
    return chat_head(f"authorization: Bearer {key}", "trimtab-channel: error")


def _asking(content: str) -> bytes:
    return json.dumps({"model": TALKS, "stream": True, "messages": [{"role": "user", "content": content}]}).encode()


def _ms(left: dict[str, float], provider: Provider) -> list[float]:
    return sorted((provider.left[name].at - at) * 1000 for name, at in left.items())


def _row(way: str, left: dict[str, float], provider: Provider) -> dict[str, Any]:
    ms = _ms(left, provider)
    return {"way": way, "callers": len(ms), **{name: round(_rank(ms, share), 2) for name, share in SHARES.items()}}


SHARES = {"p50 ms": 0.5, "p99 ms": 0.99, "slowest ms": 1.0}


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]

"""Two embedded engines and conversations that grow: the gateway's choice beside round robin on two others, one after
the other.

Round robin is played by the callers: each of its engines is a model of its own, and every other request asks for the
other one. What the assistant has said is set text, so that both ways are asked the same number of tokens.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.admission_live.client import Callers, Seen
from benchmarks.admission_live.live import p95
from benchmarks.admission_live.workspace import SLOTS, TENANT, Serving, serving
from benchmarks.engines import CHANNEL, write
from benchmarks.gateway_overhead import admin
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.tables import claim
from trimtab.controlplane import records

CHOSEN: Final = ("one", "two")
"""Engines of the model `BOTH`."""
BOTH: Final = "both"
ROUND: Final = ("three", "four")
CONTEXT: Final = 2048
"""Tokens; the last of eight turns has some 1,100."""
ANSWER: Final = 8
"""Tokens."""
WORDS: Final = 60
"""Of a caller's turn, and half as many of an answer's."""
THINK_S: Final = 1.0
"""Between an answer and the next turn, on average."""
OURS: Final = "predicted seconds (ours)"
ROBIN: Final = "round robin"
_MUCH: Final = 1_000_000
_ENCODE: Final = msgspec.json.Encoder().encode


class Plan(NamedTuple):
    """`talks` conversations of so many turns, all at once; `warm`: others before anything counts, by which the gate
    learns its model."""

    talks: int
    turns: int
    warm: int
    seed: int


def measure(folder: Path, *, quick: bool, seed: int) -> dict[str, Any]:
    """Both ways, one after the other. Raises CannotRunError."""
    plan = Plan(talks=3, turns=4, warm=4, seed=seed) if quick else Plan(talks=6, turns=8, warm=12, seed=seed)
    home = folder / "workspace"
    models: dict[str, Any] = {BOTH: [f"engine:{one}" for one in CHOSEN], **{one: f"engine:{one}" for one in ROUND}}
    terms = {"dialect": "llamacpp", "tier": "S", "context": CONTEXT, "slots": SLOTS}
    engine = {"model": "bundled", "context": CONTEXT, "threads": 1, "slots": SLOTS}
    keys = write(
        home,
        (TENANT,),
        dict.fromkeys((*CHOSEN, *ROUND), engine),
        {name: {**terms, "endpoint": endpoint} for name, endpoint in models.items()},
    )
    with serving(home, keys[TENANT]) as up:
        seen = asyncio.run(_both(plan, up))
        if admin.exchange(home, "POST", "/records/flush")[0] != 200:
            raise CannotRunError("the gateway's records can't be flushed")
        rows = list(records.rows(home / "var" / "records"))
    figures: list[dict[str, Any]] = []
    for way in (OURS, ROBIN):
        tokens = [row.tokens for row in rows if row.variant and row.variant.startswith(BOTH) == (way == OURS)]
        prompt, cached = (sum(getattr(one, name) or 0 for one in tokens) for name in ("prompt", "cached"))
        times = [one.ttft_ms for one in seen[way] if one.ttft_ms is not None]
        if len(times) < len(seen[way]):
            why = sorted({one.code or str(one.status) for one in seen[way] if one.ttft_ms is None})
            without = len(seen[way]) - len(times)
            raise CannotRunError(f"{without} of {len(seen[way])} requests got no token: {', '.join(why)}")
        figures.append(
            {
                "policy": way,
                "requests": len(times),
                "cached, with those before": round(cached / prompt, 4) if prompt else 0.0,
                "ttft p50 ms": round(median(times), 1),
                "ttft p95 ms": round(p95(times), 1),
            }
        )
    ours, robin = (row["ttft p50 ms"] for row in figures)
    what = "ttft p50 in ms of growing conversations, two embedded engines"
    return {"figures": figures, "claims": [claim(what, ours, robin, "< 1 x", ours < robin)]}


async def _both(plan: Plan, up: Serving) -> dict[str, list[Seen]]:
    callers = Callers(up.port, (f"Authorization: Bearer {up.key}", f"trimtab-channel: {CHANNEL}"))
    found = {}
    for way in (OURS, ROBIN):
        turn = iter(range(_MUCH))

        def model(way: str = way, turn: Any = turn) -> str:
            return f"{BOTH}-plain" if way == OURS else f"{ROUND[next(turn) % len(ROUND)]}-plain"

        await _talks(callers, plan, f"{way} warm", plan.warm, model)
        found[way] = await _talks(callers, plan, way, plan.talks, model)
        print(f"{way}: {len(found[way])} requests", file=sys.stderr, flush=True)
    callers.close()
    return found


async def _talks(callers: Callers, plan: Plan, name: str, talks: int, model: Callable[[], str]) -> list[Seen]:
    async def talk(number: int) -> list[Seen]:
        chosen = random.Random(f"{plan.seed} {name} {number}")
        messages: list[dict[str, str]] = []
        found = []
        for _ in range(plan.turns):
            await asyncio.sleep(chosen.expovariate(1 / THINK_S))
            messages.append({"role": "user", "content": _words(chosen, WORDS)})
            body = {"model": model(), "messages": messages, "stream": True, "max_tokens": ANSWER, "temperature": 1}
            found.append(await callers.ask(_ENCODE(body)))
            messages.append({"role": "assistant", "content": _words(chosen, WORDS // 2)})
        return found

    each = await asyncio.gather(*(talk(number) for number in range(talks)))
    return [seen for one in each for seen in one]


def _words(chosen: random.Random, count: int) -> str:
    """Numbers are about two tokens each: half as many make it."""
    return " ".join(str(chosen.randrange(10, 100)) for _ in range(count // 2))

"""python -m benchmarks.speculative: see README.md beside this file."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.admission_live.client import Callers, closed_loop
from benchmarks.admission_live.workspace import Serving, serving
from benchmarks.engines import CHANNEL, write
from benchmarks.gateway_overhead import admin, processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.options import options
from benchmarks.sets import AbsentError, read
from benchmarks.tables import claim, tell
from trimtab.controlplane import records
from trimtab.core.record import Record

SETS: Final = {"passages": "d_rag/tau2_bank_docs.parquet", "questions": "b_intent/banking77.parquet"}
COPIES: Final = "copies"
"""Has passages given back, as whoever edits, extracts or quotes does."""
WRITES: Final = "writes"
"""Asks questions: nothing of the answer stands in the prompt."""
TENANTS: Final = (COPIES, WRITES)
OFF: Final = "off"
ON: Final = "on"
GOVERNED: Final = "governed"
WAYS: Final = (OFF, ON, GOVERNED)
CONTEXT: Final = 640
SLOTS: Final = 8
SPECULATION: Final = {"by": "ngram", "match": 3, "tokens": 6}
TOKENS: Final = 72
WORDS: Final = 60
BATCHES: Final = (1, 2, 4, 8)


class Plan(NamedTuple):
    """Answers of each way, tenant and batch, and at least three of each caller, in each of `rounds` in which the ways
    take turns, so that what the machine does meanwhile meets all of them. `learn`: the governed way's before."""

    batches: Sequence[int]
    least: int
    rounds: int
    learn: int


FULL: Final = Plan(BATCHES, least=12, rounds=4, learn=64)
QUICK: Final = Plan((1, 4), least=4, rounds=1, learn=8)


def measure(folder: Path, texts: dict[str, list[str]], plan: Plan, seed: int) -> dict[str, Any]:
    """Every batch, tenant and way. Raises CannotRunError."""
    home = folder / "workspace"
    keys = write(home, TENANTS, *_documents())
    with serving(home, keys[COPIES]) as up:
        figures = asyncio.run(_all(up, keys, texts, plan, seed))
    return {"figures": figures, "claims": _claims(figures)}


def _documents() -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    """For each way two models. One has two engines with half of the cores each, since threads of engines that outnumber
    the cores wait for each other by turning; its governed way has two for each of its settings, of which two are idle
    once it has settled. The other is for callers who are alone: one engine with all cores, or one for each setting."""
    cores = os.cpu_count() or 1
    model = {"dialect": "llamacpp", "tier": "S", "context": CONTEXT, "slots": SLOTS}
    engines: dict[str, object] = {}
    models: dict[str, dict[str, object]] = {}
    for alone, count in ((False, 2), (True, 1)):
        plain = {"model": "bundled", "context": CONTEXT, "slots": SLOTS, "threads": max(1, cores // count)}

        def ends(way: str, engine: dict[str, object], alone: bool = alone, count: int = count) -> list[str]:
            names = [f"{_model(way, alone=alone)}-{number + 1}" for number in range(count)]
            engines.update(dict.fromkeys(names, engine))
            return [f"engine:{name}" for name in names]

        proposes = {**plain, "speculation": SPECULATION}
        setting = {"endpoint": ends("setting", proposes), "speculative": True}
        models |= {
            _model(OFF, alone=alone): {**model, "endpoint": ends(OFF, plain)},
            _model(ON, alone=alone): {**model, "endpoint": ends(ON, proposes)},
            _model(GOVERNED, alone=alone): {
                **model,
                "endpoint": ends(GOVERNED, plain),
                "settings": {"ngram": setting},
            },
        }
    return engines, models


def _model(way: str, *, alone: bool) -> str:
    return f"{way}-alone" if alone else way


async def _all(
    up: Serving, keys: dict[str, str], texts: dict[str, list[str]], plan: Plan, seed: int
) -> list[dict[str, Any]]:
    found = []
    callers = {
        one: Callers(up.port, (f"Authorization: Bearer {keys[one]}", f"trimtab-channel: {CHANNEL}")) for one in keys
    }
    before = 0
    for batch in plan.batches:
        for tenant in TENANTS:
            chosen = random.Random(f"{seed} {batch} {tenant}")  # the same texts for each way
            rounds = [
                [chosen.choice(texts[tenant]) for _ in range(max(plan.least, 3 * batch))] for _ in range(plan.rounds)
            ]
            learned = [chosen.choice(texts[tenant]) for _ in range(max(plan.learn, batch))]
            for way in WAYS:
                first = learned if way == GOVERNED else learned[:batch]
                await _ask(callers[tenant], way, first, batch)
                before += len(first)
            seen: dict[str, list[Timed]] = {way: [] for way in WAYS}
            for asked in rounds:
                for way in WAYS:
                    seen[way].append(await _timed(up, callers[tenant], way, asked, batch, before))
                    before += len(asked)
            for way in WAYS:
                found.append({"callers": batch, "tenant": tenant, "way": way, **_figures(way, seen[way])})
                print(found[-1], file=sys.stderr, flush=True)
    for one in callers.values():
        one.close()
    return found


class Timed(NamedTuple):
    """One round of one way: how long it took, and its records."""

    took_s: float
    rows: Sequence[Record]


async def _timed(up: Serving, callers: Callers, way: str, texts: Sequence[str], batch: int, before: int) -> Timed:
    """`before`: so many requests were there before."""
    began = time.monotonic()
    await _ask(callers, way, texts, batch)
    took_s = time.monotonic() - began
    rows = (await _rows(up, before + len(texts)))[before:]
    if any(one.status != 200 for one in rows):
        raise CannotRunError(f"a request was not answered: {next(one.code for one in rows if one.status != 200)}")
    return Timed(took_s, rows)


def _figures(way: str, seen: Sequence[Timed]) -> dict[str, Any]:
    rows = [row for one in seen for row in one.rows]
    written, wasted = sum(one.tokens.completion or 0 for one in rows), sum(_wasted(one) for one in rows)
    return {
        "tokens/s": round(written / sum(one.took_s for one in seen), 1),
        "proposed in vain for each token": round(wasted / written, 2) if way != ON else None,
        "on the setting": round(sum(_on(one) for one in rows) / len(rows), 2) if way == GOVERNED else None,
    }


async def _rows(up: Serving, count: int) -> list[Record]:
    """Of all so many requests, as they ended: an answer's row is written after its end."""
    rows: list[Record] = []
    for _ in range(50):
        if admin.exchange(up.folder, "POST", "/records/flush")[0] != 200:
            break
        rows = [one for one in records.rows(up.folder / "var" / "records") if one.kind == "request"]
        if len(rows) == count:
            return rows
        await asyncio.sleep(0.1)
    raise CannotRunError(f"the gateway has {len(rows)} records of {count} requests")


def _on(row: Record) -> bool:
    return row.setting is not None and row.setting.by is not None


def _wasted(row: Record) -> int:
    found = row.setting
    return 0 if found is None or found.drafted is None else found.drafted - (found.accepted or 0)


async def _ask(callers: Callers, way: str, texts: Sequence[str], batch: int) -> None:
    model = _model(way, alone=batch == 1)

    def body(number: int) -> bytes:
        content = [{"role": "user", "content": texts[number]}]
        return msgspec.json.encode(
            {"model": f"{model}-plain", "messages": content, "stream": True, "max_tokens": TOKENS, "temperature": 0}
        )

    await closed_loop(batch, len(texts), lambda number: callers.ask(body(number)))


def _claims(figures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    pace = {(one["callers"], one["tenant"], one["way"]): one["tokens/s"] for one in figures}
    batches = sorted({one["callers"] for one in figures})
    low, claims = batches[0], []
    for tenant in TENANTS:
        for batch in batches:
            ours, off, on = (pace[batch, tenant, way] for way in (GOVERNED, OFF, ON))
            wanted = 2.0 if batch == low and tenant == COPIES else 1.0
            what = f"tokens/s of {tenant}, {batch} at once"
            claims.append(claim(f"{what}, beside off", ours, off, f">= {wanted} x", ours >= wanted * off))
            best = max(off, on)
            claims.append(claim(f"{what}, beside the better of both", ours, best, ">= 0.9 x", ours >= 0.9 * best))
    return claims


def _texts(given: dict[str, str]) -> dict[str, list[str]]:
    """What each tenant asks, from the sets. Raises AbsentError."""
    passages = [" ".join(str(one["content"]).split()[:WORDS]) for one in read("passages", SETS, given)]
    whole = [one for one in passages if len(one.split()) == WORDS]
    return {
        COPIES: [f"Repeat this text word for word:\n\n{one}" for one in whole],
        WRITES: [f"{one['text']}" for one in read("questions", SETS, given)],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = options(
        "speculative",
        "Speculative decoding: off, on, and governed.",
        quick="two batches, fewer answers",
        seed="texts",
        sets=SETS,
    )
    given = parser.parse_args(arguments)
    try:
        texts = _texts(dict(one.split("=", 1) for one in given.data))
        processes.end_on_signals()
        with tempfile.TemporaryDirectory(prefix="tt-speculative-") as folder:
            found = measure(Path(folder), texts, QUICK if given.quick else FULL, given.seed)
    except (AbsentError, CannotRunError) as error:
        print(f"speculative: {error}", file=sys.stderr)
        return 2
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

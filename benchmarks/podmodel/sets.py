"""The timings, and which of them are never looked at before the figures are made."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.sets import read as rows_of
from trimtab.foundations.podmodel import Sample

FILES = {
    "splitwise": "i_gpu/splitwise_perf_model.parquet",
    "silicon": "i_gpu/aiconfigurator_silicon_sample.parquet",
}
SAME = {"deepseek-ai/DeepSeek-V3": "deepseek-ai/DeepSeek-R1"}
"""The file calls some runs of R1 by the name of V3, of the same shapes: both must lie on one side of the split."""
HELD_OUT_MODEL = "bloom-176b"
"""Of splitwise."""
LARGEST_TP = 16
LARGEST_PROMPT_BATCH, LARGEST_BATCH = 4, 32
FEWEST = 6
"""Points without which a combination says nothing."""


class Point(NamedTuple):
    """A steady state: `concurrency` callers, each of whom sends the next request when the last has been answered."""

    prompt: int
    output: int
    concurrency: int
    ttft_ms: float
    tpot_ms: float


class Combination(NamedTuple):
    """One model on one machine in one way."""

    model: str
    system: str
    about: tuple[Any, ...]
    points: list[Point]
    """In order of concurrency, then of prompt and answer."""

    @property
    def held_out(self) -> bool:
        return hashlib.sha256(f"{self.model}|{self.system}".encode()).digest()[0] % 2 == 1


class Cells(NamedTuple):
    """Passes of one model on one machine: means of the repeats of a cell."""

    model: str
    parallel: int
    decode: list[Sample]
    prefill: list[Sample]


def read(name: str, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a set. Raises AbsentError."""
    return rows_of(name, FILES, given)


def splitwise(rows: list[dict[str, Any]]) -> list[Cells]:
    """Prompts of batches of more than 4 were taken in by several passes; at 64 the columns are of another regime."""
    decode: dict[Any, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    prefill: dict[Any, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        who = row["model"], row["tensor_parallel"]
        batch, prompt = row["batch_size"], row["prompt_size"]
        if batch <= LARGEST_BATCH:
            decode[who][batch, prompt, row["token_size"]].append(row["token_time"])
        if batch <= LARGEST_PROMPT_BATCH:
            prefill[who][batch, prompt].append(row["prompt_time"])
    return [
        Cells(
            *who,
            [
                Sample(ms=fmean(times), running=batch, held=batch * (prompt + output / 2))
                for (batch, prompt, output), times in sorted(decode[who].items())
            ],
            [
                Sample(ms=fmean(times), prompt=batch * prompt, attended=prompt / 2)
                for (batch, prompt), times in sorted(prefill[who].items())
            ],
        )
        for who in sorted(decode)
    ]


_ABOUT = (
    "backend",
    "backend_version",
    "precision",
    "tp_size",
    "pp_size",
    "attention_dp_size",
    "moe_tp_size",
    "moe_ep_size",
)


def silicon(rows: list[dict[str, Any]]) -> list[Combination]:
    """Prefill and decode on the same machines, at most 16 of them; what several dumps repeat counts once."""
    found: dict[Any, set[Point]] = defaultdict(set)
    for row in rows:
        if row["mode"] != "agg" or (row["tp_size"] or 1) * (row["pp_size"] or 1) > LARGEST_TP:
            continue
        times = row["silicon_ttft_ms"], row["silicon_tpot_ms"]
        if not row["concurrency"] or not all(value and value > 0 for value in times):
            continue
        model = SAME.get(row["model_path"], row["model_path"])
        about = tuple(row[name] for name in _ABOUT)
        found[model, row["system"], about].add(Point(row["isl"], row["osl"], int(row["concurrency"]), *times))
    return [
        Combination(*key, sorted(points, key=lambda one: (one.concurrency, one)))
        for key, points in sorted(found.items(), key=str)
        if len(points) >= FEWEST
    ]

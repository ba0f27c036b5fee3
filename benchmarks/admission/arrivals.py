"""Who comes when, with what: requests of three traces and of a burst, made faster until they ask for a multiple of what
the pods can do.

A trace is a random part of the requests of the whole, in order, so that hours and clumps stay; all times between them
are then multiplied by one number.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.sets import read
from trimtab.core.contract import Latency

SETS = {
    "azure_llm_2023_conv": "a_traffic/azure_llm_2023_conv.parquet",
    "mooncake_conversation": "a_traffic/mooncake_conversation.parquet",
    "servegen_m_small": "a_traffic/servegen_m_small_clients.parquet",
    "servegen_m_small_lengths": "a_traffic/servegen_m_small_lengths.parquet",
}
PERCENTILE = 0.99
BYTES, SPREAD = 4.0, 0.15
"""Of a token, on average, and the standard deviation of the logarithm of that among prompts: all that is known of a
prompt before an engine has counted it are its bytes."""
WINDOW_S = 600.0
"""Of ServeGen's rates."""
BURST = 10.0
"""As fast comes the middle third of the burst."""


def contracts(*targets: tuple[float, float, float]) -> tuple[Latency, ...]:
    """Of (first token, p95 between tokens, end), in ms; a request is ended at three times its end, as by default."""
    return tuple(
        Latency(ttft_ms=ttft, itl_ms=itl, e2e_ms=e2e, percentile=PERCENTILE, deadline_ms=3 * e2e)
        for ttft, itl, e2e in targets
    )


CHAT = contracts((4_000, 250, 60_000), (2_500, 200, 40_000), (15_000, 400, 120_000))
LONG = contracts((30_000, 400, 90_000), (20_000, 350, 60_000), (60_000, 600, 180_000))


Lengths = dict[str, tuple[list[float], list[float]]]
"""By field: values and their weights."""


class Row(NamedTuple):
    """A request as its trace has it."""

    at_s: float
    client: str
    prompt: int
    output: int


class Request(NamedTuple):
    """One to come. `bound`: the bytes of its prompt."""

    at_s: float
    client: str
    prompt: int
    output: int
    bound: int
    contract: int
    """Its number among the setting's."""

    @property
    def channel(self) -> str:
        return f"contract {self.contract}"

    @property
    def guess(self) -> float:
        """Prompt tokens as its bytes tell them."""
        return self.bound / BYTES


class Setting(NamedTuple):
    """Where a trace is served, and what is promised to its requests in turn."""

    replicas: int
    sequences: int
    """At once on each."""
    contracts: tuple[Latency, ...]


class Trace(NamedTuple):
    """Some requests of a trace, on its own time."""

    name: str
    setting: Setting
    rows: Sequence[Row]


def azure(given: Mapping[str, str], _seed: int) -> list[Row]:
    rows = read("azure_llm_2023_conv", SETS, given)
    return [Row(row["arrival_s"], "azure", row["ContextTokens"], row["GeneratedTokens"]) for row in rows]


def mooncake(given: Mapping[str, str], _seed: int) -> list[Row]:
    rows = read("mooncake_conversation", SETS, given)
    return [Row(row["timestamp"] / 1000, "mooncake", row["input_length"], row["output_length"]) for row in rows]


def servegen(given: Mapping[str, str], seed: int) -> list[Row]:
    """A window of the clients whose lengths are known: gaps as each client's rate and variation draw them (gamma),
    lengths from its histograms of that window. Of all windows it is that with the most tokens of answers: that with the
    most requests has little but answers of one to five tokens."""
    chosen = random.Random(seed)
    lengths = _lengths(read("servegen_m_small_lengths", SETS, given))
    windows: defaultdict[float, list[dict[str, Any]]] = defaultdict(list)
    for row in read("servegen_m_small", SETS, given):
        if {"input_tokens", "output_tokens"} <= lengths.get((row["client"], row["window_start_s"]), {}).keys():
            windows[row["window_start_s"]].append(row)
    found = []
    for row in max(windows.values(), key=lambda rows: sum(_answers(row, lengths) for row in rows)):
        kinds = lengths[row["client"], row["window_start_s"]]
        if row["rate_rps"] <= 0:
            continue
        shape = 1 / max(row["cv"], 0.1) ** 2
        at = chosen.random() * chosen.gammavariate(shape, 1 / (shape * row["rate_rps"]))
        while at < WINDOW_S:
            prompt, output = (chosen.choices(*kinds[field])[0] for field in ("input_tokens", "output_tokens"))
            found.append(Row(at, f"client {row['client']}", int(prompt), int(output)))
            at += chosen.gammavariate(shape, 1 / (shape * row["rate_rps"]))
    return found


def _answers(row: Mapping[str, Any], lengths: Mapping[tuple[int, float], Lengths]) -> float:
    """A client's tokens of answers a second."""
    values, weights = lengths[row["client"], row["window_start_s"]]["output_tokens"]
    mean = sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
    return float(row["rate_rps"] * mean)


def _lengths(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, float], Lengths]:
    """By client and window. Arrays that were cut short in print ("...") are left out."""
    found: defaultdict[tuple[int, float], Lengths] = defaultdict(dict)
    for row in rows:
        if "..." not in row["values"] and "..." not in row["probs"]:
            values, weights = ([float(one) for one in row[name].strip("[]").split()] for name in ("values", "probs"))
            found[row["client"], row["window_start_s"]][row["field"]] = values, weights
    return found


def burst(given: Mapping[str, str], seed: int) -> list[Row]:
    """Azure's requests; the middle third of the time comes `BURST` times as fast."""
    rows = azure(given, seed)
    third = (rows[-1].at_s - rows[0].at_s) / 3
    gained = third * (1 - 1 / BURST)

    def moved(into: float) -> float:
        if into <= third:
            return into
        return third + (into - third) / BURST if into <= 2 * third else into - gained

    return [row._replace(at_s=moved(row.at_s - rows[0].at_s)) for row in rows]


TRACES: dict[str, tuple[Callable[[Mapping[str, str], int], list[Row]], Setting]] = {
    "azure_llm_2023_conv": (azure, Setting(2, 256, CHAT)),
    "mooncake_conversation": (mooncake, Setting(4, 32, LONG)),
    "servegen_m_small": (servegen, Setting(1, 256, CHAT)),
    "burst": (burst, Setting(2, 256, CHAT)),
}


def load(name: str, given: Mapping[str, str], count: int, seed: int) -> Trace:
    """`count` requests of a trace, or all if they are fewer. Raises AbsentError."""
    make, setting = TRACES[name]
    rows = sorted(make(given, seed))
    chosen = random.Random(seed)
    kept = sorted(chosen.sample(rows, min(count, len(rows))))
    return Trace(name, setting, [row._replace(prompt=max(1, row.prompt), output=max(1, row.output)) for row in kept])


def paced(trace: Trace, rate: float, seed: int) -> list[Request]:
    """The trace's requests at `rate` a second on average, from 0 on; contracts in turn."""
    chosen = random.Random(seed)
    first, last = trace.rows[0].at_s, trace.rows[-1].at_s
    pace = len(trace.rows) / rate / (last - first)
    return [
        Request(
            (row.at_s - first) * pace,
            row.client,
            row.prompt,
            row.output,
            max(1, round(row.prompt * BYTES * chosen.lognormvariate(0, SPREAD))),
            number % len(trace.setting.contracts),
        )
        for number, row in enumerate(trace.rows)
    ]

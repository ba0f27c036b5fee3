"""Who comes when, with what: the tenants of a trace, and one who floods."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.sets import read as rows_of

SETS = {"tenants": "a_traffic/vtc_lmsys_arena_multitenant.parquet"}
FLOOD = "flood"


class Request(NamedTuple):
    """One to come."""

    at_s: float
    tenant: str
    prompt: int
    output: int


def read(name: str, given: dict[str, str]) -> list[dict[str, Any]]:
    """A set's rows. Raises AbsentError."""
    return rows_of(name, SETS, given)


def trace(rows: Sequence[dict[str, Any]], seconds: float, rounds: int) -> list[Request]:
    """The trace's requests in so many rounds, each over `seconds`."""
    whole = max(row["req_time"] for row in rows) * (1 + 1 / len(rows))
    return [
        Request(
            (number + row["req_time"] / whole) * seconds,
            row["adapter_dir"],
            max(1, row["prompt_len"]),
            max(1, row["output_len"]),
        )
        for number in range(rounds)
        for row in rows
    ]


def flood(usual: Sequence[Request], times: float, seed: int) -> list[Request]:
    """One more tenant that asks at `times` a tenant's equal share of the rate, with lengths like everybody's."""
    chosen = random.Random(seed)
    until = usual[-1].at_s
    rate = times * len(usual) / until / (len({one.tenant for one in usual}) + 1)
    found, at = [], chosen.expovariate(rate)
    while at < until:
        like = chosen.choice(usual)
        found.append(Request(at, FLOOD, like.prompt, like.output))
        at += chosen.expovariate(rate)
    return found

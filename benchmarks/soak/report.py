"""The figures of a soak: aims, what each cycle left, as Markdown or JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead import report as overhead
from benchmarks.soak.watch import MIB, Held, Told, is_back
from benchmarks.tables import table
from trimtab.controlplane.records.journal import GROUP_BYTES, SEGMENT_BYTES

if TYPE_CHECKING:
    from benchmarks.soak.__main__ import Cycle
    from benchmarks.soak.load import Done

MEMORY = 1.05
FLAT = 1.10
"""Of the third cycle's p99 over the first's: a p99 of the same code differs by some percent from minute to minute."""
SLICES = 20
"""A cycle's p99 is the median of that of so many slices of its time: one stall of the machine does not make it."""
INPUT_NANO, OUTPUT_NANO = 20, 80
"""Nano-dollars a token, as in the workspace's prices."""
BILL = 0.005


class Result(NamedTuple):
    """All that was seen."""

    warm: Done
    base: Held
    cycles: Sequence[Cycle]
    ledger: Mapping[str, int]
    told: Told


class Claim(msgspec.Struct):
    """An aim and what came of it. `met`: None where it could not be judged, which counts as missed."""

    claim: str
    ours: float
    baseline: float | None
    ratio: float | None
    target: str
    met: bool | None


def p99_ms(cycle: Cycle) -> float:
    """See SLICES."""
    end = max(at for at, _ in cycle.latencies) + 1e-9
    slices: list[list[float]] = [[] for _ in range(SLICES)]
    for at, ms in cycle.latencies:
        slices[int(at / end * SLICES)].append(ms)
    return median(_quantile(one, 0.99) for one in slices if one)


def p50_ms(cycle: Cycle) -> float:
    return median(ms for _, ms in cycle.latencies)


def _quantile(values: list[float], q: float) -> float:
    return sorted(values)[int((len(values) - 1) * q)]


def claims(result: Result) -> list[Claim]:
    """What is aimed at; see the README."""
    first, last, told = result.cycles[0], result.cycles[-1], result.told
    everyone = [result.warm, *(cycle.done for cycle in result.cycles)]
    arrived = sum(done.sent - done.refused for done in everyone)
    held = [cycle.after for cycle in result.cycles]
    rss = last.after.rss_mib / first.after.rss_mib
    p99s = [p99_ms(cycle) for cycle in result.cycles]
    whole = sum(done.prompt * INPUT_NANO + done.completion * OUTPUT_NANO for done in everyone)
    told_whole = told.prompt * INPUT_NANO + told.completion * OUTPUT_NANO
    billed = result.ledger["prompt"] * INPUT_NANO + result.ledger["completion"] * OUTPUT_NANO
    largest = told.largest_segment / MIB
    bound = (SEGMENT_BYTES + GROUP_BYTES) // MIB
    full = first.after.cache_evicted > 0
    return [
        Claim(
            "resident memory after the third cycle, against the first (MiB)",
            round(last.after.rss_mib, 1),
            round(first.after.rss_mib, 1),
            round(rss, 3),
            f"<= {MEMORY}",
            rss <= MEMORY if full or rss <= MEMORY else None,
        ),
        _back("tasks", held, result.base),
        _back("fds", held, result.base),
        _back("threads", held, result.base),
        Claim(
            "p99 of plain requests in the third cycle, against the first (ms)",
            round(p99s[-1], 1),
            round(p99s[0], 1),
            round(p99s[-1] / p99s[0], 3),
            f"<= {FLAT}",
            p99s[-1] / p99s[0] <= FLAT,
        ),
        _equal("tickets, waiting requests and nano-dollars still held while idle", _held_back(held), 0),
        _equal("records, against requests that came", told.rows, arrived),
        _equal("records that were lost", last.after.records_lost, 0),
        _equal(
            "nano-dollars in the records, against the budget's settled",
            told.settled_nanousd,
            last.after.settled_nanousd,
        ),
        _equal("nano-dollars of whole answers in the records, against what callers were told", told_whole, whole),
        Claim(
            "nano-dollars settled in all, against what the model's server produced",
            told.settled_nanousd,
            billed,
            round(told.settled_nanousd / billed, 5),
            f"within {100 * BILL:g} %",
            abs(told.settled_nanousd / billed - 1) <= BILL,
        ),
        Claim(
            "largest record segment (MiB)",
            round(largest, 1),
            bound,
            round(largest / bound, 3),
            "<= 1",
            largest <= bound,
        ),
    ]


def _back(name: str, held: Sequence[Held], base: Held) -> Claim:
    most, before = max(getattr(one, name) for one in held), getattr(base, name)
    words = {"fds": "open descriptors, sockets among them"}.get(name, name)
    return Claim(f"{words}: the most after a cycle, against before", most, before, None, "<= baseline", most <= before)


def _equal(text: str, ours: int, other: int) -> Claim:
    return Claim(text, ours, other, None, "equal", ours == other)


def _held_back(held: Sequence[Held]) -> int:
    return sum(one.tickets + one.waiting + one.reserved_nanousd for one in held)


def rows(result: Result) -> list[dict[str, Any]]:
    """The baseline and each cycle."""
    found = [_row("before", result.base)]
    for number, cycle in enumerate(result.cycles, 1):
        done = cycle.done
        found.append(
            _row(f"cycle {number}", cycle.after)
            | {
                "requests": done.sent,
                "requests/s": round(done.sent / done.secs),
                "p50 ms": round(p50_ms(cycle), 1),
                "p99 ms": round(p99_ms(cycle), 1),
            }
        )
    return found


def _row(name: str, held: Held) -> dict[str, Any]:
    return {
        "after": name,
        "requests": "",
        "requests/s": "",
        "p50 ms": "",
        "p99 ms": "",
        "RSS MiB": round(held.rss_mib, 1),
        "PSS MiB": round(held.pss_mib, 1),
        "tasks": held.tasks,
        "fds": held.fds,
        "sockets": held.sockets,
        "threads": held.threads,
        "of it cache MiB": round(held.cache_mib, 1),
        "evicted": held.cache_evicted,
        "idle s": held.waited_s,
    }


def notes(result: Result) -> list[str]:
    """What was sent, what came of it, and what it took on the disk."""
    kinds, outcomes = _sums(result, "kinds"), _sums(result, "outcomes")
    told = result.told
    filling = "the cache had not reached its bound after the first cycle: its growth is in the memory"
    return [
        "sent: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()),
        "came to: " + ", ".join(f"{name} {count:,}" for name, count in outcomes.items()),
        f"records: {told.bytes / MIB:,.0f} MiB, {told.bytes / max(1, told.rows):,.0f} bytes each",
        *([] if result.cycles[0].after.cache_evicted else [filling]),
    ]


def _sums(result: Result, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for done in (result.warm, *(cycle.done for cycle in result.cycles)):
        for key, count in getattr(done, name).items():
            found[key] = found.get(key, 0) + count
    return dict(sorted(found.items()))


def as_json(result: Result, requests: int) -> str:
    """One object: date, machine, requests, claims, rows, notes."""
    whole = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": overhead.machine(processes.cores()),
        "requests": requests,
        "claims": claims(result),
        "rows": rows(result),
        "notes": notes(result),
    }
    return msgspec.json.encode(whole).decode()


def as_markdown(result: Result, requests: int) -> str:
    """Date, machine, both tables, notes."""
    about = overhead.machine(processes.cores())
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {about['cpu']}, {about['cores']} cores, {about['memory_mib']} MiB, "
        f"Linux {about['kernel']}, Python {platform.python_version()}; {requests:,} requests."
    )
    found = [msgspec.structs.asdict(claim) for claim in claims(result)]
    return "\n\n".join([head, table(found), table(rows(result)), "\n".join(f"- {note}" for note in notes(result))])


__all__ = ["Claim", "Result", "as_json", "as_markdown", "claims", "is_back", "rows"]

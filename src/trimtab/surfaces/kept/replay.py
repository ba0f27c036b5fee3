"""The records read into an empty store: what comes of it must be what was kept.

- the journal: each row, read and written anew, is the same to the byte;
- budgets: what rows say was spent in the running periods is what the gateway, the shared store or `var/money` says;
- objectives: the engine's state after the same rows is the one in `var/slo/state.json`, to the byte.

Where one differs, either rows are missing (lost, retired, of another gateway) or a room keeps what records don't say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from trimtab.controlplane import records
from trimtab.controlplane.records import line
from trimtab.controlplane.records.segment import raw_lines
from trimtab.controlplane.registry import Workspace, load
from trimtab.controlplane.slo import Engine, objectives
from trimtab.core.clock import Clock
from trimtab.core.record import Record
from trimtab.dataplane.spend import BudgetRow, Budgets, MemoryStore
from trimtab.foundations.store.line import unframe
from trimtab.surfaces import slo_state
from trimtab.surfaces.budgets import Source, book_rows, budgets, spent_rows
from trimtab.surfaces.kept.contents import RECORDS

_decode = msgspec.json.Decoder(Record).decode


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in its running period. `kept_nanousd`: what was said to be settled."""

    budget: str
    period: str
    window: str
    replayed_nanousd: int
    kept_nanousd: int


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """States, as digests. `why`: they were not compared because."""

    replayed: str | None = None
    kept: str | None = None
    why: str | None = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """`rewritten`: rows that are not the same when written anew, the first few by segment and line. `source`: who said
    what was kept of budgets."""

    rows: int
    rewritten: list[str]
    balances: list[Balance]
    source: Source
    objectives: Objectives

    @property
    def same(self) -> bool:
        spent = all(one.replayed_nanousd == one.kept_nanousd for one in self.balances)
        return not self.rewritten and spent and self.objectives.replayed == self.objectives.kept


def replay(workspace: Path, clock: Clock) -> Replayed:
    """Raises ConfigError, StoreLostError, CorruptSegment for damaged records, TrimtabError for a state of objectives
    that can't be read, OSError."""
    loaded, folder = load(workspace, clock), workspace / RECORDS
    kept, source = budgets(workspace)
    replayed = {(one.name, one.period, one.tz, one.window): one for one in spent(loaded, folder, clock)}
    rows, rewritten = written_anew(folder)
    return Replayed(
        rows=rows,
        rewritten=rewritten,
        balances=[
            Balance(
                budget=one.name,
                period=one.period,
                window=one.window,
                replayed_nanousd=there.settled_nanousd,
                kept_nanousd=one.settled_nanousd,
            )
            for one in kept
            if (there := replayed.get((one.name, one.period, one.tz, one.window))) is not None
        ],
        source=source,
        objectives=_objectives(loaded, folder, clock),
    )


def spent(loaded: Workspace, folder: Path, clock: Clock) -> list[BudgetRow]:
    """Every declared budget with what the rows of its running period say, and nothing else."""
    tenancy, store = loaded.snapshot.tenancy, MemoryStore(clock)
    state = Budgets(clock, store)
    since_ns = min((one.window.start_ns for one in state.places(tenancy)), default=clock.wall_ns())
    book_rows(state, store, tenancy, spent_rows(folder, since_ns, {}), lambda place, row: True)
    return asyncio.run(state.rows(tenancy))


def counted(wanted: Engine, folder: Path) -> Engine:
    """An engine of the same objectives that has read the rows that `wanted` has, and no other."""
    engine = Engine(wanted.objectives)
    for row in records.rows(folder):
        if (row.seq or 0) <= wanted.after.get(row.worker or 0, 0):
            engine.observe(row)
    return engine


def written_anew(folder: Path, most: int = 5) -> tuple[int, list[str]]:
    """How many rows there are, and which are not what they were when decoded and encoded again; `most` are named."""
    count, found = 0, list[str]()
    for name, number, raw in _lines(folder):
        body = unframe(raw)
        if body is None:
            continue
        count += 1
        row = _decode(body)
        if line.encode(row, row.prev or "") != raw and len(found) < most:
            found.append(f"{name} line {number}")
    return count, found


def state_digest(engine: Engine) -> str:
    return blake2b(state_bytes(engine), digest_size=8).hexdigest()


def state_bytes(engine: Engine) -> bytes:
    """All that an engine keeps, in an order of its own: equal states are equal bytes."""
    return msgspec.json.encode(engine.state())


def _objectives(loaded: Workspace, folder: Path, clock: Clock) -> Objectives:
    wanted = objectives(loaded.snapshot.tenancy, loaded.slo)
    try:
        saved = slo_state.decode((loaded.folder / slo_state.FILE).read_bytes())
    except FileNotFoundError:
        return Objectives(why="nobody has watched them yet")
    try:
        kept = Engine.from_state(wanted, saved.engine)
    except ValueError:
        return Objectives(why="they were declared otherwise when they were counted last")
    again, now_ns = counted(kept, folder), clock.wall_ns()
    for engine in (kept, again):  # what is too old for both goes from both
        engine.trim(now_ns)
    return Objectives(replayed=state_digest(again), kept=state_digest(kept))


def _lines(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    for segment in records.segments(folder):
        for raw in raw_lines(segment.path):
            if raw.whole:
                yield segment.path.name, raw.number, raw.data


__all__ = [
    "Balance",
    "Objectives",
    "Replayed",
    "counted",
    "replay",
    "spent",
    "state_bytes",
    "state_digest",
    "written_anew",
]

"""The shared store: whether it answers, what it is, and whether counters are safe in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.controlplane.registry import Storage
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError
from trimtab.dataplane.spend import StoreLostError
from trimtab.surfaces.connect import connect
from trimtab.surfaces.doctor.finding import Finding, error, good, warning
from trimtab.surfaces.stores import durability, problems

if TYPE_CHECKING:
    from trimtab.dataplane.spend.adapters.valkey import StoreFacts

_WHAT = "shared store"


def store(storage: Storage, folder: Path, clock: Clock) -> Iterator[Finding]:
    """What it says when it is asked now."""
    try:
        facts = asyncio.run(_facts(storage, folder, clock))
    except (ConfigError, StoreLostError) as problem:
        cause = "Whoever has a limit or a budget gets 503 store_lost until it answers."
        fix = "Start it, or correct storage in trimtab.yaml."
        yield error(_WHAT, f"does not answer: {problem}", cause, fix)
        return
    yield from findings(facts)


def findings(facts: StoreFacts) -> Iterator[Finding]:
    """What is to be said of a server that answers."""
    said = f"answers: {durability(facts)}; maxmemory-policy {facts.policy}"
    for problem in problems(facts):
        cause = "A counter that is dropped makes its budget whole again: it is spent twice."
        yield error(_WHAT, f"{said}. {problem}", cause, "CONFIG SET maxmemory-policy noeviction, and in its file.")
        return
    if not facts.appendonly:
        cause = "After a restart of it every budget is whole again, and what was spent before is spent twice."
        yield warning(_WHAT, said, cause, "CONFIG SET appendonly yes, and in its file.")
    elif facts.appendfsync == "no":
        cause = "A crash of its machine takes the last half minute of what was spent."
        yield warning(_WHAT, said, cause, "CONFIG SET appendfsync everysec (a second), or always (nothing).")
    else:
        yield good(_WHAT, said)


async def _facts(storage: Storage, folder: Path, clock: Clock) -> StoreFacts:
    asked = connect(storage, folder, clock)
    try:
        return await asked.facts()
    finally:
        await asked.close()


__all__ = ["findings", "store"]

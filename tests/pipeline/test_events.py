"""Event mode as a caller and the record see it: who is raised, when, and by what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from click.testing import CliRunner

from support.gateway import OTHER_KEY, Edit, Gateway, chat
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream
from trimtab.cli import cli
from trimtab.controlplane.records import Journal
from trimtab.core.clock import SystemClock
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

BEGINS_S, LASTS_S = 60, 120
SALE = """
- {name: sale, from: 2027-01-15T08:01:00Z, to: 2027-01-15T09:03:00+01:00, raise: {web: critical}}
"""
"""From a minute after the virtual clock's beginning, for two minutes; the shop's channels declare `interactive`."""
OVERLAPPING = """
- {name: desk, from: 2027-01-15T08:00:00Z, raise: {other/desk: interactive}}
- {name: all, from: 2027-01-15T08:00:00Z, raise: {desk: critical, web: standard}}
- {name: again, from: 2027-01-15T08:00:00Z, raise: {shop/web: batch, other/desk: critical}}
- {name: past, from: 2027-01-14T08:00:00Z, to: 2027-01-15T08:00:00Z, raise: {web: critical, gone: critical}}
"""


def declared(events: str) -> Edit:
    def edit(documents: dict[str, str]) -> None:
        documents["events.yaml"] = events

    return edit


def during(folder: Path, events: str, main: Callable[[Gateway], Awaitable[None]]) -> list[Record]:
    """The records of what `main` asks a gateway with these events."""

    async def run() -> list[Record]:
        async with ScriptedUpstream() as up, Gateway(folder, up.url, None, declared(events)) as gateway:
            await main(gateway)
            return gateway.records

    found: list[Record] = run_virtual(run)
    return found


def bound(record: Record) -> tuple[str | None, list[str]]:
    return record.contract.priority if record.contract else None, record.events


def test_a_class_is_raised_while_the_event_runs_and_not_before_or_after(tmp_path: Path) -> None:
    """By the wall clock at arrival, first and last instant included as declared; the contract has another hash, and the
    same one as ever once the event is over."""

    async def main(gateway: Gateway) -> None:
        for wait_s in (BEGINS_S / 2, BEGINS_S / 2, LASTS_S - 10, 11):
            await asyncio.sleep(wait_s)
            await gateway.ask("Hello")

    before, first, last, after = during(tmp_path, SALE, main)
    assert [bound(record) for record in (before, first, last, after)] == [
        ("interactive", []),
        ("critical", ["sale"]),
        ("critical", ["sale"]),
        ("interactive", []),
    ]
    hashes = [record.contract.hash for record in (before, first, last, after) if record.contract]
    assert hashes[0] == hashes[3] != hashes[1] == hashes[2]


def test_a_caller_may_still_lower_its_class(tmp_path: Path) -> None:
    """What is asked holds where it is lower; the event is named only where the class is higher than declared."""

    async def main(gateway: Gateway) -> None:
        await asyncio.sleep(BEGINS_S)
        for asked in ("batch", "interactive", "critical"):
            await gateway.ask("Hello", f"trimtab-priority: {asked}")

    assert [bound(record) for record in during(tmp_path, SALE, main)] == [
        ("batch", []),
        ("interactive", []),
        ("critical", ["sale"]),
    ]


def test_the_highest_of_overlapping_events_counts_and_none_lowers(tmp_path: Path) -> None:
    """A channel by its own name and with its tenant's; events that name a class no higher than the declared one do
    nothing, and one that is over may name a channel that is gone."""

    async def main(gateway: Gateway) -> None:
        await gateway.ask("Hello")
        async with RawClient(gateway.port) as client:
            client.send(chat("Hello", key=OTHER_KEY))
            await client.answer()

    assert [bound(record) for record in during(tmp_path, OVERLAPPING, main)] == [
        ("interactive", []),
        ("critical", ["again", "all"]),
    ]


def test_explain_names_the_event(tmp_path: Path) -> None:
    """Beside the bound class, for people and for machines; a record without one says nothing of events."""

    async def main(gateway: Gateway) -> None:
        await gateway.ask("Hello")
        await asyncio.sleep(BEGINS_S)
        await gateway.ask("Hello")

    plain, raised = during(tmp_path, SALE, main)
    journal = Journal(tmp_path / "var" / "records", 0, SystemClock())
    for record in (plain, raised):
        journal.write(record)
    journal.close()

    def explained(record: Record, *options: str) -> str:
        done = CliRunner().invoke(cli, ["explain", record.id, "--workspace", str(tmp_path), *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "critical, raised by sale" in explained(raised)
    assert '"raised_by":["sale"]' in explained(raised, "--json")
    assert "raised" not in explained(plain)

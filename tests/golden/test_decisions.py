"""Recorded requests are decided anew on every commit: the same, or as files/decisions.txt lists.

`RECORD_GOLDEN=1` records them anew (rarely: they stand for what older versions have written), `UPDATE_GOLDEN=1` accepts
what is decided otherwise today.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from support.gateway import Edit, Gateway, chat, replaced, write_workspace
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream
from trimtab.controlplane.registry import load
from trimtab.core.record import Record
from trimtab.dataplane.snapshot import Snapshot
from trimtab.surfaces.kept.decisions import Decisions, decide_anew
from trimtab.surfaces.twin import run_virtual

FILES = Path(__file__).parent / "files"
RECORDED, DECIDED = FILES / "requests.jsonl", FILES / "decisions.txt"
SAID = (
    "What is a trim tab?",
    "Was ist eine Trimmklappe, und wie wirkt sie auf das Ruder?",
    "My card was charged twice, I want my money back and will call my lawyer.",
    "Write a Python function that merges two sorted lists, prove that it is right, and compare three variants.",
    "I feel terrible and don't want to live any more.",
    "Summarise: " + "the ship sails on the sea. " * 200,
)
WAYS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    ((), {}),
    (("trimtab-latency-ms: 800",), {"stream": True}),
    (("trimtab-max-cost-usd: 0.0004",), {}),
    (("trimtab-channel: fresh",), {"temperature": 0.7}),
    (("trimtab-persona: vip",), {"max_tokens": 64}),
    ((), {"model": "tier:M"}),
    ((), {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]}),
)


def record(folder: Path) -> list[Record]:
    async def main() -> list[Record]:
        async with ScriptedUpstream() as up, Gateway(folder, up.url, up.url) as gateway:
            for said in SAID:
                for headers, fields in WAYS:
                    async with RawClient(gateway.port) as client:
                        client.send(chat(said, *headers, **fields))
                        await client.answer()
            return list(gateway.records)

    return run_virtual(main)


def recorded() -> list[Record]:
    return [msgspec.json.decode(line, type=Record) for line in RECORDED.read_bytes().splitlines()]


def today(folder: Path, *edits: Edit) -> Snapshot:
    return load(write_workspace(folder, "http://127.0.0.1:1", "http://127.0.0.1:1", *edits)).snapshot


def told(found: Decisions) -> str:
    lines = [f"{one.record} {one.what}" for one in found.differences]
    lines += [f"untold {count} x: {why}" for why, count in sorted(found.untold.items())]
    return "\n".join([f"{found.requests} requests", *lines, ""])


def test_recorded_requests_are_decided_as_they_were(tmp_path: Path) -> None:
    """By the policy, the catalogue and the code of today."""
    if os.environ.get("RECORD_GOLDEN"):
        RECORDED.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in record(tmp_path / "made")))
    now = told(decide_anew(recorded(), today(tmp_path / "now")))
    if os.environ.get("UPDATE_GOLDEN"):
        DECIDED.write_text(now)
    assert now == DECIDED.read_text(), "decisions of recorded requests differ; UPDATE_GOLDEN=1 accepts it"


def test_the_same_requests_asked_again_leave_rows_that_are_decided_the_same(tmp_path: Path) -> None:
    """Texts and all, through the whole gateway: rules, plans and path of each row are those that were recorded."""

    def decision(row: Record) -> object:
        plans = [(plan.variant, plan.estimate_nanousd, plan.outcome) for plan in row.plans]
        rules = [(rule.id, rule.hit) for rule in row.rules]
        return (row.path, row.code, rules, plans, row.features, row.contract)

    again = [msgspec.json.decode(msgspec.json.encode(one), type=Record) for one in record(tmp_path)]
    assert [decision(one) for one in again] == [decision(one) for one in recorded()]


def differing(folder: Path, *edits: Edit) -> set[str]:
    return {one.what for one in decide_anew(recorded(), today(folder, *edits)).differences}


def test_what_is_decided_otherwise_is_named(tmp_path: Path) -> None:
    """A rule that is new or gone; a variant that is gone or may not answer; a channel that is gone; another order."""
    rule = next(one for row in recorded() for one in row.rules if one.hit and one.at == "decide")

    def with_rule(documents: dict[str, str]) -> None:
        documents["policy.yaml"] += "  - {id: mine, at: decide, when: 'stream', then: {forbid: [cache]}}\n"

    def renamed_rule(documents: dict[str, str]) -> None:
        documents["policy.yaml"] = documents["policy.yaml"].replace(f"id: {rule.id}", "id: another", 1)

    assert differing(tmp_path / "1", with_rule) == {"rule mine is new, and hits"}
    gone = differing(tmp_path / "2", renamed_rule)
    assert f"rule {rule.id} hit, and is gone" in gone
    assert "rule another is new, and hits" in gone

    def with_count(documents: dict[str, str]) -> None:
        documents["policy.yaml"] += "  - {id: many, at: decide, when: 'n > 999', then: {forbid: [cache]}}\n"

    unknown = decide_anew(recorded(), today(tmp_path / "8", with_count))
    assert unknown.differences == []
    assert unknown.untold == {"what is allowed rests on n": unknown.requests}
    others = recorded()
    for row in others:
        row.rules = [msgspec.structs.replace(one, hit=not one.hit) if one.id == rule.id else one for one in row.rules]
    flipped = decide_anew(others, today(tmp_path / "9")).differences
    assert f"rule {rule.id} did not hit, and now hit" in {one.what for one in flipped}
    slow = replaced("tenants/shop.yaml", "e2e_ms: 4000", "e2e_ms: 9000")
    assert differing(tmp_path / "3", slow) == set(), "a contract is what it was"
    fewer = replaced("tenants/shop.yaml", "tiers: [S, M]", "tiers: [S]")
    unpinned = replaced("tenants/shop.yaml", '"tier:S", "tier:M", medium-plain', '"tier:S"')
    tiers = differing(tmp_path / "4", fewer, unpinned)
    assert "variant medium-plain might answer, and now was out (tier not allowed)" in tiers
    named = replaced("models.yaml", "small-plain:", "small-other:")
    assert "variant small-plain is gone" in differing(tmp_path / "5", named)
    closed = replaced("tenants/shop.yaml", "  fresh:\n", "  stale:\n")
    assert "the channel shop/fresh is gone" in differing(tmp_path / "6", closed)

    def preferring(documents: dict[str, str]) -> None:
        documents["policy.yaml"] += "  - {id: dear, at: decide, when: 'true', then: {prefer: ['tier:M']}}\n"

    order = differing(tmp_path / "7", preferring)
    assert any(what.startswith("plans were small-plain, medium-plain, and now are medium-plain") for what in order), (
        order
    )

"""What figures of a machine say of the declared latencies; tests/serve measures a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.live import trimtab
from trimtab.controlplane.registry import load
from trimtab.core.clock import SystemClock
from trimtab.foundations.podmodel import Pod
from trimtab.surfaces.doctor.measured import Decode, EngineFigures, Fitted, Measured, PlaneFigures, Prefill
from trimtab.surfaces.doctor.verdict import Usual, capacities, verdicts

FITTED = Fitted(
    pod=Pod(base_ms=10, sequence_ms=1, held_ms=0, prefill_ms=0, prompt_ms=1, attend_ms=0),
    passes=0,
    enough=False,
    held_out=[],
)


def figures(prompt_per_s: float, answer_per_s: float) -> Measured:
    prefill = Prefill(tokens=100, cached=0, first_token_ms=1e5 / prompt_per_s, read_ms=1e5 / prompt_per_s)
    decodes = [
        Decode(streams=1, tokens_per_s=answer_per_s, total_tokens_per_s=answer_per_s),
        Decode(streams=4, tokens_per_s=answer_per_s / 2, total_tokens_per_s=answer_per_s * 2),
    ]
    engine = EngineFigures(
        engine="small", model="bundled", threads=1, prefills=[prefill], decodes=decodes, passes=[], fitted=FITTED
    )
    plane = PlaneFigures(channel="commerce/checkout-bot", path="rag", requests=9, cpu_ms=10.0)
    return Measured(
        cores=2,
        gateway_runs=False,
        engines=[engine],
        embed_ms=5.0,
        embed_p95_ms=6.0,
        planes=[plane],
        journal=None,
        took_s=1.0,
        notes=[],
    )


def test_figures_become_targets_and_capacity(tmp_path: Path) -> None:
    """A prompt of 150 at 1,000 a second and 40 tokens at 100 a second: 160 ms to the first, 550 to the end; two such
    answers share 200 tokens a second."""
    trimtab("init", str(tmp_path / "w"))
    workspace = load(tmp_path / "w", SystemClock())
    fast = {
        (one.tier, one.term): one
        for one in verdicts(workspace, figures(1000, 100), {})
        if one.channel == "commerce/checkout-bot"
    }
    assert {tier for tier, _ in fast} == {"S"}
    assert fast["S", "ttft_ms"].reached_ms == pytest.approx(160)
    assert fast["S", "itl_ms"].reached_ms == pytest.approx(10)
    assert fast["S", "e2e_ms"].reached_ms == pytest.approx(550)
    assert all(one.reachable for one in fast.values())
    [capacity] = capacities(workspace, figures(1000, 100), Usual())
    assert capacity.requests_per_s == pytest.approx(1 / (0.15 + 0.2))
    slow = verdicts(workspace, figures(10, 1), {"commerce/checkout-bot": Usual(prompt=1000, answer=2, rows=50)})
    assert not any(one.reachable for one in slow if one.term != "itl_ms")
    whole = next(one for one in slow if one.channel == "commerce/checkout-bot" and one.term == "e2e_ms")
    assert whole.reached_ms == pytest.approx(10 + 100_000 + 1000)

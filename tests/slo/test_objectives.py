"""Objectives: what the example declares, what slo.yaml adds, changes and switches off, and what `check` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.workspaces import Sandbox
from trimtab.controlplane.registry import load
from trimtab.controlplane.slo import Objective, objectives

SLO = "slo.yaml"


def derived(sandbox: Sandbox) -> dict[str, Objective]:
    workspace = load(sandbox.folder)
    return {one.id: one for one in objectives(workspace.snapshot.tenancy, workspace.slo)}


def test_what_is_declared_is_an_objective(tmp_path: Path) -> None:
    """Latency at its percentile, availability and quality where they are promised, budgets of channel and tenant."""
    sandbox = Sandbox(tmp_path).replace(
        "tenants/commerce.yaml", "      quality: {min: 0}", "      availability: 0.9995\n      quality: {min: 0}"
    )
    found = derived(sandbox)
    assert {id for id in found if id.startswith("commerce/")} == {
        "commerce/spend/day", "commerce/spend/month", "commerce/checkout-bot/latency",
        "commerce/checkout-bot/availability", "commerce/checkout-bot/spend/day",
    }  # fmt: skip
    latency, month = found["commerce/checkout-bot/latency"], found["commerce/spend/month"]
    assert (latency.target, str(latency.window), latency.needs) == (0.95, "30d", 20)
    assert found["commerce/checkout-bot/availability"].needs == 2000
    assert (month.usd_nano, month.window.tz, month.freeze_below) == (400 * 10**9, "Europe/Berlin", None)
    assert all(one.declared for one in found.values())


def test_slo_yaml_changes_what_it_names(tmp_path: Path) -> None:
    """An entry keeps what it does not say, the last that matches counts, and `off` takes away."""
    sandbox = Sandbox(tmp_path).write(
        SLO,
        """\
objectives:
  - {channels: ["*"], objective: latency, window: 7d}
  - {channels: [commerce/checkout-*], objective: latency, target: 0.99, e2e_ms: 1500, freeze_below: 0.1}
  - {channels: [hr/assistant], objective: latency, off: true}
  - {channels: [support/chat], objective: guard, target: 0.98, route: /v1/messages}
  - {channels: [support/chat], objective: spend, usd: "2.5", window: month, tz: Asia/Kolkata}
""",
    )
    found = derived(sandbox)
    shop, guard = found["commerce/checkout-bot/latency"], found["support/chat/guard@/v1/messages"]
    assert (shop.target, str(shop.window), shop.e2e_ms, shop.freeze_below) == (0.99, "7d", 1500, 0.1)
    assert (found["support/chat/latency"].target, str(found["support/chat/latency"].window)) == (0.95, "7d")
    assert "hr/assistant/latency" not in found
    assert (guard.target, guard.route, guard.declared) == (0.98, "/v1/messages", False)
    assert found["support/chat/spend/month"].usd_nano == 2_500_000_000


def test_a_route_with_its_own_percentile_has_its_own_objective(tmp_path: Path) -> None:
    """Beside the channel's."""
    sandbox = Sandbox(tmp_path).replace(
        "tenants/hr.yaml", "    cost:\n", "    routes: {/v1/messages: {latency: {percentile: 0.99}}}\n    cost:\n"
    )
    assert derived(sandbox)["hr/assistant/latency@/v1/messages"].target == 0.99


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("objectives: [{channels: [comerce/bot], objective: guard, target: 0.9}]", "channels[0]", "Did you mean"),
        ("objectives: [{channels: ['x*'], objective: guard, target: 0.9}]", "channels[0]", "no channel is like"),
        ("objectives: [{channels: ['*'], objective: guard}]", "target", "is missing: commerce/checkout-bot declares"),
        ("objectives: [{channels: ['*'], objective: spend}]", "usd", "is missing"),
        ("objectives: [{channels: ['*'], objective: spend, usd: '1', target: 0.9}]", "target", "means nothing for sp"),
        ("objectives: [{channels: ['*'], objective: guard, target: 0.9, e2e_ms: 9}]", "e2e_ms", "means nothing"),
        ("objectives: [{channels: ['*'], objective: latency, window: 91d}]", "window", "more than 90 days"),
        ("objectives: [{channels: ['*'], objective: latency, window: 2w}]", "window", "days that roll"),
        ("objectives: [{channels: ['*'], objective: latency, tz: UTC}]", "tz", "a window that rolls"),
        ("objectives: [{channels: ['*'], objective: latency, window: day, tz: Mars}]", "tz", "no time zone 'Mars'"),
        ("objectives: [{channels: ['*'], objective: latncy}]", "objective", "did you mean latency?"),
        ("receivers: {a: {kind: slack}}", "url", "is missing"),
        ("receivers: {a: {kind: slack, url: 'ftp://h'}}", "url", "is no address for slack"),
        ("receivers: {a: {kind: pagerduty, key: abc}}", "key", "holds a secret itself"),
        ("receivers: {a: {kind: pagerduty, key: 'env:TRIMTAB_NOT_SET'}}", "key", "is not set"),
        ("receivers: {a: {kind: email, url: 'smtp://h', sender: a@b}}", "to", "is missing"),
    ],
)
def test_check_finds_what_is_wrong(tmp_path: Path, text: str, field: str, words: str) -> None:
    """With the field and what helps."""
    found = [str(problem) for problem in Sandbox(tmp_path).write(SLO, text + "\n").problems()]
    assert any(f"{field}: " in one and words in one for one in found), found

"""A workspace in front of the faulty provider: each fault is a model, with a stand-in and without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.faults.provider import FAULTS, TALKS
from benchmarks.gateway_overhead.workspace import call

TENANT = "faults"
CHANNELS = ("continue", "hold", "error")
"""By what their contract says of a stream that breaks; the first is the key's own."""
ALONE = "-alone"


def fallback_of(name: str) -> str:
    return "fb-ok-noprefill" if name == "fb-s14" else "fb-ok"


def write(trimtab: str, folder: Path, provider: int, first_ms: float, itl_ms: float, eject_s: float) -> str:
    """Make the workspace in a new folder; its key. Raises CannotRunError."""
    call(trimtab, "init", str(folder))
    for unused in (*folder.glob("tenants/*.yaml"), *folder.glob("prompts/*.md")):
        unused.unlink()
    declared = models(f"http://127.0.0.1:{provider}/v1", eject_s)
    documents = {
        "trimtab.yaml": {"engines": {}, "demo": False},
        "models.yaml": declared,
        "prices.yaml": {name: {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"} for name in declared["models"]},
        f"tenants/{TENANT}.yaml": tenant(first_ms, itl_ms),
    }
    for name, value in documents.items():
        (folder / name).write_text(  # JSON is YAML
            json.dumps(value)
        )
    order = ["--tenant", TENANT, "--name", "load", "--channel", CHANNELS[0], "--test"]
    call(trimtab, "check", "--workspace", str(folder))
    key: str = json.loads(call(trimtab, "keys", "create", *order, "--workspace", str(folder), "--json"))["key"]
    return key


def models(url: str, eject_s: float, names: Mapping[str, Any] = FAULTS) -> dict[str, Any]:
    """Models `m-NAME`, whose variants are called as the provider calls them, so that answers name who wrote them."""
    found: dict[str, Any] = {}
    for name in names:
        own: dict[str, Any] = {
            "endpoint": url,
            "private": True,
            "tier": "L",
            "context": 100_000,
            "prefill": "noprefill" not in name,
        }
        own["health"] = {"eject_s": eject_s}
        found[f"m-{name}{ALONE}"] = {**own, "upstream_name": name + ALONE}
        stand_in = {} if name.startswith("fb-ok") else {"fallbacks": [f"m-{fallback_of(name)}"]}
        found[f"m-{name}"] = {**own, "upstream_name": name, **stand_in}
    found[f"m-{TALKS}"] = {"endpoint": url, "private": True, "tier": "L", "context": 100_000, "upstream_name": TALKS}
    return {
        "models": found,
        "variants": {name.removeprefix("m-"): {"model": name, "max_tokens": 400} for name in found},
        "aliases": {},
    }


def tenant(first_ms: float, itl_ms: float) -> dict[str, Any]:
    latency = {"ttft_ms": first_ms, "itl_ms": itl_ms, "e2e_ms": 60_000, "deadline_ms": 80_000}
    pins = [name.removeprefix("m-") for name in models("", 1)["models"]]
    channel = {
        "targets": {"latency": latency, "quality": {"min": 0}},
        "cost": {"max_per_request_usd": "1"},
        "tiers": ["L"],
        "pin": pins,
        "on_miss": "wait",
    }
    return {"id": TENANT, "name": "Faults", "channels": {name: {**channel, "resume": name} for name in CHANNELS}}

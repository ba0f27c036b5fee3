"""A workspace of embedded engines that no contract stands in the way of: for benchmarks of the engines themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.admission_live.workspace import HOUR_MS, TRIMTAB
from benchmarks.gateway_overhead.workspace import call

CHANNEL: Final = "talk"
_MUCH: Final = 1_000_000
_encode: Final = msgspec.json.encode


def write(
    folder: Path, tenants: Sequence[str], engines: Mapping[str, object], models: Mapping[str, Mapping[str, object]]
) -> dict[str, str]:
    """What `trimtab init` makes, with documents of its own; a key of each tenant. Each model has a variant
    `MODEL-plain`, which is to be asked for by name. Raises CannotRunError."""
    call(TRIMTAB, "init", str(folder))
    for unused in (*folder.glob("tenants/*.yaml"), *folder.glob("prompts/*.md")):
        unused.unlink()
    price = {"input_usd_per_mtok": "0.02", "output_usd_per_mtok": "0.08"}
    documents: dict[str, object] = {
        "trimtab.yaml": {
            "server": {"host": "127.0.0.1"},
            "engines": engines,
            "storage": {"url": "memory"},
            "demo": False,
        },
        "models.yaml": {
            "models": models,
            "variants": {f"{name}-plain": {"model": name, "max_tokens": 160} for name in models},
        },
        "prices.yaml": dict.fromkeys(models, price),
        "policy.yaml": {"rules": []},
        **{f"tenants/{tenant}.yaml": _tenant(tenant, models) for tenant in tenants},
    }
    for name, document in documents.items():
        (folder / name).write_bytes(msgspec.json.format(_encode(document)))
    call(TRIMTAB, "check", "--workspace", str(folder))
    return {tenant: _key(folder, tenant) for tenant in tenants}


def _key(folder: Path, tenant: str) -> str:
    made = call(
        TRIMTAB, "keys", "create", "--tenant", tenant, "--name", "load", "--test", "--workspace", str(folder), "--json"
    )
    key: str = json.loads(made)["key"]
    return key


def _tenant(name: str, models: Mapping[str, object]) -> dict[str, object]:
    return {
        "id": name,
        "name": name,
        "priority": "interactive",
        "languages": ["en"],
        "limits": {
            "requests": {"per_s": _MUCH, "burst": _MUCH},
            "tokens": {"per_s": 1000 * _MUCH, "burst": 1000 * _MUCH},
        },
        "budgets": [{"period": "month", "usd": str(_MUCH)}],
        "channels": {
            CHANNEL: {
                "targets": {
                    "latency": {"ttft_ms": HOUR_MS, "itl_ms": HOUR_MS, "e2e_ms": HOUR_MS, "percentile": 0.51},
                    "quality": {"min": 0},
                },
                "cost": {"max_per_request_usd": "1"},
                "tiers": ["S"],
                "cache": {"reuse": False},
                "guards": {"checks_in": [], "checks_out": []},
                "on_miss": "wait",
                "pin": [f"{one}-plain" for one in models],
            }
        },
    }

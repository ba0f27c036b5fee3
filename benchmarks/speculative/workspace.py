"""Two tenants, and the same engine three times: without speculation, with it, and both as settings of one model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.admission_live.workspace import HOUR_MS, TRIMTAB
from benchmarks.gateway_overhead.workspace import call

OFF: Final = "off"
ON: Final = "on"
GOVERNED: Final = "governed"
WAYS: Final = (OFF, ON, GOVERNED)
"""Models; the last has the engines `fourth` and, as a setting, `third`."""
CHANNEL: Final = "talk"
CONTEXT: Final = 640
SLOTS: Final = 8
SPECULATION: Final = {"by": "ngram", "match": 3, "tokens": 6}
_MUCH: Final = 1_000_000
_encode: Final = msgspec.json.encode


def write(folder: Path, tenants: Sequence[str]) -> dict[str, str]:
    """What `trimtab init` makes, with documents of its own; a key of each tenant. Raises CannotRunError."""
    call(TRIMTAB, "init", str(folder))
    for unused in (*folder.glob("tenants/*.yaml"), *folder.glob("prompts/*.md")):
        unused.unlink()
    engine = {"model": "bundled", "context": CONTEXT, "slots": SLOTS, "threads": os.cpu_count() or 1}
    model = {"dialect": "llamacpp", "tier": "S", "context": CONTEXT, "slots": SLOTS}
    quick = {"endpoint": "engine:third", "speculative": True}
    documents: dict[str, object] = {
        "trimtab.yaml": {
            "server": {"host": "127.0.0.1"},
            "engines": {
                "first": engine,
                "second": {**engine, "speculation": SPECULATION},
                "third": {**engine, "speculation": SPECULATION},
                "fourth": engine,
            },
            "storage": {"url": "memory"},
            "demo": False,
        },
        "models.yaml": {
            "models": {
                OFF: {**model, "endpoint": "engine:first"},
                ON: {**model, "endpoint": "engine:second"},
                GOVERNED: {**model, "endpoint": "engine:fourth", "settings": {"ngram": quick}},
            },
            "variants": {f"{way}-plain": {"model": way, "max_tokens": CONTEXT // 4} for way in WAYS},
        },
        "prices.yaml": {way: {"input_usd_per_mtok": "0.02", "output_usd_per_mtok": "0.08"} for way in WAYS},
        "policy.yaml": {"rules": []},
        **{f"tenants/{tenant}.yaml": _tenant(tenant) for tenant in tenants},
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


def _tenant(name: str) -> dict[str, object]:
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
                "pin": [f"{way}-plain" for way in WAYS],
            }
        },
    }

"""The workspace: for each policy that is tried a channel, a model with its gate, and an embedded engine of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sys import executable
from time import monotonic, sleep
from typing import Final, NamedTuple

import msgspec

from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.gateway_overhead.workspace import call

TRIMTAB: Final = str(Path(executable).with_name("trimtab"))
TENANT: Final = "bench"
SLOTS: Final = 8
"""Requests that an engine decodes at once, where no policy asks for fewer."""
CONTEXT: Final = 512
"""Tokens of prompt and answer, of each."""
HOUR_MS: Final = 3_600_000.0
START_S: Final = 60.0


class Targets(NamedTuple):
    """A contract on latency, in ms; the second is held against the 95th percentile of a stream's gaps."""

    ttft_ms: float
    itl_ms: float
    e2e_ms: float
    percentile: float


NOTHING: Final = Targets(HOUR_MS, HOUR_MS, HOUR_MS, 0.51)
"""What every forecast is within: slots alone decide."""


class Policy(NamedTuple):
    """A channel, a model and an engine of the same name. `wait_ms`: the longest wait in line."""

    name: str
    slots: int
    wait_ms: float
    targets: Targets = NOTHING

    @property
    def variant(self) -> str:
        """What is asked for as `model`."""
        return f"{self.name}-plain"


class Serving(NamedTuple):
    """A gateway that runs."""

    port: int
    folder: Path
    key: str

    def headers(self, policy: Policy) -> tuple[str, ...]:
        """Of a request that this policy decides on."""
        return (f"Authorization: Bearer {self.key}", f"trimtab-channel: {policy.name}")


def write(folder: Path, policies: Sequence[Policy]) -> str:
    """What `trimtab init` makes, with documents of its own in the place of tenants, models and policy; a key. Raises
    CannotRunError."""
    call(TRIMTAB, "init", str(folder))
    for unused in (*folder.glob("tenants/*.yaml"), *folder.glob("prompts/*.md")):
        unused.unlink()
    documents = {
        "trimtab.yaml": _settings(policies),
        "models.yaml": _models(policies),
        "prices.yaml": _dumped({one.name: _PRICE for one in policies}),
        "policy.yaml": _dumped({"rules": [_rule(one) for one in policies]}),
        f"tenants/{TENANT}.yaml": _tenant(policies),
    }
    for name, text in documents.items():
        (folder / name).write_text(text)
    call(TRIMTAB, "check", "--workspace", str(folder))
    made = call(
        TRIMTAB, "keys", "create", "--tenant", TENANT, "--name", "load", "--test", "--workspace", str(folder), "--json"
    )
    key: str = json.loads(made)["key"]
    return key


@contextmanager
def serving(folder: Path, key: str) -> Iterator[Serving]:
    """`trimtab serve` with its engine, until the block ends. Raises CannotRunError."""
    port, log = processes.free_port(), folder.with_suffix(".log")
    command = [TRIMTAB, "serve", "--workspace", str(folder), "--port", str(port)]
    with processes.running(command, None, log) as supervisor:
        until = monotonic() + START_S
        engines = len(json.loads((folder / "trimtab.yaml").read_text())["engines"])
        while "Trimtab serves at" not in (said := log.read_text()) or said.count('"message":"engine ') < engines:
            if supervisor.poll() is not None or monotonic() > until:
                raise CannotRunError(f"the gateway does not start: {log.read_text()}")
            sleep(0.1)
        yield Serving(port, folder, key)


_PRICE: Final = {"input_usd_per_mtok": "0.02", "output_usd_per_mtok": "0.08"}
_MUCH: Final = 1_000_000


def _dumped(document: object) -> str:
    """JSON, which YAML contains."""
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"


def _settings(policies: Sequence[Policy]) -> str:
    """One engine computes at a time, on all cores but one: that is for the gateway and its callers. Threads of
    llama.cpp wait for each other, so one that lacks its core stops all."""
    engine = {"model": "bundled", "context": CONTEXT, "threads": max(1, (os.cpu_count() or 1) - 1)}
    return _dumped(
        {
            "server": {"host": "127.0.0.1"},
            "engines": {one.name: {**engine, "slots": one.slots} for one in policies},
            "storage": {"url": "memory"},
            "demo": False,
        }
    )


def _models(policies: Sequence[Policy]) -> str:
    model = {"dialect": "llamacpp", "tier": "S", "context": CONTEXT}
    return _dumped(
        {
            "models": {one.name: {**model, "endpoint": f"engine:{one.name}", "slots": one.slots} for one in policies},
            "variants": {one.variant: {"model": one.name, "max_tokens": CONTEXT // 2} for one in policies},
        }
    )


def _rule(policy: Policy) -> dict[str, object]:
    """Waits of this channel end; policy never makes one longer than its contract."""
    return {
        "id": f"{policy.name}-waits",
        "at": "admit",
        "description": "The longest wait in line.",
        "when": f'channel == "{policy.name}"',
        "then": {"on_full": {"wait_ms": policy.wait_ms, "reroute": False}},
        "tests": [
            {"name": "here", "given": {"channel": policy.name}, "hit": True},
            {"name": "elsewhere", "given": {"channel": "another"}, "hit": False},
        ],
    }


def _tenant(policies: Sequence[Policy]) -> str:
    return _dumped(
        {
            "id": TENANT,
            "name": "Load test",
            "priority": "interactive",
            "languages": ["en"],
            "limits": {
                "requests": {"per_s": _MUCH, "burst": _MUCH},
                "tokens": {"per_s": 1000 * _MUCH, "burst": 1000 * _MUCH},
            },
            "budgets": [{"period": "month", "usd": str(_MUCH)}],
            "channels": {one.name: _channel(one) for one in policies},
        }
    )


def _channel(policy: Policy) -> dict[str, object]:
    return {
        "targets": {"latency": policy.targets._asdict(), "quality": {"min": 0}},
        "cost": {"max_per_request_usd": "1"},
        "tiers": ["S"],
        "cache": {"reuse": False},
        "guards": {"checks_in": [], "checks_out": []},
        "on_miss": "wait",
        "pin": [policy.variant],
    }

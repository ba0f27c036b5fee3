"""The workspace that Trimtab is measured in: one tenant, channel and model; every stage on, no limit in the way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.gateway_overhead.native import CannotRunError

TENANT, CHANNEL, MODEL = "bench", "load", "mock"

_SETTINGS = """\
server: {host: 127.0.0.1, max_body_bytes: 8388608}
engines: {}
storage: {url: memory}
demo: false
"""
_MODELS = """\
models:
  mock:
    {endpoint: "http://127.0.0.1:%(mock_port)d/v1", private: true, tier: S, context: 1000000, slots: 1024}
variants:
  mock-plain: {model: mock, max_tokens: 512}
"""
_PRICES = """\
mock: {input_usd_per_mtok: "0.02", output_usd_per_mtok: "0.08"}
"""
# Rates and money far above what one core can ask for: they are counted, and never refuse.
_TENANT = """\
id: bench
name: Load test
priority: interactive
languages: [en]
limits:
  requests: {per_s: 1000000, burst: 1000000}
  tokens: {per_s: 1000000000, burst: 1000000000}
budgets:
  - {period: day, usd: "1000000"}
  - {period: month, usd: "8000000"}
channels:
  load:
    targets:
      latency: {ttft_ms: 60000, itl_ms: 10000, e2e_ms: 120000, percentile: 0.95}
      quality: {min: 0}
    cost: {max_per_request_usd: "1"}
    tiers: [S]
    cache: {reuse: true, unclassified: allow, ttl_s: 3600}
    guards:
      checks_in: [email]
      checks_out: [deny]
      deny: ["guaranteed refund", "termination list", "salary band"]
    on_miss: wait
    pin: ["tier:S"]
    baseline: mock-plain
"""


def write(trimtab: str, folder: Path, mock_port: int) -> str:
    """Make the workspace in a new folder, and a key; the key's text. Raises CannotRunError.

    `trimtab init` lays it out: policy, templates and the secret are the shipped example's, the rest is replaced.
    """
    lay_out(folder, mock_port, lambda made: call(trimtab, "init", str(made)))
    return create_key(trimtab, folder)


def create_key(trimtab: str, folder: Path) -> str:
    """A key of the workspace's one channel, which must be sound; its text. Raises CannotRunError."""
    call(trimtab, "check", "--workspace", str(folder))
    order = ["--tenant", TENANT, "--name", "load", "--channel", CHANNEL, "--test"]
    made = call(trimtab, "keys", "create", *order, "--workspace", str(folder), "--json")
    key: str = json.loads(made)["key"]
    return key


def lay_out(folder: Path, mock_port: int, write: Callable[[Path], object]) -> None:
    """`write` lays the example out; all but its policy, templates and secret is replaced."""
    write(folder)
    for unused in (*folder.glob("tenants/*.yaml"), *folder.glob("prompts/*.md")):
        unused.unlink()
    (folder / "trimtab.yaml").write_text(_SETTINGS)
    (folder / "models.yaml").write_text(_MODELS % {"mock_port": mock_port})
    (folder / "prices.yaml").write_text(_PRICES)
    (folder / "tenants" / f"{TENANT}.yaml").write_text(_TENANT)


def call(trimtab: str, *arguments: str) -> str:
    """What a command says. Raises CannotRunError if it fails."""
    try:
        done = subprocess.run([trimtab, *arguments], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRunError(f"trimtab {arguments[0]}: {error}") from error
    if done.returncode:
        raise CannotRunError(f"trimtab {arguments[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout

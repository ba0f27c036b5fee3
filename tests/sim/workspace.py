"""The workspace of the simulation: real documents, loaded once a process; a scenario puts its own money into it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from support.gateway import EXAMPLE_POLICY
from trimtab.controlplane.registry import Workspace, load
from trimtab.core.clock import SystemClock
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.tenancy import KeyEntry, Tenancy
from trimtab.dataplane.classify import Classifier, Prepared
from trimtab.dataplane.snapshot import Snapshot
from trimtab.foundations.embed import HashEmbedder
from trimtab.foundations.tokens import prompt_bound

SECRET = bytes(range(32))
KEYS = {
    "first": make("test", lambda count: bytes(range(count))),
    "second": make("test", lambda count: bytes(range(50, 50 + count))),
    "other": make("test", lambda count: bytes(range(100, 100 + count))),
}
PORTS = {"small": 31_001, "medium": 31_002, "whole": 31_003}
"""Where the models' servers listen."""
SYSTEM = "Answer briefly."

_CHANNEL = """
    targets: {latency: {ttft_ms: TTFT, itl_ms: 500, e2e_ms: 4000}, quality: {min: 0}}
    cost: {max_per_request_usd: "0.05"}
    tiers: [S, M]
    pin: [whole-plain, small-plain]
    baseline: medium-plain
    on_miss: MISS
    cache: {reuse: REUSE, unclassified: allow}
"""
_CHANNELS = {"web": ("600", "reroute", "true"), "line": ("600", "wait", "true"), "now": ("600", "refuse", "false")}
_CHANNELS["calm"] = ("900", "template", "false")


def _channels() -> str:
    rows = []
    for name, (ttft, miss, reuse) in _CHANNELS.items():
        text = _CHANNEL.replace("TTFT", ttft).replace("MISS", miss).replace("REUSE", reuse)
        rows.append(f"  {name}:{text}")
    return "channels:\n" + "".join(rows)


def _key(name: str, channel: str) -> str:
    hashed = hash_key(KEYS[name])
    return (
        f'{{id: {key_id(hashed)}, name: {name}, sha256: "{hashed}", last4: "{KEYS[name][-4:]}", '
        f"default_channel: {channel}}}"
    )


def _documents() -> dict[str, str]:
    tail = "unavailable: Not right now.\nquote: 'It says: {quote} ({source})'\nout_of_scope: No.\nhandover: A person.\n"
    return {
        "trimtab.yaml": "demo: false\n",
        "models.yaml": f"""
models:
  small: {{endpoint: "http://127.0.0.1:{PORTS["small"]}/v1", tier: S, context: 8192, slots: 2, private: true}}
  medium: {{endpoint: "http://127.0.0.1:{PORTS["medium"]}/v1", tier: M, context: 16384, slots: 1, private: true}}
  whole: {{endpoint: "http://127.0.0.1:{PORTS["whole"]}/v1", private: true, tier: M, context: 16384, slots: 2,
    streams: false}}
variants:
  small-plain: {{model: small, prompt: brief, max_tokens: 400}}
  medium-plain: {{model: medium, prompt: brief, max_tokens: 400}}
  whole-plain: {{model: whole, prompt: brief, max_tokens: 80}}
""",
        "prices.yaml": """
small: {input_usd_per_mtok: "1", output_usd_per_mtok: "4"}
medium: {input_usd_per_mtok: "3", output_usd_per_mtok: "12"}
whole: {input_usd_per_mtok: "5", output_usd_per_mtok: "15"}
""",
        "prompts/brief.md": SYSTEM + "\n",
        "policy.yaml": EXAMPLE_POLICY,
        "templates/en.yaml": "refusal: I can't help with that.\n" + tail,
        "tenants/shop.yaml": f"id: shop\nlanguages: [en]\n{_channels()}"
        f"keys: [{_key('first', 'web')}, {_key('second', 'line')}]\n",
        "tenants/other.yaml": f"id: other\nlanguages: [en]\n{_channels()}keys: [{_key('other', 'web')}]\n",
    }


class Words:
    """A counter that counts as the scripted servers do: a word is a token."""

    source: Literal["counted", "estimated"] = "counted"

    def count(self, text: str) -> int:
        return len(text.split())

    def written(self, text: str, pieces: int) -> int:
        return self.count(text)

    def upper_bound(self, messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any] | None = None) -> int | None:
        return prompt_bound(messages, extra)


class Loaded(msgspec.Struct, frozen=True):
    workspace: Workspace
    classifier: Classifier
    prepared: Prepared
    embedder: HashEmbedder


@lru_cache(maxsize=1)
def loaded() -> Loaded:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for file, text in _documents().items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "var").mkdir()
        (folder / "var" / "secret").write_bytes(SECRET)
        clock, embedder = SystemClock(), HashEmbedder()
        workspace = load(folder, clock)
        classifier = Classifier(clock, embedder)
        prepared = asyncio.run(classifier.prepare(workspace.snapshot.tenancy.tenants))
        return Loaded(workspace, classifier, prepared, embedder)


def with_money(money: Mapping[str, Any], rates: Mapping[str, Any]) -> Snapshot:
    """The snapshot in which these scopes (`shop`, `shop/web`, `first`) have these budgets and limits."""
    snapshot = loaded().workspace.snapshot
    replace = msgspec.structs.replace
    tenants = {}
    for name, tenant in snapshot.tenancy.tenants.items():
        channels = {
            own: replace(
                channel,
                cost=replace(channel.cost, budgets=money.get(f"{name}/{own}", [])),
                limits=rates.get(f"{name}/{own}", channel.limits),
            )
            for own, channel in tenant.channels.items()
        }
        keys = [
            replace(key, budgets=money.get(key.name, []), limits=rates.get(key.name, key.limits)) for key in tenant.keys
        ]
        tenants[name] = replace(
            tenant, channels=channels, keys=keys, budgets=money.get(name, []), limits=rates.get(name, tenant.limits)
        )
    keys_by_hash = {key.sha256: KeyEntry(tenant, key) for tenant in tenants.values() for key in tenant.keys}
    return replace(snapshot, tenancy=Tenancy("t1", tenants, keys_by_hash))

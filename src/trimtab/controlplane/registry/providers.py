"""Who stands behind endpoints, and how often all of them are down at once.

One provider, however many models and keys it has here, fails as one; different providers are taken to fail
independently of each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import prod
from typing import Final
from urllib.parse import urlsplit

from trimtab.core.models import Model, Tier
from trimtab.dataplane.snapshot import Snapshot

OURSELVES: Final = "this machine"
_ENGINE: Final = "engine:"


def provider_of(endpoint: str) -> str:
    """Its host; all embedded engines are one."""
    return OURSELVES if endpoint.startswith(_ENGINE) else urlsplit(endpoint).hostname or endpoint


def provider_behind(replica: str, models: Mapping[str, Model]) -> str | None:
    """Of a replica as records name it (`engine:NAME`, `MODEL/N`, `MODEL/N#KEY`); None where it is not declared now."""
    if replica.startswith(_ENGINE):
        return OURSELVES
    name, _, number = replica.partition("#")[0].rpartition("/")
    model = models.get(name)
    if model is None or not number.isdigit() or int(number) >= len(model.endpoints):
        return None
    return provider_of(model.endpoints[int(number)])


def answering(snapshot: Snapshot, tiers: Collection[Tier]) -> list[Model]:
    """Models that may answer everybody in these tiers: an experiment's arm is nobody's fallback."""
    release, held = snapshot.release, snapshot.tenancy.experiments.held
    names = {one.model for one in release.variants.values() if one.tier in tiers and one.name not in held}
    return [release.models[name] for name in sorted(names)]


def promised_down(models: Iterable[Model]) -> dict[str, float]:
    """The share of time that each provider does not promise to answer: all of it, where it promises nothing."""
    down: dict[str, float] = {}
    for model in models:
        for endpoint in model.endpoints:
            host = provider_of(endpoint)
            down[host] = min(down.get(host, 1.0), 1.0 - (model.availability or 0.0))
    return down


def together(down: Iterable[float]) -> float:
    """The share of time in which all are down, from that of each."""
    return prod(down)


__all__ = ["OURSELVES", "answering", "promised_down", "provider_behind", "provider_of", "together"]

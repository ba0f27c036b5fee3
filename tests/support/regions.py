"""Workspaces whose models are in regions, with the server of each model, over TLS or with TLS taken for granted."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.gateway import Edit
from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialer import Answer

_TLS = Path(__file__).parent.parent / "http" / "tls"


def server_tls() -> ssl.SSLContext:
    """What 127.0.0.1 shows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(_TLS / "cert.pem", _TLS / "key.pem")
    return context


def trusting() -> Http1Dialer:
    """A dialer that trusts it."""
    return Http1Dialer(tls=ssl.create_default_context(cafile=str(_TLS / "cert.pem")))


class VirtualTls(Http1Dialer):
    """For the virtual network, which has no TLS: what is to be sent by https is noted, and goes in the clear."""

    def __init__(self) -> None:
        super().__init__()
        self.schemes: dict[int, set[str]] = {}
        """By port: how it was addressed."""

    async def send(
        self, origin: Origin, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Answer:
        self.schemes.setdefault(origin.port, set()).add(origin.scheme)
        return await super().send(Origin("http", origin.host, origin.port, origin.private), method, path, headers, body)


@dataclass(frozen=True)
class Pool:
    """A model of models.yaml, and its variant NAME-plain."""

    name: str
    urls: Sequence[str]
    region: str | None
    overflow: Sequence[str] = ()
    """The residencies that it is approved for."""
    redact: Sequence[str] = ("email", "card")
    tokens_per_day: int = 1_000_000
    tier: str = "M"
    slots: int = 2
    prefill: bool = False
    fallbacks: Sequence[str] = ()
    more: str = field(default="")

    def model(self) -> str:
        """Its line."""
        urls = ", ".join(f'"{url}/v1"' for url in self.urls)
        terms = [f"endpoint: [{urls}]", f"tier: {self.tier}", "context: 16384", f"slots: {self.slots}", "private: true"]
        terms += [f"prefill: {str(self.prefill).lower()}", f"fallbacks: [{', '.join(self.fallbacks)}]"]
        if self.region is not None:
            terms.append(f"region: {self.region}")
        if self.overflow:
            profile = f"for: [{', '.join(self.overflow)}], tokens_per_day: {self.tokens_per_day}"
            terms.append(f"overflow: {{{profile}, redact: [{', '.join(self.redact)}]}}")
        return f"  {self.name}: {{{', '.join([*terms, *filter(None, [self.more])])}}}\n"


def pools(*declared: Pool) -> Edit:
    """An edit that declares these models, with a price for each, in the place of the ones there are."""

    def edit(documents: dict[str, str]) -> None:
        variants = "".join(f"  {one.name}-plain: {{model: {one.name}, max_tokens: 100}}\n" for one in declared)
        models = "".join(one.model() for one in declared)
        documents["models.yaml"] = f"models:\n{models}variants:\n{variants}"
        price = '{input_usd_per_mtok: "1", output_usd_per_mtok: "4"}'
        documents["prices.yaml"] = "".join(f"{one.name}: {price}\n" for one in declared)
        tenant = documents["tenants/shop.yaml"].replace("    baseline: medium-plain\n", "")
        names = ", ".join([*(one.name for one in declared), *(f"{one.name}-plain" for one in declared)])
        pins = ", ".join(sorted({f'"tier:{one.tier}"' for one in declared}))
        tenant = tenant.replace('pin: ["tier:S", "tier:M", medium-plain]', f"pin: [{pins}, {names}]")
        documents["tenants/shop.yaml"] = tenant.replace("tiers: [S, M]", "tiers: [S, M, L]")
        documents["tenants/other.yaml"] = documents["tenants/other.yaml"].replace("tiers: [S, M]", "tiers: [S, M, L]")

    return edit


def resident(region: str, *, channel: str | None = None) -> Edit:
    """An edit that keeps the shop's requests in a region; only those of `channel`, if it is told."""

    def edit(documents: dict[str, str]) -> None:
        text = documents["tenants/shop.yaml"]
        if channel is None:
            documents["tenants/shop.yaml"] = text.replace("id: shop\n", f"id: shop\nresidency: {region}\n")
        else:
            old = f"  {channel}:\n"
            assert old in text, channel
            documents["tenants/shop.yaml"] = text.replace(old, f"{old}    residency: {region}\n")

    return edit

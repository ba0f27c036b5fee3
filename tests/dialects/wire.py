"""One recorded upstream, one request in a dialect, on virtual time: what the upstream saw, what the client got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from support.gateway import KEY, Gateway, post, replaced
from support.rawhttp import RawAnswer, RawClient
from support.upstream import Script, ScriptedUpstream
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

FRESH = replaced("tenants/shop.yaml", "default_channel: web", "default_channel: fresh")
"""A channel without guards and cache: chunks come as the upstream cuts them."""


class Told(msgspec.Struct):
    """What one request led to."""

    answer: RawAnswer
    asked: list[dict[str, Any]]
    """Bodies that the upstream got."""
    record: Record
    settled_nanousd: int


def told(folder: Path, path: str, body: dict[str, Any], script: Script, *headers: str, key: str | None = KEY) -> Told:
    """Ask once, on a gateway of its own."""

    async def main() -> Told:
        async with ScriptedUpstream(script) as up, Gateway(folder, up.url, up.url, FRESH) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(post(msgspec.json.encode(body), *headers, path=path, key=key))
                answer = await client.answer()
            await gateway.sink.reached(1)
            return Told(answer, [seen.json for seen in up.requests], gateway.last, gateway.settled_nanousd())

    return run_virtual(main)


def named_events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Each event's name and data, in order."""
    found = []
    for block in body.split(b"\n\n")[:-1]:
        name, data = block.split(b"\n")
        assert name.startswith(b"event: "), block
        assert data.startswith(b"data: "), block
        found.append((name[7:].decode(), msgspec.json.decode(data[6:])))
    return found

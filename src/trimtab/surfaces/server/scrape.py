"""`GET /metrics`: who may read it, and the answer.

Tenants' names and spend are in it. With `server.metrics_key` it takes that key, from everywhere. Without one it is for
this machine alone: a loopback peer that names a loopback host (a web page whose name was rebound to 127.0.0.1 does
not), and no sign of a proxy in front, for behind one all the world comes from loopback. A proxy that leaves no sign
must not pass /metrics on, or a key must be set.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Final, Protocol

from trimtab.controlplane.metrics import CONTENT_TYPE, OPENMETRICS, OPENMETRICS_TYPE, openmetrics
from trimtab.core.errors import Code, Refusal
from trimtab.surfaces.server import openai
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest

PATH: Final = "/metrics"
EXEMPLARS: Final = "exemplars"
"""The query by which one gateway asks another for plain text with exemplars, to put both together."""
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_PROXIED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


_SLICE: Final = 8
"""Families between which requests run."""


class Exposition(Protocol):
    """All metrics in Prometheus' text format; with `exemplars` on the buckets that have one."""

    async def __call__(self, exemplars: bool = False) -> bytes: ...


class Scrape:
    """The route. `text`: the whole exposition; `key`: None for callers of this machine only."""

    def __init__(self, text: Exposition, key: str | None) -> None:
        self._text, self._key = text, None if key is None else key.encode()

    async def __call__(self, http: HttpRequest, reply: HttpReply) -> None:
        refused = self._refusal(http)
        if refused is not None:
            openai.send_error(reply, refused, [], None)
            return
        await send(reply, self._text, http)

    def _refusal(self, http: HttpRequest) -> Refusal | None:
        if self._key is None:
            if http.arrival.loopback and is_local(http.headers):
                return None
            return Refusal(code=Code.METRICS_NOT_ALLOWED, message=Code.METRICS_NOT_ALLOWED.value.cause)
        scheme, _, told = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not told:
            message = "metrics take the key of server.metrics_key"
            return Refusal(code=Code.MISSING_API_KEY, message=message)
        if not hmac.compare_digest(told.strip().encode(), self._key):
            return Refusal(code=Code.INVALID_API_KEY, message="this is not the key of server.metrics_key")
        return None


async def send(reply: HttpReply, text: Exposition, http: HttpRequest) -> None:
    """The exposition as an answer, in the format that is asked for."""
    if prefers_openmetrics(http.headers.get("accept", "")):
        kind, pieces = OPENMETRICS_TYPE, []
        for count, piece in enumerate(openmetrics((await text(exemplars=True)).decode())):
            pieces.append(piece.encode())
            if count % _SLICE == 0:
                await asyncio.sleep(0)  # requests run in between
        body = b"".join(pieces)
    else:
        kind, body = CONTENT_TYPE, await text()
    await send_text(reply, kind, body)


async def send_text(reply: HttpReply, kind: str, body: bytes) -> None:
    """`kind`: its content type."""
    reply.start(200, [("content-type", kind), ("content-length", str(len(body))), ("cache-control", "no-store")])
    await reply.write(body)
    await reply.end()


def prefers_openmetrics(accept: str) -> bool:
    """Whether it is asked for by name, and plain text is not asked for more (RFC 9110 section 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *terms = (one.strip() for one in part.split(";"))
        told = next((term[2:] for term in terms if term.startswith("q=")), "1")
        try:
            weights[kind] = max(weights.get(kind, 0.0), float(told))
        except ValueError:
            continue
    return weights.get(OPENMETRICS, 0.0) > 0 and weights[OPENMETRICS] >= weights.get("text/plain", 0.0)


def is_local(headers: Mapping[str, str]) -> bool:
    """Whether the caller named this machine, and nothing says that it came through a proxy."""
    host = headers.get("host", "").lower()
    name = host if host.endswith("]") or host == "::1" else host.rpartition(":")[0] or host
    return name in _HOSTS and not any(header in headers for header in _PROXIED)


__all__ = ["EXEMPLARS", "PATH", "Scrape", "is_local", "prefers_openmetrics", "send", "send_text"]

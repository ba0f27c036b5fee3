"""`GET /metrics`: who may read it, and the answer.

Tenants' names and spend are in it. With `server.metrics_key` it takes that key, from everywhere. Without one it is for
this machine alone: a loopback peer that names a loopback host (a web page whose name was rebound to 127.0.0.1 does
not), and no sign of a proxy in front, for behind one all the world comes from loopback. A proxy that leaves no sign
must not pass /metrics on, or a key must be set.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from trimtab.controlplane.metrics import CONTENT_TYPE
from trimtab.core.errors import Code, Refusal
from trimtab.surfaces.server import openai
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest

PATH: Final = "/metrics"
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_PROXIED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Scrape:
    """The route. `text`: the whole exposition; `key`: None for callers of this machine only."""

    def __init__(self, text: Callable[[], Awaitable[bytes]], key: str | None) -> None:
        self._text, self._key = text, None if key is None else key.encode()

    async def __call__(self, http: HttpRequest, reply: HttpReply) -> None:
        refused = self._refusal(http)
        if refused is not None:
            openai.send_error(reply, refused, [], None)
            return
        await send(reply, self._text)

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


async def send(reply: HttpReply, text: Callable[[], Awaitable[bytes]]) -> None:
    """The exposition as an answer."""
    body = await text()
    reply.start(
        200, [("content-type", CONTENT_TYPE), ("content-length", str(len(body))), ("cache-control", "no-store")]
    )
    await reply.write(body)
    await reply.end()


def is_local(headers: Mapping[str, str]) -> bool:
    """Whether the caller named this machine, and nothing says that it came through a proxy."""
    host = headers.get("host", "").lower()
    name = host if host.endswith("]") or host == "::1" else host.rpartition(":")[0] or host
    return name in _HOSTS and not any(header in headers for header in _PROXIED)


__all__ = ["PATH", "Scrape", "is_local", "send"]

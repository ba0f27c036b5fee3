"""HTTP/1.1 to upstreams, on llhttp: a pool per origin, pieces handed on as they come, a hang-up within the same turn of
the loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from trimtab.dataplane.inference.adapters._connection import Connection, Pool
from trimtab.dataplane.inference.dialer import Answer, ConnectFailed, Origin
from trimtab.dataplane.inference.egress import addresses

_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect", "upgrade"})


class Http1Dialer:
    """See `Dialer`. Times in seconds; `max_idle` connections are kept per origin."""

    def __init__(
        self, *, connect_timeout_s: float = 5.0, max_idle: int = 64, tls: ssl.SSLContext | None = None
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._max_idle = max_idle
        self._tls = tls
        self._pools: dict[Origin, Pool] = {}
        self._closed = False

    async def send(
        self, origin: Origin, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Answer:
        data = _encode(origin, method, path, headers, body)
        if self._closed:
            raise ConnectFailed("the dialer is closed")
        pool = self._pools.get(origin)
        if pool is None:
            # an engine that is started again has another port: what nobody uses any more goes
            self._pools = {key: one for key, one in self._pools.items() if not one.is_empty}
            pool = self._pools[origin] = Pool(origin, self._max_idle)
        connection = pool.take() or await self._connect(pool)
        return await connection.request(data)

    async def _connect(self, pool: Pool) -> Connection:
        origin = pool.origin
        connection = Connection(pool)
        pool.active.add(connection)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._to_one_of(await addresses(origin), connection)
        except (OSError, TimeoutError, ssl.SSLError) as exc:
            connection.abort()
            why = f"no connection after {self._connect_timeout_s:g} s" if isinstance(exc, TimeoutError) else str(exc)
            raise ConnectFailed(f"{origin.netloc}: {why}") from exc
        except BaseException:
            connection.abort()
            raise
        if self._closed:
            connection.abort()
            raise ConnectFailed("the dialer is closed")
        return connection

    async def _to_one_of(self, hosts: Sequence[str], connection: Connection) -> None:
        """Connect to the first that answers; the certificate must be the name's. Raises OSError, SSLError."""
        origin, loop = connection.origin, asyncio.get_running_loop()
        tls = self._tls_for(origin)
        name = origin.host.rstrip(".") if tls is not None else None
        for last, host in ((host == hosts[-1], host) for host in hosts):
            try:
                await loop.create_connection(lambda: connection, host, origin.port, ssl=tls, server_hostname=name)
            except ssl.SSLError:
                raise  # somebody answered there, and was not who it should be
            except OSError:
                if last:
                    raise
            else:
                return

    def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if origin.scheme != "https":
            return None
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    async def close(self) -> None:
        self._closed = True
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        await asyncio.sleep(0)  # transports tell their protocols in the next turn

    def __repr__(self) -> str:
        pools = "; ".join(repr(pool) for pool in self._pools.values() if not pool.is_empty)
        return f"<Http1Dialer [{pools}]>"


def _encode(origin: Origin, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """The request's bytes; ValueError if any part would be read as another."""
    if method in ("HEAD", "CONNECT") or not (method.isascii() and method.isalpha() and method.isupper()):
        raise ValueError(f"{method!r} is no method for an upstream")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{path!r} is no path")
    lines = [f"{method} {path} HTTP/1.1", f"host: {origin.authority}", "accept-encoding: identity"]
    lines.append(f"content-length: {len(body)}")
    for name, value in headers:
        if not name or name.lower() in _OURS or any(c in name for c in ": \t"):
            raise ValueError(f"the header {name!r} is not the caller's to set")
        lines.append(f"{name}: {value}")
    text = "\r\n".join(lines) + "\r\n\r\n"
    breaks = len(lines) + 1
    if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
        raise ValueError("a header holds a line break or NUL")
    return text.encode("latin-1") + body

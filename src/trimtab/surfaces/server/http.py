"""The front door: HTTP/1.1 on llhttp, one task a request, cancelled when the client hangs up.

    listener = Listener(handler, clock, HttpLimits(), on_error)
    await listener.start(sock)
    ...
    listener.drain()            # from now on each connection ends with its next answer
    await listener.drained()
    await listener.close()

TLS and HTTP/2 are the balancer's.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from trimtab.core.clock import Clock
from trimtab.surfaces.server.connection import Connection
from trimtab.surfaces.server.exchange import HttpError, HttpLimits, HttpReply, HttpRequest
from trimtab.surfaces.server.hub import Handler, Hub, OnError

__all__ = ["Handler", "HttpError", "HttpLimits", "HttpReply", "HttpRequest", "Listener", "OnError"]

_BACKLOG = 4096
_FLUSH_S = 1.0
"""What `close` gives connections to send what is already written."""


class Listener:
    """Accepts connections and runs `handler` for each request.

    `on_error(request, exception)` is told of handlers that raised, or returned without ending their reply, and, with
    None for the request, of bytes that never became a request (`HttpError`). It must not raise.
    """

    def __init__(self, handler: Handler, clock: Clock, limits: HttpLimits, on_error: OnError) -> None:
        self._hub = Hub(handler, clock, limits, on_error)
        self._server: asyncio.AbstractServer | None = None

    async def start(self, sock: socket.socket | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on `sock`, which is bound already, else on host and port (0: any). Raises OSError."""
        loop = asyncio.get_running_loop()
        if sock is not None:
            self._server = await loop.create_server(lambda: Connection(self._hub), sock=sock, backlog=_BACKLOG)
        else:
            self._server = await loop.create_server(lambda: Connection(self._hub), host, port, backlog=_BACKLOG)

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only its owner may use. Raises OSError."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            path.chmod(0o600)  # noqa: ASYNC240 - one call at the start
            self._server = await loop.create_unix_server(lambda: Connection(self._hub), sock=sock, backlog=_BACKLOG)
        except BaseException:
            sock.close()
            raise

    @property
    def port(self) -> int:
        """The port listened on."""
        sockets = getattr(self._server, "sockets", ())
        if not sockets:
            raise RuntimeError("the listener is not listening")
        return int(sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._hub.connections)

    @property
    def active(self) -> int:
        """Requests whose handler runs."""
        return len(self._hub.tasks)

    @property
    def draining(self) -> bool:
        return self._hub.draining

    def set_idle_timeout(self, seconds: float) -> None:
        """Change the keep-alive timeout, also of the connections that are idle now."""
        self._hub.idle_timeout_s = seconds
        for connection in list(self._hub.connections):
            connection.check_idle()

    def keep_alive(self, kept: bool) -> None:
        """Whether connections are kept for further requests: if not, each ends with its next answer."""
        self._hub.keep_alive = kept

    def drain(self) -> None:
        """End each connection with its next answer. New ones are still accepted, and idle ones left open: that the
        gateway is going down is the application's answer (503), and a request that is on its way while we close would
        get none.
        """
        self._hub.draining = True

    async def drained(self) -> None:
        """Return once no handler runs."""
        await self._hub.no_tasks()

    async def close(self) -> None:
        """Stop listening, cut running answers, wait for their handlers, close all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._hub.connections):
            connection.stop()
        await self._hub.no_tasks()
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._hub.no_connections()
        except TimeoutError:
            for connection in list(self._hub.connections):
                connection.kill()
            await self._hub.no_connections()

    def __repr__(self) -> str:
        state = " draining" if self._hub.draining else ""
        return f"<Listener{state}: {self.connections} connections, {self.active} active>"

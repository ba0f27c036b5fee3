"""Admin: JSON over a Unix socket of the workspace, for the command line and the console. Never on the public port."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from trimtab.core.errors import Code, ConfigError, Refusal
from trimtab.surfaces.server import openai, scrape
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.hub import Handler

MOST_PATH_BYTES = 100
"""Of a Unix socket's path: the kernel takes 107."""


class Gateway(Protocol):
    """What the admin routes ask of a running gateway."""

    def state(self) -> dict[str, Any]: ...
    async def budgets(self) -> list[Any]:
        """Raises StoreLostError."""
        ...

    def fleet(self) -> dict[str, Any]: ...
    async def metrics(self) -> bytes: ...
    async def flush(self) -> bool:
        """Put the records of all that has been answered on the disk; False: it does not take them in time."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Load the workspace now. Raises ConfigError."""
        ...

    def engine(self, name: str, verb: str) -> bool:
        """Ask for an engine's start or stop; False: there is none of this name."""
        ...


def socket_path(workspace: Path) -> Path:
    """Where the socket of a workspace is to be; a path that the kernel can't take is replaced by one in a private
    temporary folder, and told in `run/admin.path`."""
    run = workspace / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    told = run / "admin.path"
    told.unlink(missing_ok=True)
    path = run / "admin.sock"
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        path = Path(tempfile.mkdtemp(prefix="trimtab-")) / "admin.sock"  # mode 0700
        told.write_text(str(path))
    path.unlink(missing_ok=True)
    return path


def admin(gateway: Gateway) -> Handler:
    """The handler of the admin socket."""
    reads: dict[str, Callable[[], Any]] = {
        "/state": gateway.state,
        "/fleet": gateway.fleet,
    }

    async def handle(http: HttpRequest, reply: HttpReply) -> None:
        parts = http.path.strip("/").split("/")
        if http.method == "GET" and http.path in reads:
            openai.send_json(reply, 200, reads[http.path]())
        elif http.method == "GET" and http.path == "/budgets":
            openai.send_json(reply, 200, {"budgets": await gateway.budgets()})
        elif http.method == "GET" and http.path == scrape.PATH:
            await scrape.send(reply, gateway.metrics)
        elif http.method == "POST" and http.path == "/records/flush":
            openai.send_json(reply, 200, {"flushed": await gateway.flush()})
        elif http.method == "POST" and http.path == "/reload":
            await _reload(gateway.reload, reply)
        elif http.method == "POST" and len(parts) == 3 and parts[0] == "engines" and parts[2] in ("start", "stop"):
            found = gateway.engine(parts[1], parts[2])
            openai.send_json(reply, 202 if found else 404, {"engine": parts[1], "asked": parts[2] if found else None})
        else:
            refusal = Refusal(code=Code.ROUTE_NOT_FOUND, message=f"no admin route {http.method} {http.path[:128]}")
            openai.send_error(reply, refusal, [], None)

    return handle


async def _reload(reload: Callable[[], Awaitable[dict[str, Any]]], reply: HttpReply) -> None:
    try:
        openai.send_json(reply, 200, await reload())
    except ConfigError as error:
        openai.send_json(reply, 409, {"ok": False, "problems": error.problems})

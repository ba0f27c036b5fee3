"""Admin: JSON over a Unix socket of the workspace, for the command line and the console. Never on the public port.

Each gateway of a workspace has a socket of its own, `run/admin.sock` the first and `run/admin.1.sock` the next. What is
asked there is answered for all of them; the same routes behind `/worker` are about that one alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

from trimtab.controlplane.metrics import CONTENT_TYPE
from trimtab.core.errors import Code, ConfigError, Refusal
from trimtab.dataplane.spend import StoreLostError
from trimtab.surfaces.server import openai, scrape
from trimtab.surfaces.server.ask import socket_stem
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.hub import Handler

MOST_PATH_BYTES = 100
"""Of a Unix socket's path: the kernel takes 107."""


_WORKER: Final = "/worker"


class Gateway(Protocol):
    """What the admin routes ask of a running gateway, or of all that serve a workspace."""

    async def state(self) -> dict[str, Any]: ...
    async def budgets(self) -> list[Any]:
        """Raises StoreLostError."""
        ...

    def fleet(self) -> dict[str, Any]: ...
    async def metrics(self, exemplars: bool = False) -> bytes: ...
    async def flush(self) -> bool:
        """Put the records of all that has been answered on the disk; False: it does not take them in time."""
        ...

    async def forget(self) -> bool:
        """Drop what is held in memory of texts: stored answers and keys; False: one of the gateways can't be asked."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Load the workspace now. Raises ConfigError."""
        ...

    def engine(self, name: str, verb: str) -> bool:
        """Ask for an engine's start or stop; False: there is none of this name."""
        ...


def socket_path(workspace: Path, worker: int = 0) -> Path:
    """Where the socket of a workspace's gateway is to be; a path that the kernel can't take is replaced by one in a
    private temporary folder, and told in `run/admin.path` (of worker 1: `run/admin.1.path`)."""
    run = workspace / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    stem = socket_stem(worker)
    told = run / f"{stem}.path"
    told.unlink(missing_ok=True)
    path = run / f"{stem}.sock"
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        path = Path(tempfile.mkdtemp(prefix="trimtab-")) / "admin.sock"  # mode 0700
        told.write_text(str(path))
    path.unlink(missing_ok=True)
    return path


def admin(all_: Gateway, own: Gateway) -> Handler:
    """The handler of the admin socket."""

    async def handle(http: HttpRequest, reply: HttpReply) -> None:
        alone = http.path.startswith(_WORKER + "/")
        path = http.path.removeprefix(_WORKER) if alone else http.path
        try:
            await _answer(http, reply, path, own if alone else all_)
        except StoreLostError as error:
            message = f"{Code.STORE_LOST.value.cause} {error}"
            openai.send_error(reply, Refusal(code=Code.STORE_LOST, message=message), [], None)

    return handle


async def _answer(http: HttpRequest, reply: HttpReply, path: str, gateway: Gateway) -> None:
    parts = path.strip("/").split("/")
    match http.method, path:
        case "GET", "/state":
            openai.send_json(reply, 200, await gateway.state())
        case "GET", "/fleet":
            openai.send_json(reply, 200, gateway.fleet())
        case "GET", "/budgets":
            openai.send_json(reply, 200, {"budgets": await gateway.budgets()})
        case "GET", scrape.PATH:
            if http.query == scrape.EXEMPLARS:
                await scrape.send_text(reply, CONTENT_TYPE, await gateway.metrics(exemplars=True))
            else:
                await scrape.send(reply, gateway.metrics, http)
        case "POST", "/records/flush":
            openai.send_json(reply, 200, {"flushed": await gateway.flush()})
        case "POST", "/forget":
            openai.send_json(reply, 200, {"forgotten": await gateway.forget()})
        case "POST", "/reload":
            await _reload(gateway.reload, reply)
        case "POST", _ if len(parts) == 3 and parts[0] == "engines" and parts[2] in ("start", "stop"):
            found = gateway.engine(parts[1], parts[2])
            openai.send_json(reply, 202 if found else 404, {"engine": parts[1], "asked": parts[2] if found else None})
        case _:
            refusal = Refusal(code=Code.ROUTE_NOT_FOUND, message=f"no admin route {http.method} {http.path[:128]}")
            openai.send_error(reply, refusal, [], None)


async def _reload(reload: Callable[[], Awaitable[dict[str, Any]]], reply: HttpReply) -> None:
    try:
        openai.send_json(reply, 200, await reload())
    except ConfigError as error:
        openai.send_json(reply, 409, {"ok": False, "problems": error.problems})

"""The command line's side of the admin socket: one question, one JSON answer."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Any

import msgspec

from trimtab.core.errors import TrimtabError

_TIMEOUT_S = 10.0


class NotRunningError(TrimtabError):
    """No gateway serves this workspace."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))


def socket_stem(worker: int) -> str:
    """Of the files in `run/` that tell where a gateway's admin socket is."""
    return "admin" if worker == 0 else f"admin.{worker}"


def admin_socket(workspace: Path, worker: int = 0) -> Path:
    """Where a running gateway of this workspace listens."""
    stem = socket_stem(worker)
    told = workspace / "run" / f"{stem}.path"
    return Path(told.read_text()) if told.is_file() else workspace / "run" / f"{stem}.sock"


def flushed(workspace: Path) -> bool:
    """Whether all that a running gateway has answered is on the disk by now; true where none runs."""
    try:
        return bool(ask(workspace, "POST", "/records/flush")["flushed"])
    except NotRunningError:
        return True
    except TrimtabError:
        return False


def ask(workspace: Path, method: str, path: str) -> Any:
    """The JSON that a gateway answers, for all that serve the workspace: the first of them that can be reached. Raises
    NotRunningError where none is there, TrimtabError where it fails."""
    for sock in _sockets(workspace):
        connection = _Connection(sock)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            continue  # it is being started again, or was killed
        except (OSError, http.client.HTTPException) as error:
            raise TrimtabError(f"the gateway of {workspace} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise TrimtabError(f"the gateway answered {answer.status}: {body[:300].decode(errors='replace')}")
        return msgspec.json.decode(body)
    raise NotRunningError(f"no gateway serves {workspace}: start it by trimtab serve")


def _sockets(workspace: Path) -> list[Path]:
    """Of all workers that there may be, the first one's first."""
    names = [path.name.split(".") for path in (workspace / "run").glob("admin.*") if path.suffix in (".sock", ".path")]
    others = sorted({int(name[1]) for name in names if len(name) == 3 and name[1].isdecimal()})
    return [admin_socket(workspace, worker) for worker in (0, *others)]


__all__ = ["NotRunningError", "admin_socket", "ask", "flushed", "socket_stem"]

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


def admin_socket(workspace: Path) -> Path:
    """Where a running gateway of this workspace listens."""
    told = workspace / "run" / "admin.path"
    return Path(told.read_text()) if told.is_file() else workspace / "run" / "admin.sock"


def ask(workspace: Path, method: str, path: str) -> Any:
    """The JSON that the gateway answers. Raises NotRunningError where none is there, TrimtabError where it fails."""
    connection = _Connection(admin_socket(workspace))
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NotRunningError(f"no gateway serves {workspace}: start it by trimtab serve") from error
    except (OSError, http.client.HTTPException) as error:
        raise TrimtabError(f"the gateway of {workspace} does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status >= 300:
        raise TrimtabError(f"the gateway answered {answer.status}: {body[:300].decode(errors='replace')}")
    return msgspec.json.decode(body)

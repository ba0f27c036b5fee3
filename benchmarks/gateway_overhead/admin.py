"""Trimtab's admin socket, read to see that every request went through every stage."""

from __future__ import annotations

import http.client
import socket
import time
from pathlib import Path
from typing import Final

import msgspec

STAGES: Final = (
    "ingress",
    "bind",
    "guard_in",
    "classify",
    "decide",
    "cache",
    "route",
    "admit",
    "reserve",
    "infer",
    "guard_out",
    "settle",
)
CACHED_STAGES: Final = ("ingress", "bind", "guard_in", "classify", "decide", "cache", "settle")
"""What a request goes through that the cache answers."""


class State(msgspec.Struct, frozen=True):
    """What `GET /state` says, as far as it is read here."""

    requests: int
    stages: dict[str, int]

    def since(self, before: State) -> State:
        """What was counted between the two."""
        grown = {name: count - before.stages.get(name, 0) for name, count in self.stages.items()}
        return State(requests=self.requests - before.requests, stages=grown)


def exchange(workspace: Path, method: str, route: str) -> tuple[int, bytes]:
    """Status and body of one request. Raises OSError, HTTPException where no gateway answers."""
    path = workspace / "run" / "admin.sock"
    pointer = workspace / "run" / "admin.path"
    if not path.exists() and pointer.is_file():
        path = Path(pointer.read_text().strip())
    connection = _Unix(path)
    try:
        connection.request(method, route)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def read(workspace: Path) -> State | str:
    """The counters now, or why they can't be had."""
    try:
        status, body = exchange(workspace, "GET", "/state")
        if status != 200:
            return f"the admin socket answered {status} to GET /state"
        return msgspec.json.decode(body, type=State)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        return f"the stage counters can't be read: {error}"


def counted(workspace: Path, before: State | str, sent: int, repeats: int | None, limit_s: float = 2) -> str | None:
    """Why the counters don't show what was sent, or None if they do. What settles late is waited for.

    `repeats`: how many distinct requests there were, where all others may be cache hits; None: each was different.
    """
    end = time.monotonic() + limit_s
    while True:
        now = read(workspace)
        if isinstance(before, str) or isinstance(now, str):
            return before if isinstance(before, str) else str(now)
        problem = _compare(now.since(before), sent, repeats)
        if problem is None or time.monotonic() > end:
            return problem
        time.sleep(0.05)


def _compare(grown: State, sent: int, repeats: int | None) -> str | None:
    wanted = STAGES if repeats is None else CACHED_STAGES
    wrong = [f"{name} {grown.stages.get(name)}" for name in wanted if grown.stages.get(name) != sent]
    if grown.requests != sent:
        wrong.insert(0, f"requests {grown.requests}")
    if wrong:
        return f"{sent} requests were sent, but the gateway counted: {', '.join(wrong)}"
    inferred = grown.stages.get("infer", 0)
    if repeats is not None and inferred > repeats:
        return f"{inferred} of {sent} requests went to the model, so they were no cache hits"
    return None


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(str(self._path))

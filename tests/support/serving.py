"""Starts a real supervisor over the stand-ins and looks at it from outside: sockets, signals, /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trimtab.surfaces.processes import EngineStatus

T = TypeVar("T")
LIMIT_S = 20.0
POLL_S = 0.02
TESTS = Path(__file__).parent.parent


class State(msgspec.Struct):
    """What the stand-in gateway says of itself."""

    pid: int
    draining: bool
    engines: list[EngineStatus]

    def engine(self, name: str) -> EngineStatus:
        return next(engine for engine in self.engines if engine.name == name)


class Serving:
    """A running supervisor process."""

    def __init__(self, process: subprocess.Popen[str], address: tuple[str, int], printed: list[str]) -> None:
        self.process, self.address, self.printed = process, address, printed

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=LIMIT_S)

    def ask(self, words: str = "state") -> State:
        """Say a line to the gateway, read its line back."""
        with self.connect() as connection:
            return say(connection, words)

    def until(self, check: Callable[[State], bool]) -> State:
        """Ask until the answer satisfies `check`. A gateway that ends while it is asked answers nothing: the next one
        does."""

        def look() -> State | None:
            try:
                state = self.ask()
            except msgspec.DecodeError:
                return None
            return state if check(state) else None

        return eventually(look)

    def settled(self) -> State:
        """The gateway's state once it was told of every engine's first outcome."""
        return self.until(lambda state: not any(e.state in ("starting", "restarting") for e in state.engines))

    def children(self) -> list[int]:
        """Living child processes of the supervisor."""
        return [pid for pid in all_pids() if parent_of(pid) == self.process.pid]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def status(self) -> int:
        """The exit status, awaited."""
        return self.process.wait(LIMIT_S)


def say(connection: socket.socket, words: str) -> State:
    connection.sendall(words.encode() + b"\n")
    return msgspec.json.decode(connection.makefile("rb").readline(), type=State)


@contextmanager
def serving(workspace: Path, *arguments: str, lines: int = 2) -> Iterator[Serving]:
    """Start it, wait for its first `lines` lines; whatever is left at the end is killed, by its own id."""
    process = start(workspace, *arguments)
    assert process.stdout is not None
    try:
        printed = [process.stdout.readline().strip() for _ in range(lines)]
        host, port = printed[0].rpartition("//")[2].split(":")
        yield Serving(process, (host, int(port)), printed)
    finally:
        process.kill()
        process.wait(LIMIT_S)
        process.stdout.close()


def start(workspace: Path, *arguments: str, stderr: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "support.standin_serve", str(workspace), *arguments]
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    return subprocess.Popen(command, cwd=TESTS, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def eventually(look: Callable[[], T | None]) -> T:
    """The first answer that is neither None nor False; fails at the deadline."""
    pause = threading.Event()
    for _ in range(round(LIMIT_S / POLL_S)):
        answer = look()
        if answer:
            return answer
        pause.wait(POLL_S)
    raise AssertionError("nothing came of it within the limit")


def end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and SIGKILL where that is not enough in time."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(LIMIT_S)


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def parent_of(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def gone(*pids: int) -> bool:
    return not any(alive(pid) for pid in pids)

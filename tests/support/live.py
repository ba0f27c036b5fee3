"""`trimtab serve` as a user starts it: real processes, real engines, looked at from outside."""

from __future__ import annotations

import atexit
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from support.serving import LIMIT_S, TESTS, all_pids, end, eventually, parent_of
from trimtab.surfaces.server.ask import admin_socket

TRIMTAB = Path(sys.executable).with_name("trimtab")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("admin")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(self._path)


class Live:
    """A running `trimtab serve`."""

    def __init__(self, process: subprocess.Popen[str], workspace: Path, printed: list[str], log: list[str]) -> None:
        self.process, self.workspace, self.printed, self.log = process, workspace, printed, log
        self.port = int(printed[0].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def chat(self, content: str, key: str = "tt-demo-commerce", headers: dict[str, str] | None = None, **fields: Any):
        """(status, headers, body) of a chat request."""
        body = msgspec.json.encode({"messages": [{"role": "user", "content": content}], **fields})
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json", **(headers or {})}
        return self.request("POST", "/v1/chat/completions", body, sent)

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None):
        """One request to the public port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        return _exchange(connection, method, path, body, headers or {})

    def admin(self, method: str, path: str) -> tuple[int, Any]:
        """One request to the admin socket."""
        status, _, body = _exchange(_UnixConnection(admin_socket(self.workspace)), method, path, b"", {})
        return status, msgspec.json.decode(body)

    def admin_text(self, path: str) -> str:
        """What the admin socket has at a path that is no JSON."""
        return _exchange(_UnixConnection(admin_socket(self.workspace)), "GET", path, b"", {})[2].decode()

    def state(self) -> Any:
        return self.admin("GET", "/state")[1]

    def engine(self, name: str) -> Any:
        return next(engine for engine in self.state()["engines"] if engine["name"] == name)

    def gateway_pid(self) -> int:
        return next(pid for pid in self.children() if b"--listen" in _command(pid))

    def children(self) -> list[int]:
        return [pid for pid in all_pids() if parent_of(pid) == self.process.pid]

    def logged(self, text: str) -> bool:
        return any(text in line for line in list(self.log))


def trimtab(*arguments: str, code: int = 0) -> str:
    """Run the command line; what it printed."""
    done = subprocess.run([TRIMTAB, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout


@cache
def _indexes() -> Path:
    """`var/index` of the example, made once for all tests of a process: that takes ten seconds of a core."""
    folder = Path(tempfile.mkdtemp(prefix="trimtab-example-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    trimtab("init", str(folder / "w"))
    trimtab("try", "classify", os.devnull, "--workspace", str(folder / "w"))
    return folder / "w" / "var" / "index"


def indexed_example(workspace: Path) -> None:
    """The example in `workspace`, with all that is derived from its texts."""
    trimtab("init", str(workspace))
    shutil.copytree(_indexes(), workspace / "var" / "index")


def patient_example(workspace: Path) -> None:
    """The example in `workspace`, with deadlines that the busiest machine keeps: behaviour is tested, not speed. The
    support desk talks of anything, without a corpus."""
    indexed_example(workspace)
    for tenant in (workspace / "tenants").glob("*.yaml"):
        text = tenant.read_text().replace("percentile:", "deadline_ms: 60000, percentile:")
        if tenant.stem == "support":
            text = text.replace("    corpus: shop\n    emit: answer\n", "")
        tenant.write_text(text)


@contextmanager
def live(workspace: Path, *options: str, program: Sequence[str | Path] = (TRIMTAB,)) -> Iterator[Live]:
    """Serve the workspace on a free port; ends with whatever is left killed, by its own id."""
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(path)}
    process = subprocess.Popen(
        [*program, "serve", "--workspace", str(workspace), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    log: list[str] = []
    printed: list[str] = []
    ready = threading.Event()
    readers = [
        threading.Thread(target=_read, args=(process.stderr, log, None), daemon=True),
        threading.Thread(target=_read, args=(process.stdout, printed, ready), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        assert ready.wait(60), f"not ready: {printed} {log}"
        yield Live(process, workspace, printed, log)
    finally:
        end(process)
        for reader in readers:
            reader.join(LIMIT_S)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def _read(stream: Any, lines: list[str], ready: threading.Event | None) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))
        if ready is not None and line.startswith(("Stop:", "Make a key:")):
            ready.set()
    if ready is not None:
        ready.set()


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


__all__ = ["Live", "eventually", "indexed_example", "live", "patient_example", "trimtab"]

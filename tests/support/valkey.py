"""A real Redis server of the tests' own, on a Unix socket; without anything on disk, unless it is to be `durable`."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self


class ValkeyServer:
    """`with ValkeyServer(folder) as server: ... server.url`. It can be stopped and started again: empty or, if it is
    `durable`, with all that it had."""

    def __init__(self, folder: Path, *options: str, durable: bool = False) -> None:
        self.path = folder / "redis.sock"
        self._options = [*(("--appendonly", "yes", "--appendfsync", "always") if durable else ()), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        assert program is not None, "no redis-server: apt-get install redis-server"
        arguments = ["--port", "0", "--unixsocket", str(self.path), "--save", "", *self._options]
        self._process = subprocess.Popen(
            [program, *arguments, "--dir", str(self.path.parent)], stdout=subprocess.DEVNULL
        )
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.path.unlink(missing_ok=True)

    def freeze(self) -> None:
        """It is there, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(19)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(18)

    def ask(self, *words: str) -> bytes:
        """One command, its raw answer."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.path))
            parts = b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words)
            line.sendall(b"*%d\r\n%b" % (len(words), parts))
            return line.recv(1 << 20)

    def calls(self) -> int:
        """Scripts that were run so far."""
        told = self.ask("INFO", "commandstats").decode()
        rows = [line for line in told.splitlines() if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))]
        return sum(int(row.partition("calls=")[2].partition(",")[0]) for row in rows)

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

"""python -m benchmarks.connections: see README.md beside this file."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gateway_overhead import workspace as layout
from benchmarks.gateway_overhead.processes import cores, free_port, running
from benchmarks.soak.watch import gateway_pid

TRIMTAB = Path(sys.executable).with_name("trimtab")
KIB = 1024
IDLE_TARGET, SLOW_TARGET = 10 * KIB, 64 * KIB
WARMING = 50
_USED = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: %b\r\n\r\n" % (b"h" * 30_000)


class Gateway:
    """A running gateway process and the address it serves at."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port

    def resident(self) -> int:
        """Bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def settled(self) -> int:
        """The resident set, once it stays the same for a second."""
        seen: list[int] = []
        while len(seen) < 10 or max(seen[-10:]) - min(seen[-10:]) > 256 * KIB:
            seen.append(self.resident())
            time.sleep(0.1)
        return seen[-1]

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(("127.0.0.1", self.port))
        return client


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Gateway, str]]:
    """`trimtab serve` before that model; and a key."""
    upstream = free_port()
    key = layout.write(str(TRIMTAB), folder, upstream)
    port, log = free_port(), folder / "log"
    command = [str(TRIMTAB), "serve", "--workspace", str(folder), "--port", str(port)]
    model = [sys.executable, "-m", "benchmarks.connections.model", str(upstream)]
    with running(model, cores().rest, folder / "model.log"), running(command, cores().gateway, log) as process:
        until = time.monotonic() + 60
        while "Trimtab serves at" not in log.read_text():
            if time.monotonic() > until:
                raise SystemExit(f"the gateway does not start: {log.read_text()}")
            time.sleep(0.1)
        yield Gateway(gateway_pid(process.pid), port), key


def idle(gateway: Gateway, count: int, *, used: bool) -> float:
    """Bytes of each of so many connections that wait for nothing. `used`: each has had an answer, to a long head."""
    opened: list[socket.socket] = []

    def more(number: int) -> None:
        for _ in range(number):
            client = gateway.connect()
            opened.append(client)
            if used:
                client.sendall(_USED)
                assert client.recv(4096).startswith(b"HTTP/1.1 200")

    return _each(gateway, opened, more, count)


def slow(gateway: Gateway, key: str, count: int) -> float:
    """Bytes of each of so many streams whose readers take nothing."""
    opened: list[socket.socket] = []

    def more(number: int) -> None:
        for _ in range(number):
            client = gateway.connect(receive_bytes=4096)
            opened.append(client)
            body = {"messages": [{"role": "user", "content": f"question {len(opened)}"}], "stream": True}
            data = json.dumps(body | {"temperature": 1}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            time.sleep(0.005)

    return _each(gateway, opened, more, count)


def _each(gateway: Gateway, opened: list[socket.socket], more: Callable[[int], None], count: int) -> float:
    """What `count` more cost, after the first few have made all that is made once."""
    try:
        more(WARMING)
        before = gateway.settled()
        more(count)
        return (gateway.settled() - before) / count
    finally:
        for client in opened:
            client.close()


def claim(text: str, ours: float, target: int) -> dict[str, Any]:
    ratio = ours / target
    return {
        "claim": text,
        "ours": round(ours),
        "baseline": target,
        "ratio": round(ratio, 3),
        "target": 1.0,
        "met": ratio <= 1,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.connections", description="Memory of a connection.")
    parser.add_argument("--quick", action="store_true", help="fewer connections, within a minute")
    parser.add_argument("--json", action="store_true", help="one object with the claims")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="takes none: all is made")
    given = parser.parse_args(arguments)
    if given.data:
        parser.error("--data: this benchmark reads no data")
    idlers, streams = (2_000, 200) if given.quick else (10_000, 1_000)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if files < idlers + 500:
        print(f"{idlers} connections need {idlers + 500} open files, the limit is {files}", file=sys.stderr)
        return 2
    claims = []
    with tempfile.TemporaryDirectory() as temporary:
        for text, target, measure in (
            (
                f"{idlers:,} idle connections that asked nothing",
                IDLE_TARGET,
                lambda at, _: idle(at, idlers, used=False),
            ),
            (f"{idlers:,} idle connections after an answer", IDLE_TARGET, lambda at, _: idle(at, idlers, used=True)),
            (f"{streams:,} streams that nobody reads", SLOW_TARGET, lambda at, key: slow(at, key, streams)),
        ):
            with serving(Path(temporary) / str(len(claims))) as (gateway, key):
                claims.append(claim(f"{text}: bytes each", measure(gateway, key), target))
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if given.json:
        print(json.dumps({"date": date, "machine": machine, "quick": given.quick, "claims": claims}))
        return 0
    print(f"{date}, {machine}\n\n| " + " | ".join(claims[0]) + " |\n|" + "---|" * len(claims[0]))
    for row in claims:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

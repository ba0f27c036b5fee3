"""The memory ladder of a real gateway process that is filled with ballast, step by step, up and down."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.aside import upstream_aside
from support.ballast_gateway import FILE, HELD
from support.gateway import KEY, closed_port, replaced, write_workspace
from support.live import Live, live
from support.scrape import parsed, value
from support.serving import TESTS, eventually
from support.upstream import openai
from trimtab.surfaces.ladder import BEGINS, HYSTERESIS, Step

LIMIT_MIB = 256
MIB = 1 << 20
PROGRAM = (sys.executable, "-m", "support.ballast_serve")
NEAR = 0.008


class Loaded:
    """A gateway under a limit, and its ballast."""

    def __init__(self, server: Live) -> None:
        self.server = server
        self.pid = server.gateway_pid()
        self._ballast = 0

    @property
    def memory(self) -> Any:
        return self.server.state()["memory"]

    def fill(self, share: float) -> Step:
        """So much of the limit is used, all in all; the step that the gateway takes there."""
        self._ballast += round((share * LIMIT_MIB * MIB - self._resident()) / MIB)
        hold(self.server.workspace, self._ballast)
        eventually(lambda: abs(self.memory["used_bytes"] / MIB / LIMIT_MIB - share) < NEAR)
        return Step[self.memory["step"].upper()]

    def _resident(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def ask(self, question: str) -> tuple[int, dict[str, str], bytes]:
        return self.server.chat(question, key=KEY, temperature=0)

    def keeps_alive(self) -> bool:
        """Whether a connection is open after an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)) as connection:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
            return answer.getheader("connection") != "close"


def hold(workspace: Path, mib: int) -> None:
    """Have the gateway hold so much, and wait until it does."""
    fresh = workspace / f"{FILE}.new"
    fresh.write_text(str(mib))
    fresh.replace(workspace / FILE)
    held = workspace / HELD
    eventually(lambda: held.is_file() and held.read_text() == str(mib))


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    limited = replaced("trimtab.yaml", "demo: false", f"demo: false\nmemory_limit_mib: {LIMIT_MIB}")
    with upstream_aside(openai) as url:
        write_workspace(tmp_path, url, url, limited)
        with live(tmp_path, program=PROGRAM) as server:
            yield Loaded(server)


def test_the_ladder_under_ballast(loaded: Loaded) -> None:
    """Up: caches, idle timeouts, keep-alive, refusals; down again with hysteresis; the process is the same throughout,
    and health and metrics always answer."""
    server = loaded.server

    def entries() -> int:
        return int(server.state()["cache"]["entries"])

    assert loaded.memory["step"] == "normal"
    assert loaded.memory["limit_of"] == "memory_limit_mib"
    assert loaded.ask("one")[0] == 200
    eventually(lambda: entries() == 1)

    assert loaded.fill(0.75) is Step.SPARE
    assert loaded.ask("two")[0] == 200
    assert (loaded.ask("one")[1]["trimtab-path"], entries()) == (
        "cache-exact",
        1,
    )  # kept, and no more added

    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as idle:
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        assert loaded.fill(0.88) is Step.HURRY
        assert entries() == 0
        assert idle.sock.recv(1) == b""  # within 5 s, in place of 75
    assert loaded.keeps_alive()

    assert loaded.fill(0.935) is Step.CLOSE
    assert not loaded.keeps_alive()
    assert loaded.ask("three")[0] == 200
    assert server.request("GET", "/readyz")[0] == 200

    assert loaded.fill(0.965) is Step.REFUSE
    _refused(loaded)

    assert loaded.fill(BEGINS[Step.REFUSE] - HYSTERESIS / 2) is Step.REFUSE  # not yet
    assert loaded.fill(BEGINS[Step.REFUSE] - 1.5 * HYSTERESIS) is Step.CLOSE
    assert loaded.ask("four")[0] == 200
    assert loaded.fill(0.5) is Step.NORMAL
    assert loaded.keeps_alive()
    assert loaded.ask("five")[0] == 200
    eventually(lambda: entries() == 1)
    assert server.gateway_pid() == loaded.pid
    for words in ("caches are not filled", "new requests are refused", "nothing is held back"):
        eventually(lambda words=words: server.logged(words))


def _refused(loaded: Loaded) -> None:
    """What a gateway that is full still does, and what not."""
    server = loaded.server
    before = server.state()["requests"]
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Content-Length: 100000", "Expect: 100-continue"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        with connection.makefile("rb") as reader:
            got = reader.read()
    status, _, rest = got.partition(b"\r\n")
    assert status == b"HTTP/1.1 503 Service Unavailable"  # and no `100 Continue`: the body is not wanted
    assert b"connection: close" in rest
    status_, headers, body = loaded.ask("no")
    error = msgspec.json.decode(body)["error"]
    assert (status_, error["code"]) == (503, "overloaded")
    assert "% of 256 MiB" in error["message"]
    assert 1 <= int(headers["retry-after"]) <= 30
    assert server.request("GET", "/healthz")[0] == 200
    status_, _, said = server.request("GET", "/readyz")
    assert (status_, msgspec.json.decode(said)) == (503, {"status": "overloaded"})
    found = parsed(server.request("GET", "/metrics")[2].decode())
    assert value(found, "trimtab_memory_step") == Step.REFUSE
    assert value(found, "trimtab_memory_limit_bytes") == LIMIT_MIB * MIB
    assert value(found, "trimtab_memory_used_bytes") > 0.95 * LIMIT_MIB * MIB
    assert value(found, "trimtab_http_refused_total", code="overloaded") == 2
    state = server.state()
    assert "memory is nearly used up" in state["overloaded"]
    assert state["requests"] == before  # no record is made


def test_a_limit_under_which_nothing_could_be_served_is_refused_at_the_start(tmp_path: Path) -> None:
    """The start ends with what the gateway takes, and with what to write."""
    nobody = f"http://127.0.0.1:{closed_port()}"
    (tmp_path / FILE).write_text("80")
    limited = replaced("trimtab.yaml", "demo: false", "demo: false\nmemory_limit_mib: 64")
    write_workspace(tmp_path, nobody, nobody, limited)
    done = subprocess.run(
        [*PROGRAM, "serve", "--workspace", str(tmp_path), "--port", "0"],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "trimtab.yaml: memory_limit_mib: the gateway takes" in done.stderr
    assert "Write at least" in done.stderr

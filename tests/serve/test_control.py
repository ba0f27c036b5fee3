"""The control process beside a gateway: alerts are told while `trimtab serve` runs, and its death costs no request."""

from __future__ import annotations

import os
import signal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import msgspec
import pytest

from support.live import Live, live, patient_example, trimtab
from support.serving import eventually
from trimtab.surfaces.processes.priority import LEVEL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def receiver(told: SimpleQueue[bytes]) -> HTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def control_pid(server: Live) -> int:
    return next(pid for pid in server.children() if b"processes.control" in Path(f"/proc/{pid}/cmdline").read_bytes())


def taken_in(folder: Path) -> int:
    """Rows of the lake, as its own command tells."""
    return int(msgspec.json.decode(trimtab("lake", "status", "--workspace", str(folder), "--json"))["rows"])


def priorities(pid: int) -> set[int]:
    """Of a process's threads (proc(5): `nice`)."""
    found = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat"))
    return {int(one.rsplit(")", 1)[1].split()[16]) for one in found}


def test_an_alert_is_told_while_the_gateway_serves(tmp_path: Path) -> None:
    """A month's spend is over at the first request: the webhook hears of it. Killed before, control is started again;
    requests are answered meanwhile. The lake takes in what is recorded, behind all else."""
    folder, told = tmp_path / "ws", SimpleQueue[bytes]()
    patient_example(folder)
    settings = folder / "trimtab.yaml"
    settings.write_text(settings.read_text() + "\nlake: {follow_s: 1}\n")
    webhook = receiver(told)
    with live(folder) as server:
        first = control_pid(server)
        os.kill(first, signal.SIGKILL)
        status, _, _ = server.chat("Hello", key="tt-demo-support", max_tokens=4)
        assert status == 200
        assert eventually(lambda: control_pid(server) != first)
        server.admin("POST", "/records/flush")
        document = {
            "objectives": [{"channels": ["support/*"], "objective": "spend", "usd": "0.000000001", "window": "month"}],
            "receivers": {
                "ops": {"kind": "webhook", "url": f"http://127.0.0.1:{webhook.server_port}/", "private": True}
            },
        }
        assert eventually(lambda: taken_in(folder) == 1)
        assert priorities(control_pid(server)) == {0, LEVEL}  # the lake gives way, alerts do not
        (folder / "slo.yaml").write_bytes(msgspec.json.encode(document))
        body = msgspec.json.decode(told.get(timeout=60))
    webhook.shutdown()
    webhook.server_close()
    assert (body["state"], body["tenant"]) == ("firing", "support")

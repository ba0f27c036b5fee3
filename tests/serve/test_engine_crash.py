"""An engine that is killed under a stream, one of two replicas: the real ones, from outside."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.live import Live, eventually, live, patient_example
from trimtab.controlplane.records import find
from trimtab.core.record import Record

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
STORY = "Tell me a long story about a fox and a gateway, with many animals in it."


def workspace(folder: Path) -> Path:
    """The example with two engines for tier S, one request at once each, and no other tier."""
    patient_example(folder)
    models, settings = folder / "models.yaml", folder / "trimtab.yaml"
    text = models.read_text().replace("endpoint: engine:small #", "endpoint: [engine:small, engine:twin] #")
    text = text.replace("    tier: S\n", "    tier: S\n    health: {slow_start_s: 3}\n").replace(
        "slots: 4 #", "slots: 1 #"
    )
    models.write_text(text.replace("max_tokens: 128", "max_tokens: 600"))
    twin = "  twin: {model: bundled, slots: 1, context: 2048}\nstorage:"
    settings.write_text(settings.read_text().replace("    slots: 4 #", "    slots: 1 #").replace("storage:", twin, 1))
    return folder


class Stream:
    """A streamed answer, read as it comes."""

    def __init__(self, server: Live, tokens: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        asked = [{"role": "user", "content": STORY}]
        body: dict[str, Any] = {"messages": asked, "model": "tier:S", "stream": True}
        body |= {"max_tokens": tokens, "temperature": 1}
        headers = {"authorization": "Bearer tt-demo-support", "content-type": "application/json"}
        self._connection.request("POST", "/v1/chat/completions", msgspec.json.encode(body), headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        self.record = self._answer.headers["trimtab-record"]
        while b'"content":"' not in self._answer.readline():
            pass

    def rest(self) -> bytes:
        """To its end, however that is."""
        read = b""
        try:
            while line := self._answer.readline():
                read += line
        except (http.client.HTTPException, OSError):
            pass
        self._connection.close()
        return read


def test_a_crashed_engine_costs_its_own_streams_and_comes_back(tmp_path: Path) -> None:
    """The stream that it wrote ends with an error event and is no whole answer; all that is asked meanwhile is answered
    by the other one; started again it gets its share slowly, and then answers as before."""
    folder = workspace(tmp_path / "ws")

    def row(record: str) -> Record:
        found = find(folder / "var" / "records", record)
        assert found is not None
        return found

    with live(folder) as server:

        def view(replica: str) -> dict[str, Any]:
            replicas = server.admin("GET", "/fleet")[1]["replicas"]["small"]
            return next((one for one in replicas if one["id"] == replica), {"health": "gone"})

        def ask() -> str | None:
            """Who answered."""
            status, headers, body = server.chat("Hello", "tt-demo-support", model="tier:S", temperature=1, max_tokens=2)
            assert status == 200, body
            return row(headers["trimtab-record"]).replica

        names = ("small", "twin")
        assert eventually(lambda: all(server.engine(name)["state"] == "ready" for name in names))
        stream = Stream(server, 600)
        (victim,) = (name for name in names if view(f"engine:{name}")["running"])
        (other,) = set(names) - {victim}
        before = server.engine(victim)
        os.kill(before["pid"], signal.SIGKILL)
        said = stream.rest()
        assert b"upstream_failed" in said
        assert b"[DONE]" not in said
        assert ask() == f"engine:{other}"
        assert (row(stream.record).replica, row(stream.record).attempts[0].reason) == (f"engine:{victim}", "cut")
        seen: set[str] = set()

        def back() -> bool:
            seen.add(view(f"engine:{victim}")["health"])
            assert ask() is not None
            return server.engine(victim)["state"] == "ready" and view(f"engine:{victim}")["health"] == "well"

        assert eventually(back)
        assert "slow" in seen, seen
        assert server.engine(victim)["pid"] != before["pid"]
        streams = [Stream(server, 150) for _ in names]
        running = {name for name in names if view(f"engine:{name}")["running"]}
        assert running == set(names), "each has one slot: both are asked"
        for one in streams:
            assert b"[DONE]" in one.rest()

"""SIGTERM to a real gateway with a stream under way: through the supervisor, to the gateway itself, once and twice."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, chat, write_workspace
from support.live import Live, live
from support.serving import eventually, gone
from support.upstream import Delay, Seen, Step, chunk, stream

EVENTS = "text/event-stream"


class Streaming:
    """A gateway, and one stream through it that ends when it is let go."""

    def __init__(self, server: Live, go: threading.Event) -> None:
        self.server, self.go = server, go
        self.gateway = server.gateway_pid()
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self._connection.request("POST", "/v1/chat/completions", chat_body("old", stream=True), HEADERS)
        self._answer = self._connection.getresponse()
        assert self._answer.getheader("content-type", "").startswith(EVENTS)
        assert b"first" in self.event()

    def event(self) -> bytes:
        """The next event's line."""
        while not (line := self._answer.readline()).startswith(b"data: ") and line:
            pass
        return line

    def rest(self) -> bytes:
        return self._answer.read()

    def close(self) -> None:
        self._connection.close()


def chat_body(text: str, **fields: object) -> bytes:
    return chat(text, temperature=1, **fields).partition(b"\r\n\r\n")[2]


HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def patient(documents: dict[str, str]) -> None:
    """Streams may take a minute."""
    shop = documents["tenants/shop.yaml"]
    documents["tenants/shop.yaml"] = shop.replace("e2e_ms: 4000", "e2e_ms: 4000, deadline_ms: 60000")


@pytest.fixture
def streaming(tmp_path: Path) -> Iterator[Streaming]:
    go = threading.Event()

    def script(seen: Seen) -> Iterable[Step]:
        head, *rest = stream(["last"])
        yield head
        yield chunk({"content": "first"})
        while not go.is_set():
            yield Delay(0.02)
        yield from rest

    with upstream_aside(script) as url:
        write_workspace(tmp_path, url, url, patient)
        with live(tmp_path) as server, closing(Streaming(server, go)) as under_way:
            yield under_way
            go.set()


def test_a_drain_ends_streams_whole_and_refuses_what_is_new(streaming: Streaming) -> None:
    """SIGTERM to the supervisor: new requests get 503 and Retry-After, on new connections, on one that was idle and on
    one that has asked nothing yet; /readyz says no; the stream ends whole, and then everything, with status 0."""
    server = streaming.server
    with (
        closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as idle,
        closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as fresh,
    ):
        idle.request("GET", "/readyz")
        assert idle.getresponse().read() == b'{"status":"ready"}'
        fresh.connect()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.state()["draining"])
        for connection in (idle, fresh, http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)):
            connection.request("POST", "/v1/chat/completions", chat_body("new"), HEADERS)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("connection")) == (503, "close")
            assert answer.getheader("retry-after") == "1"
            assert msgspec.json.decode(answer.read())["error"]["code"] == "draining"
            connection.close()
    status, headers, body = server.request("GET", "/readyz")
    assert (status, headers["connection"], body) == (503, "close", b'{"status":"draining"}')
    assert server.request("GET", "/healthz")[0] == 200
    streaming.go.set()
    assert streaming.rest().rstrip().endswith(b"data: [DONE]")
    assert server.process.wait(20) == 0
    assert gone(streaming.gateway)


def test_a_second_sigterm_stops_at_once(streaming: Streaming) -> None:
    """The stream is cut where it is, so that its reader sees an error; the status tells the signal."""
    server = streaming.server
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.state()["draining"])
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 128 + signal.SIGTERM
    assert gone(streaming.gateway)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        streaming.rest()


def test_a_second_sigterm_to_the_gateway_itself_stops_it_at_once(streaming: Streaming) -> None:
    """The first drains it; after the second it is gone, and another serves."""
    server, pid = streaming.server, streaming.gateway
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: server.state()["draining"])
    os.kill(pid, signal.SIGTERM)
    assert eventually(lambda: gone(pid))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        streaming.rest()
    assert server.request("GET", "/healthz")[0] == 200  # waits in the backlog until the next gateway is there
    assert server.gateway_pid() != pid


def test_a_signal_to_all_processes_is_one_drain(streaming: Streaming) -> None:
    """As service managers send it: the gateway hears of it twice, by its supervisor and by itself, and cuts nothing."""
    server = streaming.server
    for pid in (server.process.pid, streaming.gateway):
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: server.state()["draining"])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(chat("new"))
        assert connection.recv(12) == b"HTTP/1.1 503"
    streaming.go.set()
    assert streaming.rest().rstrip().endswith(b"data: [DONE]")
    assert server.process.wait(20) == 0

"""What connections can hold of a gateway: memory while they are idle or not read, tickets and money while slow.

`benchmarks/connections` measures ten times as many.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.aside import upstream_aside
from support.gateway import Gateway, chat, closed_port, replaced, write_workspace
from support.live import Live, live
from support.rawhttp import RawClient, request
from support.serving import eventually
from support.upstream import Hang, ScriptedUpstream, Seen, Step, chunk, stream
from trimtab.surfaces.twin import Direction, Link, run_virtual

KIB = 1024
LONG = "X-Long: " + "h" * 30_000


@contextmanager
def sockets() -> Iterator[list[socket.socket]]:
    """To keep what was opened; all of it is closed at the end, however the test ends."""
    opened: list[socket.socket] = []
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


@contextmanager
def growth(server: Live) -> Iterator[Callable[[], int]]:
    """By how many bytes the gateway's resident set has grown, once it stands still."""
    pid = server.gateway_pid()
    pause = threading.Event()

    def resident() -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def still() -> int:
        seen: list[int] = []

        def stands() -> bool:
            pause.wait(0.05)
            seen.append(resident())
            return len(seen) >= 10 and max(seen[-10:]) - min(seen[-10:]) < 128 * KIB

        eventually(stands)
        return seen[-1]

    before = still()
    yield lambda: still() - before


def test_idle_connections_cost_less_than_10_kb(tmp_path: Path) -> None:
    """Of a real gateway, whether they asked nothing yet or have had an answer to a head of 30 KB."""
    nobody = f"http://127.0.0.1:{closed_port()}"
    write_workspace(tmp_path, nobody, nobody)
    with live(tmp_path) as server, sockets() as opened:

        def more(count: int) -> None:
            for number in range(count):
                client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
                opened.append(client)
                if number % 2:
                    client.sendall(request("GET", "/healthz", b"", LONG))
                    assert client.recv(4096).startswith(b"HTTP/1.1 200")

        more(50)
        with growth(server) as grown:
            more(1000)
            assert grown() <= 1000 * 10 * KIB


def test_a_stream_that_nobody_reads_costs_less_than_64_kib(tmp_path: Path) -> None:
    """Of a real gateway: all that such a request holds, while its model would send much more."""

    def script(seen: Seen) -> Iterable[Step]:
        head, *_ = stream([])
        yield head
        for _ in range(1500):
            yield chunk({"content": " word"})
        yield Hang()

    def patient(documents: dict[str, str]) -> None:
        shop = documents["tenants/shop.yaml"].replace("e2e_ms: 4000", "e2e_ms: 60000, deadline_ms: 60000")
        shop = shop.replace("ttft_ms: 1000", "ttft_ms: 59000").replace("e2e_ms: 2000", "e2e_ms: 60000")  # none is late
        documents["tenants/shop.yaml"] = shop.replace('usd: "10"', 'usd: "1000"')
        documents["models.yaml"] = documents["models.yaml"].replace("slots: 4", "slots: 500")

    with upstream_aside(script) as url:
        write_workspace(tmp_path, url, url, patient)
        with live(tmp_path) as server, sockets() as opened:

            def more(count: int) -> None:
                for _ in range(count):
                    client = socket.socket()
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    client.connect(("127.0.0.1", server.port))
                    opened.append(client)
                    client.sendall(chat(f"{len(opened)}", stream=True, temperature=1))
                eventually(lambda: running() == len(opened))

            def running() -> int:
                return int(server.state()["gates"]["small"]["running"])

            more(30)
            with growth(server) as grown:
                more(150)
                assert grown() <= 150 * 64 * KIB
            for client in opened:
                client.close()
            eventually(lambda: running() == 0)


def test_a_reader_that_stops_holds_ticket_and_money_until_the_deadline_only(tmp_path: Path) -> None:
    """The contract ends the stream, whether or not its client ever reads on; then its connection goes, too."""

    async def main() -> None:
        texts = [f"word{number} " * 50 for number in range(2000)]
        roomy = [
            replaced("models.yaml", "prompt: brief, max_tokens: 200", "prompt: brief, max_tokens: 100000"),
            replaced("models.yaml", "context: 8192, slots: 4", "context: 200000, slots: 4"),
        ]
        async with (
            ScriptedUpstream(lambda seen: stream(texts)) as up,
            Gateway(tmp_path, up.url, None, *roomy) as gateway,
        ):
            async with RawClient(gateway.port) as client:
                client.send(chat("much", stream=True))
                client.transport.pause_reading()
                await asyncio.sleep(1)
                assert gateway.plane.gates.views()["small"].running == 1
                await gateway.sink.reached(1)
                gateway.assert_nothing_held()
                assert gateway.records[0].code == "deadline_exceeded"
                await asyncio.sleep(80)  # more than the idle timeout
                assert gateway.listener.connections == 0

    run_virtual(main, link=Link(down=Direction(window_bytes=4096)))


@pytest.mark.parametrize("how", ["nothing more comes", "half-closed", "cut"])
def test_a_writer_that_stops_holds_no_ticket_and_no_money(tmp_path: Path, how: str) -> None:
    """A body that does not go on is given up after its time, at once where its client has left; while it is waited for
    nothing is held."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway, RawClient(gateway.port) as client:
            client.send(chat("long " * 1000)[:-100])
            await asyncio.sleep(1)
            assert gateway.listener.active == 1
            gateway.assert_nothing_held()
            if how == "half-closed":
                client.half_close()
            elif how == "cut":
                client.hang_up()
            await gateway.sink.reached(1)
            took = asyncio.get_running_loop().time()
            gateway.assert_nothing_held()
            if how == "nothing more comes":
                assert (gateway.last.code, took > 25) == ("request_timeout", True)
                assert (await client.answer()).status == 408
            else:
                assert (gateway.last.code, took < 2) == ("client_closed", True)
            assert up.requests == []

    run_virtual(main)


def test_half_closed_streams_give_all_back(tmp_path: Path) -> None:
    """A client that sends no more is gone: its stream's token, its money and its upstream go in the same turn."""

    async def main() -> None:
        head, *_ = stream([])
        steps = [head, chunk({"content": "first"}), Hang()]
        async with ScriptedUpstream(lambda seen: steps) as up, Gateway(tmp_path, up.url) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(chat("held", stream=True))
                await client.head()
                assert gateway.plane.gates.views()["small"].running == 1
                client.half_close()
                await up.hung_up()
                await gateway.sink.reached(1)
                gateway.assert_nothing_held()
                assert gateway.last.code == "client_closed"

    run_virtual(main)

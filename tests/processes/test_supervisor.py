"""The supervisor over real child processes: a gateway and engines that are all plumbing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from support.serving import alive, eventually, gone, say, serving, start
from trimtab.surfaces.processes import PortTakenError, listen, listen_together


def test_tells_where_it_serves_and_gives_the_gateways_hints(tmp_path: Path) -> None:
    """Once gateway and engines are up, address and hints are on stdout, and a clean stop ends with status 0."""
    with serving(tmp_path, "small=bundled", "medium=bundled") as server:
        assert server.printed == ["Trimtab serves at http://{}:{}".format(*server.address), "a hint"]
        assert {e.name: e.state for e in server.settled().engines} == {"small": "ready", "medium": "ready"}
        server.signal(signal.SIGTERM)
        assert server.status() == 0


def test_a_killed_engine_comes_back_at_an_address_that_the_gateway_is_told(tmp_path: Path) -> None:
    """After kill -9 of an engine the gateway is told that it is gone, and then of a new process with a new key."""
    with serving(tmp_path, "small=bundled", "medium=bundled") as server:
        before = server.settled()
        pid = before.engine("small").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        after = server.until(lambda state: state.engine("small").pid not in (None, pid))
        small = after.engine("small")
        assert small.state == "ready"
        assert small.restarts == 1
        assert small.api_key != before.engine("small").api_key
        assert after.engine("medium") == before.engine("medium")
        assert answers(small.url) == f"{small.pid} {small.api_key}"


def test_a_killed_gateway_comes_back_while_engines_stay_and_callers_wait(tmp_path: Path) -> None:
    """A connection made while no gateway runs waits in the backlog and is answered by the next; engines keep their
    processes."""
    with serving(tmp_path, "small=bundled") as server:
        before = server.settled()
        os.kill(before.pid, signal.SIGSTOP)  # nobody accepts from here on
        with server.connect() as waiting:
            waiting.sendall(b"state\n")
            os.kill(before.pid, signal.SIGKILL)
            after = say(waiting, "")
            assert after.pid != before.pid
        assert server.until(lambda state: bool(state.engines)).engines == before.engines


def test_a_killed_supervisor_leaves_no_child(tmp_path: Path) -> None:
    """After kill -9 of the supervisor every child is gone."""
    with serving(tmp_path, "small=bundled", "medium=bundled") as server:
        children = server.children()
        assert len(children) == 3
        server.signal(signal.SIGKILL)
        assert server.status() == -signal.SIGKILL
        assert eventually(lambda: gone(*children))


def test_a_killed_supervisor_takes_a_busy_gateway_with_it(tmp_path: Path) -> None:
    """A gateway in the middle of a stream goes when its supervisor does."""
    with serving(tmp_path, "small=bundled") as server, server.connect() as held:
        pid = say(held, "hold").pid
        server.signal(signal.SIGKILL)
        assert eventually(lambda: gone(pid))


def test_ctrl_c_drains_and_ends_all_with_status_0(tmp_path: Path) -> None:
    """SIGINT to everybody at once, as a terminal sends it, cuts no stream and is a clean stop."""
    with serving(tmp_path, "small=bundled") as server:
        children = server.children()
        with server.connect() as stream:
            say(stream, "hold")
            for pid in (server.process.pid, *children):
                os.kill(pid, signal.SIGINT)
            assert server.until(lambda state: state.draining).engine("small").state == "ready"
            assert all(alive(pid) for pid in children)
        assert server.status() == 0
        assert gone(*children)


def test_draining_waits_for_the_last_stream_and_goes_on_accepting(tmp_path: Path) -> None:
    """After SIGTERM new connections are answered by a draining gateway; it ends only when the held one does."""
    with serving(tmp_path, "small=bundled") as server:
        children = server.children()
        with server.connect() as stream:
            say(stream, "hold")
            server.signal(signal.SIGTERM)
            assert server.until(lambda state: state.draining).engine("small").state == "ready"
            assert all(alive(pid) for pid in children)
            assert server.process.poll() is None
        assert server.status() == 0
        assert gone(*children)


def test_sigterm_to_the_gateway_itself_drains_it_and_another_follows(tmp_path: Path) -> None:
    """SIGTERM straight to the gateway lets its stream end, then a new gateway takes over."""
    with serving(tmp_path) as server, server.connect() as stream:
        before = say(stream, "hold")
        os.kill(before.pid, signal.SIGTERM)
        assert server.until(lambda state: state.draining).pid == before.pid
        stream.shutdown(socket.SHUT_WR)
        assert stream.makefile("rb").readline() == b"end\n"
        assert server.until(lambda state: state.pid != before.pid).draining is False


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """While a stream holds the drain up, another SIGTERM ends everything with a status that tells."""
    with serving(tmp_path, "small=bundled") as server:
        children = server.children()
        with server.connect() as stream:
            say(stream, "hold")
            server.signal(signal.SIGTERM)
            server.until(lambda state: state.draining)
            server.signal(signal.SIGTERM)
            assert server.status() == 128 + signal.SIGTERM
            assert gone(*children)


def test_an_engine_that_cannot_start_is_said_once_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A missing model file fails its engine alone: one line in the log, the gateway told why, the others serve."""
    with (tmp_path / "log").open("w") as log:
        process = start(tmp_path, "small=bundled", "gone=missing", stderr=log.fileno())
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("Trimtab serves at ")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()
    log_lines = (tmp_path / "log").read_text().splitlines()
    assert "WARNING E could not open a file" in log_lines  # what it prints before it serves
    told = [line for line in log_lines if "gone" in line]
    assert told == ["ERROR engine gone can't start: the model file missing does not exist"]


def test_of_what_a_serving_engine_prints_only_a_failed_assertion_is_shown(tmp_path: Path) -> None:
    """It names a place in the source; all else may hold what was asked."""
    with (tmp_path / "log").open("w") as log:
        process = start(tmp_path, "small=talks", stderr=log.fileno())
    assert process.stdout is not None
    try:
        address = process.stdout.readline().rpartition("//")[2].split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=20) as connection:
            engine = say(connection, "state").engine("small")
        assert engine.url is not None
        host, port = engine.url.rpartition("//")[2].split(":")
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.makefile("rb").readline()
        eventually(lambda: "GGML_ASSERT" in (tmp_path / "log").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()
    told = (tmp_path / "log").read_text()
    assert "WARNING /src/ggml/ggml.c:42: GGML_ASSERT(n > 0) failed" in told
    assert "secret" not in told


def test_a_failed_engine_is_failed_to_the_gateway_until_asked_for_again(tmp_path: Path) -> None:
    """The gateway learns the reason; a request to start tries once more and reports once more."""
    with serving(tmp_path, "gone=missing") as server:
        assert server.settled().engine("gone").state == "failed"
        assert server.settled().engine("gone").detail == "the model file missing does not exist"
        server.ask("start gone")
        assert server.until(lambda state: state.engine("gone").state == "failed").engine("gone").restarts == 0


def test_stop_really_ends_an_engine_and_start_brings_it_back(tmp_path: Path) -> None:
    """`engine stop` ends the process and nobody restarts it; `engine start` gives a new one."""
    with serving(tmp_path, "small=bundled") as server:
        pid = server.settled().engine("small").pid
        assert pid is not None
        server.ask("stop small")
        stopped = server.until(lambda state: state.engine("small").state == "stopped")
        assert gone(pid)
        assert stopped.engine("small").url is None
        server.ask("start small")
        again = server.until(lambda state: state.engine("small").state == "ready").engine("small")
        assert again.pid != pid
        assert again.restarts == 0


def test_an_engine_that_keeps_crashing_is_tried_with_growing_pauses(tmp_path: Path) -> None:
    """A crash loop backs off, doubling; it holds the announcement up, not the gateway."""
    process = start(tmp_path, "small=bundled", "bad=crash", stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        tries = (line.strip() for line in process.stderr if "engine bad" in line)
        assert [next(tries) for _ in range(3)] == [
            f"WARNING engine bad was ended by SIGKILL; starting it again in {pause} s"
            for pause in ("0.2", "0.4", "0.8")
        ]
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def test_a_broken_workspace_ends_with_its_problems_one_a_line(tmp_path: Path) -> None:
    """Before it has ever served, a workspace that the gateway can't load ends the supervisor with status 1."""
    (tmp_path / "broken").touch()
    process = start(tmp_path, "small=bundled", stderr=subprocess.PIPE)
    printed, log = process.communicate(timeout=20)
    assert process.returncode == 1
    assert printed == ""
    assert log.splitlines()[-2:] == [
        "trimtab.yaml:1: engines: what is this?",
        "trimtab.yaml:2: server.port: expected a number",
    ]


def test_a_workspace_broken_later_does_not_end_the_supervisor(tmp_path: Path) -> None:
    """A gateway that dies after a bad edit is tried again until the edit is undone; engines stay warm."""
    with serving(tmp_path, "small=bundled") as server:
        before = server.settled()
        (tmp_path / "broken").touch()
        os.kill(before.pid, signal.SIGKILL)
        with server.connect() as waiting:
            eventually(lambda: len(server.children()) == 1)  # the engine alone: the new gateway refused to start
            (tmp_path / "broken").unlink()
            assert say(waiting, "state").pid != before.pid
        assert server.until(lambda state: bool(state.engines)).engines == before.engines


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """A port that somebody listens on is a PortTakenError that names it."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} of 127.0.0.1"):
            listen("127.0.0.1", port)


def answers(url: str | None) -> str:
    """What the stand-in engine says to whoever connects: pid and key."""
    assert url is not None
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        return connection.makefile().readline().strip()


def test_several_gateways_share_an_address_and_each_comes_back_alone(tmp_path: Path) -> None:
    """Connections reach all of them; one that is killed is started again while the others go on; SIGTERM drains all,
    and each still answers, wherever the kernel sends a connection, until the last stream of any has ended."""
    with serving(tmp_path, "small=bundled", "--gateways", "3") as server:
        seen: set[int] = set()
        eventually(lambda: seen.add(server.ask().pid) or len(seen) == 3)
        victim, *others = sorted(seen)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: seen.add(server.ask().pid) or len(seen) == 4)
        assert not gone(*others)
        with server.connect() as stream:
            say(stream, "hold")
            server.signal(signal.SIGTERM)
            asked = [server.until(lambda state: state.draining).pid for _ in range(100)]  # none is refused or reset
            assert set(asked) == seen - {victim}
        assert server.status() == 0
        assert gone(*seen)


def test_a_second_sigterm_ends_all_gateways_at_once(tmp_path: Path) -> None:
    """A stream that would never end holds nobody up then."""
    with serving(tmp_path, "--gateways", "2") as server, server.connect() as stream:
        children = server.children()
        assert len(children) == 2
        say(stream, "hold")
        server.signal(signal.SIGTERM)
        server.until(lambda state: state.draining)
        server.signal(signal.SIGTERM)
        assert server.status() == 128 + signal.SIGTERM
        assert gone(*children)


def test_an_address_that_gateways_share_is_still_one_supervisors(tmp_path: Path) -> None:
    """Sharing a port among our own processes opens it to no other supervisor of the same user."""
    first = listen_together("127.0.0.1", 0, 2)
    try:
        with pytest.raises(PortTakenError):
            listen_together("127.0.0.1", first[0].getsockname()[1], 2)
    finally:
        for sock in first:
            sock.close()

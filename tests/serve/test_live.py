"""The example as `make run` starts it: a real model behind the whole gateway, real processes, real kills."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from support.gateway import events, text_of
from support.live import Live, eventually, live, patient_example, trimtab
from support.scrape import parsed, value
from support.serving import gone
from trimtab.controlplane.metrics import FAMILIES

DESK = "tt-demo-support"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]


def test_the_printed_curl_works_as_printed(server: Live) -> None:
    """Address, keys and a request that answers with a real model, and `explain last` that explains it."""
    start = next(index for index, line in enumerate(server.printed) if "curl" in line)
    command = "\n".join(server.printed[start : start + 2])
    done = subprocess.run(shlex.split(command.replace("\\\n", " ")), capture_output=True, check=True, timeout=60)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    answer = msgspec.json.decode(body)
    assert head.startswith(b"HTTP/1.1 200")
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0
    assert any("tt-demo-commerce" in line for line in server.printed)
    assert answer["trimtab"]["record"] in trimtab("explain", "--workspace", str(server.workspace))  # at once
    said = trimtab("explain", answer["trimtab"]["record"], "--workspace", str(server.workspace))
    assert "3 to 5 working days" in answer["choices"][0]["message"]["content"]
    for word in ("rag", "small-brief", "engine:small", "full-tier-waits-then-reroutes", "settled"):
        assert word in said
    machine = msgspec.json.decode(
        trimtab("explain", answer["trimtab"]["record"], "--json", "--workspace", str(server.workspace)).encode()
    )
    assert machine["header"]["status"] == 200


def test_a_stream_of_the_real_model_is_counted_by_the_model(server: Live) -> None:
    """Usage is the engine's own, and equals what a whole answer of the same question says."""
    status, _, body = server.chat(
        "Name a colour.",
        key="tt-demo-support",
        model="tier:M",
        temperature=0,
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert status == 200
    usage = events(body)[-2]["usage"]
    status, _, whole = server.chat("Name a colour.", key="tt-demo-support", model="tier:M", temperature=0, max_tokens=8)
    answer = msgspec.json.decode(whole)
    assert answer["choices"][0]["message"]["content"] == text_of(body)
    assert answer["usage"]["completion_tokens"] == usage["completion_tokens"]
    assert answer["usage"]["prompt_tokens"] == usage["prompt_tokens"]


def test_two_choices_are_both_counted(server: Live) -> None:
    """llama.cpp's usage counts one choice of several; ours counts them all."""
    status, _, body = server.chat("Say something.", key=DESK, n=2, max_tokens=5, temperature=1, seed=3)
    answer = msgspec.json.decode(body)
    assert status == 200
    assert len(answer["choices"]) == 2
    assert answer["usage"]["completion_tokens"] == 10


def test_demo_keys_channels_and_models(server: Live) -> None:
    """Each demo key lists what it may send; HR forbids system messages of its callers."""
    for key, pins in (("commerce", {"tier:S", "tier:M"}), ("support", {"medium-greedy"}), ("hr", set())):
        status, _, body = server.request("GET", "/v1/models", headers={"authorization": f"Bearer tt-demo-{key}"})
        names = {row["id"] for row in msgspec.json.decode(body)["data"]}
        assert status == 200
        assert pins <= names
        assert {"auto", "gpt-4o"} <= names
    body = msgspec.json.encode({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]})
    status, _, said = server.request(
        "POST", "/v1/chat/completions", body, {"authorization": "Bearer tt-demo-hr", "content-type": "application/json"}
    )
    assert (status, msgspec.json.decode(said)["error"]["code"]) == (403, "system_not_allowed")


def test_a_stopped_engine_reroutes_and_a_started_one_takes_over_again(server: Live) -> None:
    """The admin socket stops the small tier's engine: requests go to M; started again, to S."""
    assert server.admin("POST", "/engines/small/stop") == (202, {"engine": "small", "asked": "stop"})
    eventually(lambda: server.engine("small")["state"] == "stopped")
    status, headers, _ = server.chat("One?", key=DESK, max_tokens=2, temperature=1)
    assert (status, headers["trimtab-tier"]) == (200, "M")
    server.admin("POST", "/engines/small/start")
    eventually(lambda: server.engine("small")["state"] == "ready")
    status, headers, _ = server.chat("Two?", key=DESK, max_tokens=2, temperature=1)
    assert (status, headers["trimtab-tier"]) == (200, "S")
    assert server.admin("POST", "/engines/nosuch/stop")[0] == 404


def test_a_killed_gateway_comes_back_with_its_money_and_warm_engines(server: Live) -> None:
    """kill -9 of the gateway: engines keep their processes, budgets are rebuilt from the journal."""
    server.chat("Three?", key=DESK, max_tokens=3, temperature=1)
    engines = {engine["name"]: engine["pid"] for engine in server.state()["engines"]}

    def settled() -> int:
        rows = server.admin("GET", "/budgets")[1]["budgets"]
        return next(row["settled_nanousd"] for row in rows if (row["name"], row["period"]) == ("support", "day"))

    before = settled()
    assert before > 0
    seq = server.state()["journal"]["seq"]
    eventually(lambda: server.state()["journal"]["durable"] >= seq)
    old = server.gateway_pid()
    os.kill(old, signal.SIGKILL)
    assert eventually(lambda: gone(old))
    status, _, _ = server.chat("Four?", key=DESK, max_tokens=2, temperature=1)  # waits in the backlog meanwhile
    assert status == 200
    assert {engine["name"]: engine["pid"] for engine in server.state()["engines"]} == engines
    assert settled() > before


def test_a_killed_engine_is_repaired(server: Live) -> None:
    """A new process takes its place, and requests are answered all the while."""
    pid = server.engine("small")["pid"]
    os.kill(pid, signal.SIGKILL)
    status, _, _ = server.chat("Five?", key=DESK, max_tokens=2, temperature=1)
    assert status == 200
    eventually(lambda: server.engine("small")["state"] == "ready" and server.engine("small")["pid"] != pid)


def test_a_changed_document_is_loaded_and_a_broken_one_is_refused_loudly(server: Live) -> None:
    """A tighter cap refuses the next request; a broken file changes nothing and is named in the state and the log."""
    file = server.workspace / "tenants" / "commerce.yaml"
    good = file.read_text()
    before = server.state()["snapshots"]["tenancy"]
    file.write_text(good.replace('max_per_request_usd: "0.002"', 'max_per_request_usd: "0.0000031"'))
    eventually(lambda: server.state()["snapshots"]["tenancy"] != before)
    status, headers, body = server.chat("A question that is rather long for so little money, is it not? " * 3)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (429, "cost_cap")
    assert headers["x-should-retry"] == "false"
    loaded = server.state()["snapshots"]
    file.write_text(good.replace("ttft_ms: 2000", "ttft_ms: soon"))
    eventually(lambda: server.state()["problems"])
    assert "tenants/commerce.yaml" in server.state()["problems"][0]
    assert server.state()["snapshots"] == loaded
    assert server.logged("the last good one serves")
    assert server.admin("POST", "/reload")[0] == 409
    file.write_text(good)
    eventually(lambda: server.state()["snapshots"]["tenancy"] == before and not server.state()["problems"])
    assert server.admin("POST", "/reload")[0] == 200


def test_what_needs_a_restart_is_said(server: Live) -> None:
    """Whatever part of trimtab.yaml it is, the newest ones, too."""
    file = server.workspace / "trimtab.yaml"
    good = file.read_text()
    file.write_text(good + "records: {retention_days: 90}\ntelemetry: {share: 0.5}\nlake: {keep_days: 9}\n")
    for part in ("records", "telemetry", "lake"):
        assert eventually(lambda part=part: server.logged(f"a changed {part} takes effect at the next start"))
    file.write_text(good)
    assert server.admin("POST", "/reload")[0] == 200


def test_a_created_key_works_and_a_revoked_one_does_not(server: Live) -> None:
    """The command line edits the tenant's document; the running gateway follows."""
    arguments = ("--workspace", str(server.workspace), "--json")
    made = msgspec.json.decode(
        trimtab("keys", "create", "--tenant", "support", "--name", "ci", "--channel", "chat", *arguments).encode()
    )
    eventually(lambda: server.chat("Six?", key=made["key"], max_tokens=2, temperature=1)[0] == 200)
    trimtab("keys", "revoke", made["id"], *arguments)
    eventually(lambda: server.chat("Seven?", key=made["key"], max_tokens=2)[0] == 401)


def test_health_and_readiness(server: Live) -> None:
    """Open to everybody, and say no names."""
    assert server.request("GET", "/healthz")[0] == 200
    status, _, body = server.request("GET", "/readyz")
    assert (status, msgspec.json.decode(body)) == (200, {"status": "ready"})


def test_metrics_of_the_whole_gateway(server: Live) -> None:
    """Every metric of the reference is there, from the public port and from the admin socket; engines and indexes are
    seen; the log is JSON where nobody watches it."""
    server.chat("Nine?", key=DESK, max_tokens=2, temperature=1)
    status, headers, body = server.request("GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = parsed(body.decode())
    assert found.keys() == {family.name for family in FAMILIES}
    for engine in ("small", "medium"):
        assert value(found, "trimtab_engine_state", engine=engine, state="ready") == 1
    assert value(found, "trimtab_corpus_ready", corpus="shop") == 1
    assert value(found, "trimtab_requests_total", tenant="support", channel="chat", status="200") >= 1
    assert value(found, "trimtab_records_total") >= value(found, "trimtab_requests_total")
    assert found.keys() == parsed(server.admin_text("/metrics")).keys()
    assert server.request("HEAD", "/metrics")[2] == b""
    assert server.request("POST", "/metrics")[0] == 405
    for line in server.log:
        assert msgspec.json.decode(line)["role"] in ("supervisor", "gateway", "engine small", "engine medium"), line


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    """SIGINT drains: no process and no socket is left, the exit is clean, the record can be explained afterwards."""
    workspace = tmp_path / "workspace"
    patient_example(workspace)
    with live(workspace) as server:
        server.chat("Eight?", max_tokens=2)
        children = server.children()
        assert len(children) == 4, "a gateway, two engines, control"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        assert gone(*children)
        assert not (workspace / "run" / "admin.sock").exists()
    assert "direct" in trimtab("explain", "last", "--workspace", str(workspace))


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    """kill -9: gateway and engines end by themselves."""
    workspace = tmp_path / "workspace"
    patient_example(workspace)
    with live(workspace) as server:
        children = server.children()
        server.process.kill()
        server.process.wait(20)
        assert eventually(lambda: gone(*children))


def test_budget_show_says_the_same_running_and_stopped(tmp_path: Path) -> None:
    """Live figures come from the gateway; with it stopped they are worked out of the records, to the nano-dollar."""
    workspace = tmp_path / "workspace"
    patient_example(workspace)
    arguments = ("budget", "show", "commerce", "--json", "--workspace", str(workspace))
    with live(workspace) as server:
        server.chat("Can sale items be refunded?", temperature=1)
        running = msgspec.json.decode(trimtab(*arguments).encode())
        assert running["live"] is True
        assert running["budgets"][0]["settled_nanousd"] > 0
    stopped = msgspec.json.decode(trimtab(*arguments).encode())
    assert stopped["live"] is False
    assert stopped["budgets"] == running["budgets"]
    total = msgspec.json.decode(trimtab("report", "--json", "--workspace", str(workspace)).encode())["summary"]["total"]
    assert total["cost_nanousd"] == stopped["budgets"][0]["settled_nanousd"]

"""`trimtab slo availability` of a real gateway that was made to fail in known ways: every count is the known one."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, OTHER_KEY, replaced, write_workspace
from support.live import live, trimtab
from support.upstream import Cut, Head, Seen, Step, chunk, failure, openai
from trimtab.controlplane.records import rows

FINE, HIDDEN, DOWN, BROKEN, LIMITED, UNKNOWN = 6, 3, 2, 2, 4, 1


def script(first: bool) -> Any:
    """Fails by what is asked: `hidden` at the first upstream alone, `down` and `broken` at both."""

    def chosen(seen: Seen) -> Iterable[Step]:
        said = seen.json["messages"][-1]["content"] if seen.method == "POST" else ""
        if "broken" in said:
            return [Head(200, (("content-type", "text/event-stream"),)), chunk({"content": "Half"}), Cut()]
        if "down" in said or (first and "hidden" in said):
            return failure(500)
        return openai(seen)

    return chosen


def shown(workspace: Path, *options: str, code: int = 0) -> Any:
    said = trimtab("slo", "availability", *options, "--json", "--workspace", str(workspace), code=code)
    return msgspec.json.decode(said)


def counts(parts: list[Any]) -> dict[str, int]:
    return {part["cause"]: part["requests"] for part in parts if part["requests"]}


@pytest.mark.timeout(120)
def test_every_request_is_counted_once_by_what_became_of_it(tmp_path: Path) -> None:
    """Answered, hidden by a fallback, failed, broken, refused by the caller's own limit, wrong; after a kill -9 one
    restart without a clean stop, in which callers waited; what is bad is more than 90 % allow."""

    def limited(documents: dict[str, str]) -> None:
        other = documents["tenants/other.yaml"]
        documents["tenants/other.yaml"] = other.replace(
            "channels:", "limits: {requests: {per_s: 0.001, burst: 1}}\nchannels:", 1
        )
        documents["slo.yaml"] = "objectives: [{channels: [shop/web], objective: availability, target: 0.9}]\n"

    patient = replaced("models.yaml", "slots: 4,", "slots: 4, health: {failures: 50},")
    with upstream_aside(script(True)) as first, upstream_aside(script(False)) as second:
        workspace = write_workspace(tmp_path / "w", first.replace("127.0.0.1", "localhost"), second, limited, patient)
        with live(workspace) as server:

            def ask(said: str, times: int, key: str = KEY, **fields: Any) -> list[int]:
                return [server.chat(said, key, temperature=1, **fields)[0] for _ in range(times)]

            assert ask("fine", FINE) == [200] * FINE
            assert ask("hidden", HIDDEN) == [200] * HIDDEN
            assert ask("down", DOWN) == [502] * DOWN
            for _ in range(BROKEN):
                with pytest.raises(http.client.IncompleteRead):
                    ask("broken", 1, stream=True)
            assert ask("fine", 1 + LIMITED, OTHER_KEY) == [200, *[429] * LIMITED]
            assert ask("fine", UNKNOWN, model="no-such-model") == [404]
            shown(workspace)  # flushes
            os.kill(server.gateway_pid(), signal.SIGKILL)  # callers wait in the backlog
            assert ask("fine", 1) == [200]
            found = shown(workspace, "shop/web", code=1)
            said, beyond = found["availability"], found["ahead"]
            answered, bad = FINE + HIDDEN + 1, DOWN + BROKEN
            assert (said["answered"], said["bad"], said["owed"]) == (answered, bad, answered + bad)
            assert counts(said["parts"]) == {"providers": DOWN, "stream": BROKEN}
            assert counts(said["not_owed"]) == {"request": UNKNOWN}
            assert said["asked"] == answered + bad + UNKNOWN
            assert said["rescued"] == HIDDEN
            assert said["allowed"] == (answered + bad) // 10
            missing = said["missing"]
            assert (missing["restarts"], missing["lost"], missing["away_s"]) == (1, 1, 0)
            assert missing["waited_s"] > 0
            failed = {one["name"]: one["failed"] for one in said["providers"]}
            assert failed["localhost"] >= HIDDEN + DOWN
            assert failed["127.0.0.1"] >= DOWN
            assert [one["provider"] for one in beyond["providers"]] == ["127.0.0.1", "localhost"]
            assert beyond["through"] == bad / (answered + bad)
            other = shown(workspace, "other")["availability"]
            assert (other["answered"], other["bad"], counts(other["not_owed"])) == (1, 0, {"limits": LIMITED})
            everybody = shown(workspace)["availability"]
            assert everybody["asked"] == said["asked"] + other["asked"]
            text = trimtab("slo", "availability", "shop/web", "--workspace", str(workspace), code=1)
            assert f"90% allow {(answered + bad) // 10} bad of {answered + bad}; there are {bad}" in text
            assert "1 restarts, 1 of them without a clean stop" in text
    events = [row.gateway.event for row in rows(workspace / "var" / "records") if row.gateway is not None]
    assert events == ["start", "start", "stop"]

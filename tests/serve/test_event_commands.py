"""Event mode on a gateway that runs: real processes, a scripted model behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, write_workspace
from support.live import Live, eventually, live, trimtab
from support.upstream import openai

FILE = "events.yaml"
BY_HAND = "- {name: by-hand, from: 2020-01-01T00:00:00Z, raise: {web: critical}}\n"


@pytest.fixture
def url() -> Iterator[str]:
    with upstream_aside(openai) as url:
        yield url


def command(workspace: Path, *words: str) -> Any:
    """What a command says with --json."""
    return msgspec.json.decode(trimtab(*words, "--json", "--workspace", str(workspace)))


def asked(server: Live, **headers: str) -> tuple[str, list[str]]:
    """(bound class, events) of one request, as `explain` has them."""
    status, sent, _ = server.chat("Hello", key=KEY, headers=headers, temperature=1)
    assert status == 200
    explanation = command(server.workspace, "explain", dict(sent)["trimtab-record"])
    (term,) = [term for term in explanation["contract"] if term["name"] == "priority"]
    return term["bound"], explanation["raised_by"]


def test_an_event_is_in_force_when_the_command_has_ended(tmp_path: Path, url: str) -> None:
    """The very next request is bound by it, until the command that stops it; a caller may still ask for less. The
    document came into being while the gateway ran."""
    workspace = write_workspace(tmp_path, url, url)
    with live(workspace) as server:
        assert asked(server) == ("interactive", [])
        assert command(workspace, "event", "start", "sale", "--raise", "web=critical", "--for", "2h")["live"] is True
        assert asked(server) == ("critical", ["sale"])
        assert asked(server, **{"trimtab-priority": "standard"}) == ("standard", [])
        assert command(workspace, "event", "stop", "sale")["live"] is True
        assert asked(server) == ("interactive", [])
        assert [one["state"] for one in command(workspace, "event")["events"]] == ["past"]


def test_a_document_that_is_written_by_hand_is_taken_up(tmp_path: Path, url: str) -> None:
    """Where there was none when the gateway started, and when it is gone again; a broken one changes nothing."""
    workspace = write_workspace(tmp_path, url, url)
    with live(workspace) as server:
        plain = server.state()["snapshots"]["tenancy"]
        (workspace / FILE).write_text(BY_HAND)
        eventually(lambda: server.state()["snapshots"]["tenancy"] != plain)
        assert asked(server) == ("critical", ["by-hand"])
        (workspace / FILE).write_text(BY_HAND.replace("critical", "critcal"))
        eventually(lambda: server.logged("did you mean critical?"))
        assert asked(server) == ("critical", ["by-hand"])
        (workspace / FILE).unlink()
        eventually(lambda: server.state()["snapshots"]["tenancy"] == plain)
        assert asked(server) == ("interactive", [])

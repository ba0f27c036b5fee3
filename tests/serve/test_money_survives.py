"""What was spent outlives the process that spent it: kill -9, clean stops, damage, and budgets that come later."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, replaced, write_workspace
from support.live import TRIMTAB, Live, eventually, live, trimtab
from support.upstream import Seen, Step, openai

SHOP = "tenants/shop.yaml"


class Ledger:
    """What the provider has answered, whatever the gateway knows of it."""

    def __init__(self) -> None:
        self.answered = 0
        self.url = ""

    def __call__(self, seen: Seen) -> Iterable[Step]:
        self.answered += 1
        return openai(seen)


@pytest.fixture
def provider() -> Iterator[Ledger]:
    ledger = Ledger()
    with upstream_aside(ledger) as ledger.url:
        yield ledger


def monthly(documents: dict[str, str]) -> None:
    """A budget a month, so that a test that runs at midnight sees no other day."""
    replaced(SHOP, "period: day", "period: month")(documents)


def ask(server: Live) -> int:
    """The status of a request that no cache answers; 0: the gateway went away."""
    try:
        return server.chat("Hello there", key=KEY, temperature=1)[0]
    except (OSError, EOFError, ValueError):
        return 0
    except Exception as error:
        assert type(error).__module__ == "http.client", error
        return 0


def shown(workspace: Path, scope: str = "shop") -> Any:
    said = trimtab("budget", "show", scope, "--top", "0", "--json", "--workspace", str(workspace))
    return next(row for row in msgspec.json.decode(said)["budgets"] if row["name"] == scope)


def one_cost(server: Live) -> int:
    """What one request costs, in nano-dollars."""
    before = shown(server.workspace)["settled_nanousd"]
    assert ask(server) == 200
    cost: int = shown(server.workspace)["settled_nanousd"] - before
    assert cost > 0
    return cost


def test_kill_9_in_the_middle_spends_nothing_twice(tmp_path: Path, provider: Ledger) -> None:
    """Three gateways in a row are killed under load: what the provider answered is spent or in doubt, and no more than
    the limit; a clean stop adds nothing to the doubt."""
    workspace = write_workspace(tmp_path, provider.url, provider.url, monthly)
    with live(workspace) as server:
        cost = one_cost(server)
        for _ in range(3):
            statuses: list[int] = []

            def client(statuses: list[int] = statuses) -> None:
                statuses.extend(ask(server) for _ in range(40))

            clients = [threading.Thread(target=client) for _ in range(4)]
            before = provider.answered
            for one in clients:
                one.start()
            eventually(lambda before=before: provider.answered >= before + 20)
            old = server.gateway_pid()
            os.kill(old, signal.SIGKILL)
            for one in clients:
                one.join()
            eventually(lambda: ask(server) == 200)
            assert server.gateway_pid() != old
            assert statuses.count(200) >= 20
        row = shown(workspace)
    spent = provider.answered * cost
    assert row["settled_nanousd"] <= spent <= row["settled_nanousd"] + row["in_doubt_nanousd"] <= row["limit_nanousd"]
    assert row["reserved_nanousd"] == 0
    assert shown(workspace) == row
    with live(workspace) as server:
        assert shown(workspace) == row
        assert ask(server) == 200
        assert shown(workspace)["settled_nanousd"] == row["settled_nanousd"] + cost
        assert shown(workspace)["in_doubt_nanousd"] == row["in_doubt_nanousd"]


def test_a_clean_stop_leaves_nothing_in_doubt(tmp_path: Path, provider: Ledger) -> None:
    """To the nano-dollar, and what the records say."""
    workspace = write_workspace(tmp_path, provider.url, provider.url, monthly)
    with live(workspace) as server:
        cost = one_cost(server)
        for _ in range(4):
            assert ask(server) == 200
    row = shown(workspace)
    assert (row["settled_nanousd"], row["in_doubt_nanousd"]) == (5 * cost, 0)
    report = msgspec.json.decode(trimtab("report", "--tenant", "shop", "--json", "--workspace", str(workspace)))
    assert report["summary"]["total"]["cost_nanousd"] == 5 * cost


def test_what_was_drawn_and_can_not_be_read_refuses_the_start(tmp_path: Path, provider: Ledger) -> None:
    """A byte is flipped in both mirrors: it is said where, and nothing is served; one mirror alone is made good."""
    workspace = write_workspace(tmp_path, provider.url, provider.url, monthly)
    with live(workspace) as server:
        cost = one_cost(server)
    a, b = sorted((workspace / "var" / "money").glob("*.[ab]"))
    whole = a.read_bytes()
    flipped = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    a.write_bytes(flipped)
    b.write_bytes(flipped)
    serve = [TRIMTAB, "serve", "--workspace", str(workspace), "--port", "0"]
    done = subprocess.run(serve, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "var/money" in done.stderr, done.stderr
    show = [TRIMTAB, "budget", "show", "--workspace", str(workspace)]
    assert "var/money" in subprocess.run(show, capture_output=True, text=True, check=False).stderr
    b.write_bytes(whole)
    with live(workspace):
        assert shown(workspace)["settled_nanousd"] == cost


def test_a_budget_that_comes_later_counts_what_its_period_has_cost(tmp_path: Path, provider: Ledger) -> None:
    """Declared while the gateway runs, it has spent what its scope spent this month; the next start says the same."""
    workspace = write_workspace(tmp_path, provider.url, provider.url, monthly)
    with live(workspace) as server:
        cost = one_cost(server)
        assert ask(server) == 200
        trimtab("budget", "set", "shop/web", "--period", "month", "--usd", "5", "--workspace", str(workspace))
        assert shown(workspace, "shop/web")["settled_nanousd"] == 2 * cost
        assert ask(server) == 200
        row = shown(workspace, "shop/web")
        assert (row["settled_nanousd"], row["reserved_nanousd"]) == (3 * cost, 0)
        trimtab("budget", "set", "shop/web", "--period", "month", "--remove", "--workspace", str(workspace))
        assert ask(server) == 200
        trimtab("budget", "set", "shop/web", "--period", "month", "--usd", "5", "--workspace", str(workspace))
        row = shown(workspace, "shop/web")
        assert row["settled_nanousd"] == 4 * cost, "what was spent while it was not declared, too"
    assert shown(workspace, "shop/web") == row
    with live(workspace):
        assert shown(workspace, "shop/web") == row

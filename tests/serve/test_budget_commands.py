"""`trimtab budget` and `keys rotate` on a gateway that runs: real processes, a scripted model behind them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, OTHER_KEY, replaced, write_workspace
from support.live import TRIMTAB, Live, eventually, live, trimtab
from support.upstream import openai
from trimtab.controlplane.registry import audit_rows
from trimtab.core.keys import hash_key, key_id

SHOP = "tenants/shop.yaml"
ID = key_id(hash_key(KEY))
LIMITS = "limits: {requests: {per_s: 0.000001, burst: 3}}, "
OWN = "budgets: [{period: month, usd: '0.5'}],"


def monthly(documents: dict[str, str]) -> None:
    """The tenant's budget and one of the key's own, both a month: a test that runs at midnight sees no other day."""
    replaced(SHOP, "default_channel: web,", f"default_channel: web, {OWN}")(documents)
    replaced(SHOP, "period: day", "period: month")(documents)


@pytest.fixture
def url() -> Iterator[str]:
    with upstream_aside(openai) as url:
        yield url


def ask(server: Live, key: str = KEY, content: str = "Hello", **fields: Any) -> tuple[int, str | None]:
    """(status, code) of one request that no cache answers."""
    status, _, body = server.chat(content, key=key, temperature=1, **fields)
    return status, None if status == 200 else msgspec.json.decode(body)["error"]["code"]


def command(workspace: Path, *words: str, code: int = 0) -> Any:
    """What a command says with --json."""
    return msgspec.json.decode(trimtab(*words, "--json", "--workspace", str(workspace), code=code))


def budget(workspace: Path, scope: str, period: str = "day") -> Any:
    rows = command(workspace, "budget", "show", scope)["budgets"]
    return next(row for row in rows if (row["name"], row["period"]) == (scope, period))


def test_a_change_is_in_force_when_the_command_has_ended(tmp_path: Path, url: str) -> None:
    """The very next request is judged by it: less, more for a while, none, each way; and each is on the audit log, with
    who, what it was, what it is and why."""
    workspace = write_workspace(tmp_path, url, url)
    with live(workspace) as server:
        assert ask(server) == (200, None)
        done = command(workspace, "budget", "set", "shop", "--period", "day", "--usd", "0.000001", "--reason", "stop")
        assert (done["live"], done["changed"], done["before"]["usd"], done["after"]["usd"]) == (
            True, True, "10", "0.000001",
        )  # fmt: skip
        assert ask(server) == (429, "budget_exhausted")
        done = command(workspace, "budget", "grant", "shop", "--usd", "5", "--until", "6h", "--reason", "the sale")
        assert done["live"] is True
        assert ask(server) == (200, None)
        row = budget(workspace, "shop")
        assert row["limit_nanousd"] == 5_000_001_000
        (granted,) = row["grants"]
        assert (granted["nanousd"], granted["until"]) == (5_000_000_000, done["after"]["grants"][0]["until"])
        command(workspace, "budget", "set", "shop/web", "--period", "month", "--usd", "0")
        assert ask(server) == (429, "budget_exhausted")
        command(workspace, "budget", "set", "shop/web", "--period", "month", "--remove")
        assert ask(server) == (200, None)
    rows = list(audit_rows(workspace))
    assert [(row.action, row.subject) for row in rows] == [
        ("budget.set", "shop/day"),
        ("budget.grant", "shop/day"),
        ("budget.set", "shop/web/month"),
        ("budget.remove", "shop/web/month"),
    ]
    assert {row.actor for row in rows} == {subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()}
    told = [row.told for row in rows if row.told]
    assert [(one.was, one.now, one.reason) for one in told[:2]] == [
        ({"period": "day", "usd": "10"}, {"period": "day", "usd": "0.000001"}, "stop"),
        ({"period": "day", "usd": "0.000001"}, done["after"], "the sale"),
    ]
    assert (told[2].was, told[3].now) == (None, None)


def test_show_says_who_spent_what_is_left_and_when_it_resets(tmp_path: Path, url: str) -> None:
    """Channels, keys and variants with what each cost, which together is what the budget says is spent, to the
    nano-dollar; the same with the gateway stopped; and history has it under its day."""
    workspace = write_workspace(tmp_path, url, url, monthly)
    with live(workspace) as server:
        made = command(workspace, "keys", "create", "--tenant", "shop", "--name", "two", "--channel", "fresh")
        eventually(lambda: ask(server, made["key"], model="auto")[0] == 200)
        for _ in range(3):
            assert ask(server, content="Hello there, you two") == (200, None)
        assert ask(server, model="medium-plain") == (200, None)
        assert ask(server, OTHER_KEY) == (200, None)
        running = command(workspace, "budget", "show", "shop")
        text = trimtab("budget", "show", "shop", "--workspace", str(workspace))
    by_name = {row["name"]: row for row in running["budgets"]}
    assert by_name.keys() == {"shop", ID}
    shop = by_name["shop"]
    assert shop["left_nanousd"] == shop["limit_nanousd"] - shop["settled_nanousd"]
    assert shop["resets_at"].endswith("T00:00:00+00:00")
    spent: dict[str, dict[str, Any]] = {}
    for one in shop["spenders"]:
        spent.setdefault(one["by"], {})[one["name"]] = one
    for rows in spent.values():
        assert sum(one["spent_nanousd"] for one in rows.values()) == shop["settled_nanousd"] > 0
    assert list(spent["channel"]) == ["shop/web", "shop/fresh"]
    assert {name: one["requests"] for name, one in spent["key"].items()} == {ID: 4, made["id"]: 1}
    assert {name.partition("@")[0] for name in spent["variant"]} == {"small-plain", "medium-plain"}
    assert by_name[ID]["settled_nanousd"] == spent["key"][ID]["spent_nanousd"]
    for words in ("shop  channel  shop/web", "RESETS", " 00:00, in "):
        assert " ".join(words.split()) in " ".join(text.split())
    stopped = command(workspace, "budget", "show", "shop")
    assert (stopped["live"], stopped["budgets"]) == (False, running["budgets"])
    assert command(workspace, "budget", "show", "shop", "--top", "1")["budgets"][0]["spenders"][0]["name"] == "shop/web"
    periods = command(workspace, "budget", "history", "shop")["periods"]
    assert [(one["budget"], one["window"], one["spent_nanousd"], one["requests"]) for one in periods] == [
        ("shop", shop["window"], shop["settled_nanousd"], 5),
        (ID, shop["window"], spent["key"][ID]["spent_nanousd"], 4),
    ]
    (desk,) = command(workspace, "budget", "history", "other/desk")["periods"]  # it has no budget: by day, UTC
    assert (desk["period"], desk["tz"], desk["requests"]) == ("day", "UTC", 1)


def test_a_change_that_a_gateway_does_not_take_up_is_said(tmp_path: Path, url: str) -> None:
    """A workspace that was broken by hand refuses changes, and keeps the running gateway as it is; with no gateway the
    change is for the next."""
    workspace = write_workspace(tmp_path, url, url)
    done = command(workspace, "budget", "set", "shop", "--period", "day", "--usd", "9")
    assert (done["live"], done["problem"]) == (False, None)
    with live(workspace) as server:
        good = (workspace / "models.yaml").read_text()
        (workspace / "models.yaml").write_text(good.replace("tier: S", "tier: T"))
        before = (workspace / SHOP).read_bytes()
        failed = command(workspace, "budget", "set", "shop", "--period", "day", "--usd", "0.000001", code=1)
        assert failed["error"]["kind"] == "workspace"
        assert "models.yaml" in failed["error"]["problems"][0]
        assert (workspace / SHOP).read_bytes() == before
        rotated = command(workspace, "keys", "rotate", ID, code=1)  # a leaked key can't wait for other documents
        assert "models.yaml" in rotated["problem"]
        assert ask(server) == (200, None)
        assert ask(server, rotated["key"]) == (401, "invalid_api_key")
        assert command(workspace, "budget", "show", "shop")["budgets"][0]["limit_nanousd"] == 9_000_000_000
        (workspace / "models.yaml").write_text(good)
        eventually(lambda: ask(server, rotated["key"]) == (200, None))


def test_both_keys_of_a_rotation_serve_on_one_account_until_the_old_one_ends(tmp_path: Path, url: str) -> None:
    """One budget for both: what the old key spent is gone for the new one. Records name the key that was used, and a
    conversation stays the same one. After `expires_at` the old key is told that it has expired."""
    workspace = write_workspace(tmp_path, url, url, monthly)
    with live(workspace) as server:
        assert ask(server) == (200, None)
        made = command(workspace, "keys", "rotate", ID, "--grace", "1h")
        assert (made["live"], made["replaces"], made["account"], made["expires_at"]) == (True, ID, ID, None)
        for key in (KEY, made["key"]):
            assert ask(server, key) == (200, None)
        (row,) = command(workspace, "budget", "show", made["id"])["budgets"]
        assert (row["name"], row["limit_nanousd"]) == (ID, 500_000_000)
        keys = {one["name"]: one for one in row["spenders"] if one["by"] == "key"}
        assert {name: one["requests"] for name, one in keys.items()} == {ID: 2, made["id"]: 1}
        assert row["settled_nanousd"] == sum(one["spent_nanousd"] for one in keys.values())
        command(workspace, "budget", "set", made["id"], "--period", "month", "--usd", "0.000001")
        for key in (KEY, made["key"]):
            assert ask(server, key) == (429, "budget_exhausted")
        command(workspace, "budget", "set", ID, "--period", "month", "--usd", "1")
        third = command(workspace, "keys", "rotate", made["id"], "--grace", "1s")
        assert third["account"] == ID
        eventually(lambda: ask(server, made["key"]) == (401, "expired_api_key"))
        status, _, body = server.chat("Hello", key=made["key"])
        error = msgspec.json.decode(body)["error"]
        assert (status, error["type"]) == (401, "authentication_error")
        assert error["message"] == f"the API key {made['id']} has expired, at {third['old_expires_at']}"
        assert made["key"] not in body.decode()
        for key in (KEY, third["key"]):
            assert ask(server, key) == (200, None)
        (row,) = command(workspace, "budget", "show", third["id"])["budgets"]
    (stopped,) = command(workspace, "budget", "show", third["id"])["budgets"]
    assert stopped == row
    sessions = {row["key_id"]: row["session"] for row in records(workspace) if row["status"] == 200}
    assert sessions.keys() == {ID, made["id"], third["id"]}
    assert len(set(sessions.values())) == 1


def test_a_rotation_does_not_double_a_rate(tmp_path: Path, url: str) -> None:
    """Three requests at once for the key, whichever of the two sends them."""
    limited = replaced(SHOP, "default_channel: web,", f"default_channel: web, {LIMITS}")
    workspace = write_workspace(tmp_path, url, url, limited)
    with live(workspace) as server:
        assert ask(server) == (200, None)
        made = command(workspace, "keys", "rotate", ID)
        seen = [ask(server, key) for key in (made["key"], KEY, made["key"], KEY)]
    assert seen == [(200, None), (200, None), (429, "rate_limited"), (429, "rate_limited")]


def records(workspace: Path) -> Iterator[Any]:
    for segment in (workspace / "var" / "records").glob("*.jsonl"):
        for line in segment.read_bytes().splitlines():
            yield msgspec.json.decode(line[line.index(b"{") :])


def test_what_is_printed_for_people(tmp_path: Path, url: str) -> None:
    """The key alone on stdout; what to do with it, and whether it serves, on stderr."""
    workspace = write_workspace(tmp_path, url, url)
    with live(workspace):
        done = subprocess.run(
            [TRIMTAB, "keys", "rotate", ID, "--expires", "90d", "--workspace", workspace],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert done.stdout.startswith("tt_live_")
    assert done.stdout.count("\n") == 1
    first, second, third = done.stderr.splitlines()
    assert "keep the key now" in first
    assert second.startswith(f"{ID} serves until ")
    assert third == "In force: the running gateway has taken it up."

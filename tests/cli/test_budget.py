"""`trimtab budget` and `keys rotate` on documents, with no gateway: what is written, what is refused, what is told."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from click.testing import CliRunner, Result

from support.records import CLOCK, spent
from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.records import Journal
from trimtab.controlplane.registry import audit_rows, examine, list_keys
from trimtab.core.tenancy import Budget

HR, COMMERCE = "tenants/hr.yaml", "tenants/commerce.yaml"
HR_KEY = "key_947c46964afb790a"
OFFICE = ZoneInfo("Europe/Berlin")


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def run(box: Sandbox, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--workspace", str(box.folder)])


def said(box: Sandbox, *words: str) -> Any:
    done = run(box, *words, "--json")
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.stdout)


def changed_lines(before: str, after: str) -> list[str]:
    diff = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in diff if line[0] in "+-"]


def budgets_of(box: Sandbox, scope: str) -> list[Budget]:
    workspace, problems = examine(box.folder)
    assert workspace is not None, problems
    tenants = workspace.snapshot.tenancy.tenants
    tenant, _, channel = scope.partition("/")
    if scope.startswith("key_"):
        return next(key.budgets for one in tenants.values() for key in one.keys if key.id == scope)
    return tenants[tenant].channels[channel].cost.budgets if channel else tenants[tenant].budgets


def test_a_change_touches_the_lines_that_it_must_and_no_others(box: Sandbox) -> None:
    """A value, a budget that is new, a zone, and what is removed: comments and order stand as they stood."""
    text = (box.folder / HR).read_text()
    assert run(box, "budget", "set", "hr", "--period", "day", "--usd", "7.50").exit_code == 0
    once = (box.folder / HR).read_text()
    assert changed_lines(text, once) == [
        '-   - {period: day, usd: "5", tz: Europe/Berlin}',
        '+   - {period: day, usd: "7.50", tz: Europe/Berlin}',
    ]
    for scope in ("hr/assistant", HR_KEY):
        assert run(box, "budget", "set", scope, "--period", "month", "--usd", "3").exit_code == 0
        assert run(box, "budget", "set", scope, "--period", "month", "--usd", "3", "--tz", "Asia/Dubai").exit_code == 0
        (one,) = budgets_of(box, scope)
        assert (one.period, str(one.usd), one.tz) == ("month", "3", "Asia/Dubai")
        assert all(line[0] == "+" for line in changed_lines(once, (box.folder / HR).read_text()))
        assert run(box, "budget", "set", scope, "--period", "month", "--remove").exit_code == 0
        assert (box.folder / HR).read_text() == once


def test_what_stands_so_already_is_not_changed(box: Sandbox) -> None:
    """The same again, also in other digits, and removing what is not there: exit code 0, no row in the audit log."""
    for words in (("--usd", "5"), ("--usd", "5.00"), ("--usd", "5", "--tz", "Europe/Berlin")):
        done = said(box, "budget", "set", "hr", "--period", "day", *words)
        assert (done["changed"], done["before"]) == (False, done["after"])
    assert said(box, "budget", "set", "hr/assistant", "--period", "day", "--remove")["changed"] is False
    grant = ("budget", "grant", "hr", "--period", "day", "--usd", "2", "--until", "2099-01-01T00:00:00Z")
    assert [said(box, *grant, "--reason", "fair")["changed"] for _ in range(2)] == [True, False]
    assert said(box, *grant[:-1], "2099-01-02T00:00:00Z", "--reason", "fair")["changed"] is True
    assert [row.action for row in audit_rows(box.folder)] == ["budget.grant", "budget.grant"]
    assert [str(one.usd) for one in budgets_of(box, "hr")[0].grants] == ["2", "2"]


REFUSED = {
    "no zone": (("set", "hr", "--period", "day", "--usd", "5", "--tz", "Europe/Berln"), 1, "mean Europe/Berlin?"),
    "no tenant": (("set", "hrr", "--period", "day", "--usd", "5"), 2, "Did you mean hr?"),
    "no channel": (("set", "hr/asistant", "--period", "day", "--usd", "5"), 2, "Did you mean hr/assistant?"),
    "no key": (("set", "key_947c46964afb790b", "--period", "day", "--usd", "5"), 2, f"Did you mean {HR_KEY}?"),
    "no amount": (("set", "hr", "--period", "day", "--usd", "five"), 2, "write dollars, like 20 or 0.50"),
    "not a number": (("set", "hr", "--period", "day", "--usd", "nan"), 2, "write dollars, like 20 or 0.50"),
    "negative": (("set", "hr", "--period", "day", "--usd", "-5"), 2, "is negative"),
    "too fine": (("set", "hr", "--period", "day", "--usd", "0.0000000001"), 2, "at most 9 decimals"),
    "too much": (("set", "hr", "--period", "day", "--usd", "9000001"), 2, "9,000,000 dollars"),
    "no period": (("set", "hr", "--period", "dya", "--usd", "5"), 2, "Did you mean day?"),
    "neither": (("set", "hr", "--period", "day"), 2, "--usd N, or --remove"),
    "both": (("set", "hr", "--period", "day", "--usd", "5", "--remove"), 2, "--usd N, or --remove"),
    "which": (("grant", "hr", "--usd", "5", "--until", "2d", "--reason", "x"), 1, "say which by --period"),
    "to none": (("grant", "hr/assistant", "--usd", "5", "--until", "2d", "--reason", "x"), 1, "trimtab budget set hr/"),
    "of nothing": (("grant", "hr", "--usd", "0", "--until", "2d", "--reason", "x"), 2, "changes nothing"),
    "ended": (
        ("grant", "hr", "--period", "day", "--usd", "5", "--until", "2020-01-01T00:00:00Z", "--reason", "x"), 1,
        "would have ended already",
    ),
    "no time": (("grant", "hr", "--period", "day", "--usd", "5", "--until", "soon", "--reason", "x"), 2, "30m, 24h"),
    "no offset": (
        ("grant", "hr", "--period", "day", "--usd", "5", "--until", "2099-01-01", "--reason", "x"), 2,
        "write 2099-01-01T00:00:00Z for UTC",
    ),
    "why": (("grant", "hr", "--period", "day", "--usd", "5", "--until", "2d", "--reason", " "), 2, "say why"),
    "show of none": (("show", "hr/assistant"), 1, "trimtab budget set hr/assistant --period day --usd N"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "hint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_changes_nothing_and_says_what_helps(
    words: tuple[str, ...], code: int, hint: str, box: Sandbox
) -> None:
    """No document and no audit row is written; the last line of stderr has the way out."""
    before = {path: path.read_bytes() for path in box.folder.rglob("*.yaml")}
    done = run(box, "budget", *words)
    assert done.exit_code == code, done.output
    assert hint in done.stderr.splitlines()[-1]
    assert {path: path.read_bytes() for path in box.folder.rglob("*.yaml")} == before
    assert list(audit_rows(box.folder)) == []


def test_what_check_would_warn_of_is_told_once(box: Sandbox) -> None:
    """A budget that never applies is taken, with the warning; a warning that stood before is not repeated."""
    done = said(box, "budget", "set", "commerce", "--period", "day", "--usd", "4")
    (warning,) = done["warnings"]
    assert "10 USD a day never applies: the whole tenant has 4" in warning["message"]
    assert said(box, "budget", "set", "hr", "--period", "day", "--usd", "4")["warnings"] == []


def test_history_has_the_days_of_the_zone_and_who_changed_what(box: Sandbox) -> None:
    """Each row counts in the day and the month in which its money was reserved, on the clock of the budget's zone; a
    correction counts and is no request; periods before the first row and of other scopes are left out."""
    today = datetime.fromtimestamp(CLOCK.wall_ns() // 10**9, UTC).astimezone(OFFICE).date()

    def at(days_ago: int, seconds: int) -> int:
        begin = datetime(today.year, today.month, today.day, tzinfo=OFFICE)
        return int(begin.timestamp() - days_ago * 86_400 + seconds) * 10**9

    rows = [
        spent("hr", 5, channel="assistant", t_wall_ns=at(3, 7200)),
        spent("hr", 7, channel="assistant", t_wall_ns=at(1, 7200)),
        spent("hr", 11, channel="assistant", t_wall_ns=at(0, -7200), stages={"reserve": [1000.0, 7_300_000.0]}),
        spent("hr", 13, channel="assistant", t_wall_ns=at(0, 60), kind="adjust"),
        spent("commerce", 17, channel="checkout-bot", t_wall_ns=at(0, 60)),
        spent("hr", 0, channel="assistant", t_wall_ns=at(0, 60)),
    ]
    journal = Journal(box.folder / "var" / "records", 0, CLOCK)
    for row in rows:
        journal.write(row)
    journal.close()
    assert run(box, "budget", "set", "hr", "--period", "day", "--usd", "6", "--reason", "more staff").exit_code == 0
    assert run(box, "budget", "set", "support", "--period", "day", "--usd", "6").exit_code == 0
    found = said(box, "budget", "history", "hr")
    days = [one for one in found["periods"] if one["period"] == "day"]
    assert [(one["spent_nanousd"], one["requests"]) for one in days] == [(5, 1), (0, 0), (7, 1), (24, 1)]
    assert days[-1]["window"] == today.isoformat()
    months = [one for one in found["periods"] if one["period"] == "month"]
    assert sum(one["spent_nanousd"] for one in months) == 36
    (change,) = found["changes"]
    assert (change["scope"], change["period"], change["reason"]) == ("hr", "day", "more staff")
    assert (change["before"]["usd"], change["after"]["usd"]) == ("5", "6")
    assert [one["window"] for one in said(box, "budget", "history", "hr", "--last", "1")["periods"]] == [
        today.isoformat(),
        f"{today:%Y-%m}",
    ]
    text = run(box, "budget", "history").stdout
    assert "more staff" in text
    assert "support/day" in text
    shown = said(box, "budget", "show", "hr")["budgets"]
    assert [row["settled_nanousd"] for row in shown if row["period"] == "day"] == [24]
    assert {one["spent_nanousd"] for one in shown[0]["spenders"]} == {24}


def test_a_key_is_rotated_in_its_document(box: Sandbox) -> None:
    """The new key is like the old one but for itself; the old one gets an end, and nothing else of the document
    changes. A budget that is set for one of the two is set for both."""
    box.append(HR, '    limits: {requests: {per_s: 0.5, burst: 3}}\n    budgets: [{period: day, usd: "2"}]\n')
    grant = ("--usd", "1", "--until", "2099-01-01T00:00:00Z", "--reason", "fair")
    assert run(box, "budget", "grant", HR_KEY, *grant).exit_code == 0
    text = (box.folder / HR).read_text()
    made = said(box, "keys", "rotate", HR_KEY, "--grace", "90m", "--test")
    assert made["key"].startswith("tt_test_")
    assert all(line[0] == "+" for line in changed_lines(text, (box.folder / HR).read_text()))
    old, new = [row.key for row in list_keys(box.folder) if row.tenant == "hr"]
    assert (old.id, old.expires_at) == (HR_KEY, made["old_expires_at"])
    for name in ("name", "default_channel", "persona", "market", "limits", "budgets"):
        assert getattr(new, name) == getattr(old, name)
    assert (new.id, new.lineage, new.account, new.expires_at) == (made["id"], HR_KEY, HR_KEY, None)
    seconds = [datetime.fromisoformat(text).timestamp() for text in (new.created_at, made["old_expires_at"])]
    assert seconds[1] - seconds[0] == 5400
    assert run(box, "budget", "set", new.id, "--period", "day", "--usd", "4").exit_code == 0
    assert [str(budgets_of(box, one)[0].usd) for one in (HR_KEY, new.id)] == ["4", "4"]
    assert [row["name"] for row in said(box, "budget", "show", new.id)["budgets"]] == [HR_KEY]
    row = list(audit_rows(box.folder))[1]
    assert (row.action, row.subject, row.told and row.told.now["key"]) == ("keys.rotate", HR_KEY, new.id)
    assert made["key"] not in str(list(audit_rows(box.folder)))
    assert run(box, "check").exit_code == 0


def test_a_new_key_lives_as_long_as_the_old_one_was_to(box: Sandbox) -> None:
    """Ninety days again, unless told otherwise; grace never prolongs a key's life."""
    made = said(box, "keys", "create", "--tenant", "hr", "--name", "x", "--expires", "2h")
    again = said(box, "keys", "rotate", made["id"], "--grace", "24h")
    assert again["old_expires_at"] == made["expires_at"]
    rows = {row.key.id: row.key for row in list_keys(box.folder)}
    lives = [
        datetime.fromisoformat(str(key.expires_at)) - datetime.fromisoformat(key.created_at)
        for key in (rows[made["id"]], rows[again["id"]])
    ]
    assert abs((lives[0] - lives[1]).total_seconds()) <= 1
    told = said(box, "keys", "rotate", again["id"], "--expires", "2099-01-01T00:00:00Z")
    assert told["expires_at"] == "2099-01-01T00:00:00Z"


def test_keys_that_cannot_be_rotated(box: Sandbox) -> None:
    """One that has ended, one that was replaced, one that is not there, a span that is none."""
    made = said(box, "keys", "rotate", HR_KEY)
    assert f"was replaced by {made['id']}: rotate that one" in run(box, "keys", "rotate", HR_KEY).stderr
    assert run(box, "keys", "revoke", made["id"]).exit_code == 0
    assert f"{made['id']} is revoked" in run(box, "keys", "rotate", made["id"]).stderr
    again = said(box, "keys", "rotate", HR_KEY, "--grace", "0s")  # the one that had replaced it is gone
    assert again["expires_at"] is None  # the old one's end was its grace's
    assert f"{HR_KEY} is expired" in run(box, "keys", "rotate", HR_KEY).stderr
    assert again["account"] == HR_KEY
    assert "no tenant has a key" in run(box, "keys", "rotate", "key_0000000000000000").stderr
    done = run(box, "keys", "rotate", again["id"], "--grace", "soon")
    assert (done.exit_code, "write 90s, 30m, 24h or 7d" in done.stderr) == (2, True)

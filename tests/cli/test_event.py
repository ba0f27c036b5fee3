"""`trimtab event` on documents, with no gateway: what is written, what is refused, what is told."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.registry import audit_rows, examine, start_event, stop_event
from trimtab.core.events import Event

EVENTS = "events.yaml"
CALENDAR = """\
# yaml-language-server: $schema=.schema/events.json
# what marketing plans

- name: spring   # last year's
  from: 2026-03-01T00:00:00Z
  to: 2026-03-02T00:00:00Z   # at midnight
  raise: {checkout-bot: critical}
# open end
- {name: strike, from: "2026-06-01T09:00:00+02:00", raise: {support/chat: interactive}} # until they agree
- name: millennium
  from: 2999-01-01T00:00:00Z
  raise:
    checkout-bot: critical   # all of it
    assistant: interactive
"""


class FrozenClock:
    """Stands still at a wall time."""

    def __init__(self, wall_ns: int) -> None:
        self._wall_ns = wall_ns

    def now_ns(self) -> int:
        return 0

    def wall_ns(self) -> int:
        return self._wall_ns

    async def offload(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def run(box: Sandbox, *words: str) -> Result:
    return CliRunner().invoke(cli, ["event", *words, "--workspace", str(box.folder)])


def said(box: Sandbox, *words: str) -> Any:
    done = run(box, *words, "--json")
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.stdout)


def text(box: Sandbox) -> str:
    return (box.folder / EVENTS).read_text()


def loaded(box: Sandbox) -> list[Event]:
    workspace, problems = examine(box.folder)
    assert workspace is not None, problems
    return list(workspace.snapshot.tenancy.events)


def test_a_round_trip_touches_the_lines_that_it_must_and_no_others(box: Sandbox) -> None:
    """An event is added behind the last one, and ended by one more line, or one value in brackets; all comments stay.
    Both are on the audit log, with what was, what is, who and why."""
    box.write(EVENTS, CALENDAR)
    begun = said(box, "start", "sale", "--raise", "checkout-bot=critical", "--raise", "hr/assistant=interactive")
    assert (begun["event"], begun["changed"], begun["before"], begun["live"]) == ("sale", True, None, False)
    begins = begun["after"]["from"]
    added = f'- name: sale\n  from: "{begins}"\n  raise: {{checkout-bot: critical, hr/assistant: interactive}}\n'
    assert text(box) == CALENDAR + added
    ended = said(box, "stop", "sale", "--reason", "sold out")
    assert text(box) == CALENDAR + added + f'  to: "{ended["after"]["to"]}"\n'
    strike = said(box, "stop", "strike")["after"]["to"]
    assert f'raise: {{support/chat: interactive}}, to: "{strike}"}} # until they agree' in text(box)
    assert all(line in text(box) for line in CALENDAR.splitlines() if "strike" not in line)

    rows = list(audit_rows(box.folder))
    assert [(row.action, row.subject, row.file) for row in rows] == [
        ("event.start", "sale", EVENTS),
        ("event.stop", "sale", EVENTS),
        ("event.stop", "strike", EVENTS),
    ]
    assert rows[1].before == rows[0].after
    told = [row.told for row in rows if row.told is not None]
    assert [(one.was, one.now, one.reason) for one in told[:2]] == [
        (None, begun["after"], ""),
        (begun["after"], ended["after"], "sold out"),
    ]


def test_the_first_event_makes_the_document(box: Sandbox) -> None:
    """Where there is none: a document of lines that its owner can read, with its schema for editors; also in place of
    one that is empty."""
    said(box, "start", "one", "--raise", "checkout-bot=critical", "--for", "2h")
    assert text(box).startswith("# yaml-language-server: $schema=.schema/events.json\n")
    assert "\n\n- name: one\n  from: " in text(box)
    assert stat.S_IMODE((box.folder / EVENTS).stat().st_mode) == stat.S_IMODE(
        (box.folder / "policy.yaml").stat().st_mode
    )
    (event,) = loaded(box)
    assert (event.name, event.raises) == ("one", {"checkout-bot": "critical"})
    box.write(EVENTS, "# nothing yet\n[] # but soon\n")
    said(box, "start", "two", "--raise", "checkout-bot=critical")
    assert text(box).startswith("# nothing yet\n- name: two\n  from: ")
    assert text(box).endswith("raise: {checkout-bot: critical} # but soon\n")


def test_when_it_ends_may_be_said_as_a_span_or_a_time(box: Sandbox) -> None:
    """To the second; a time keeps its offset."""
    for name, option in (("a", ("--for", "2h")), ("b", ("--until", "2999-01-01T00:00:00+01:00"))):
        said(box, "start", name, "--raise", "checkout-bot=critical", *option)
    a, b = loaded(box)
    assert a.ends is not None
    assert (a.ends[-1], len(a.ends)) == ("Z", 20)
    assert b.ends == "2999-01-01T00:00:00+01:00"


def test_what_stands_so_already_is_not_changed(box: Sandbox) -> None:
    """The same event again while it runs, and a stop of what has ended: exit code 0, no row in the audit log."""
    same = ("start", "sale", "--raise", "checkout-bot=critical", "--until", "2999-01-01T00:00:00Z")
    assert [said(box, *same)["changed"] for _ in range(2)] == [True, False]
    assert [said(box, "stop", "sale")["changed"] for _ in range(2)] == [True, False]
    assert len(list(audit_rows(box.folder))) == 2


def test_an_event_that_is_stopped_as_it_begins_still_ends_after_it(box: Sandbox) -> None:
    """Within the same instant of the clock: the document stays one that `check` takes."""
    clock = FrozenClock(1_800_000_000_123_456_789)
    start_event(box.folder, "sale", {"checkout-bot": "critical"}, clock=clock)
    stopped = stop_event(box.folder, "sale", clock=clock)
    assert (stopped.after.begins, stopped.after.ends) == ("2027-01-15T08:00:00.123Z", "2027-01-15T08:00:00.124Z")
    assert box.problems() == []


def test_the_list_has_what_runs_first(box: Sandbox) -> None:
    """Then what is to come, then what has ended, the last one first."""
    box.write(EVENTS, CALENDAR)
    said(box, "start", "sale", "--raise", "checkout-bot=critical")
    said(box, "stop", "sale")
    listed = said(box, "list")["events"]
    assert [(one["name"], one["state"]) for one in listed] == [
        ("strike", "running"),
        ("millennium", "coming"),
        ("sale", "past"),
        ("spring", "past"),
    ]
    assert listed[0] == {
        "name": "strike",
        "state": "running",
        "from": "2026-06-01T09:00:00+02:00",
        "to": None,
        "raise": {"support/chat": "interactive"},
    }
    lines = run(box).stdout.splitlines()
    assert lines[0].split() == ["EVENT", "STATE", "FROM", "TO", "RAISES"]
    assert "until stopped" in lines[1]
    assert lines[2].endswith("checkout-bot=critical, assistant=interactive")


def test_what_check_would_warn_of_is_told_once(box: Sandbox) -> None:
    """An event that raises nothing is taken, with the warning; it is not repeated with the next."""
    (warning,) = said(box, "start", "one", "--raise", "checkout-bot=standard")["warnings"]
    assert "raises nothing: checkout-bot is declared interactive" in warning["message"]
    assert said(box, "start", "two", "--raise", "checkout-bot=critical")["warnings"] == []


RAISE = ("--raise", "checkout-bot=critical")
REFUSED = {
    "no channel": (("start", "new", "--raise", "chekout-bot=critical"), 2, "Did you mean checkout-bot?"),
    "no tenant": (("start", "new", "--raise", "suport/chat=critical"), 2, "Did you mean support/chat?"),
    "no class": (("start", "new", "--raise", "checkout-bot=critcal"), 2, "Did you mean critical?"),
    "no equals": (("start", "new", "--raise", "checkout-bot"), 2, "write CHANNEL=CLASS"),
    "twice": (("start", "new", *RAISE, *RAISE), 2, "raised twice"),
    "nothing": (("start", "new"), 2, "--raise"),
    "both ends": (("start", "new", *RAISE, "--for", "2h", "--until", "2h"), 2, "not both"),
    "no span": (("start", "new", *RAISE, "--for", "2 hours"), 2, "write 90s, 30m, 2h or 3d"),
    "no time": (("start", "new", *RAISE, "--until", "soon"), 2, "30m, 24h"),
    "no offset": (("start", "new", *RAISE, "--until", "2999-01-01"), 2, "write 2999-01-01T00:00:00Z for UTC"),
    "ended": (("start", "new", *RAISE, "--until", "2020-01-01T00:00:00Z"), 1, "would have ended already"),
    "no name": (("start", "New sale", *RAISE), 1, "a-z, 0-9 and dashes"),
    "other terms": (("start", "strike", *RAISE), 1, "trimtab event stop strike"),
    "coming": (("start", "millennium", *RAISE), 1, "edit its from"),
    "past": (("start", "spring", *RAISE), 1, "Name this one e.g. spring-2"),
    "stop of none": (("stop", "strik"), 2, "Did you mean strike?"),
    "stop of coming": (("stop", "millennium"), 1, "Delete it from events.yaml"),
}


@pytest.mark.parametrize(("words", "code", "hint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_changes_nothing_and_says_what_helps(
    words: tuple[str, ...], code: int, hint: str, box: Sandbox
) -> None:
    """No document and no audit row is written; the last line of stderr has the way out."""
    box.write(EVENTS, CALENDAR)
    done = run(box, *words)
    assert done.exit_code == code, done.output
    assert hint in done.stderr.splitlines()[-1]
    assert text(box) == CALENDAR
    assert list(audit_rows(box.folder)) == []

"""Every command as a stranger meets it: on a missing, an empty, a broken and a good workspace, with and without --json.

What must hold everywhere: exit codes 0, 1 and 2 as documented; behind a pipe no escape bytes; with --json exactly one
JSON value on stdout, also where it fails; what is said to people on stderr, the cause on its last line; no traceback.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from support.live import TRIMTAB
from support.workspaces import Sandbox
from trimtab.cli import COMMANDS, cli

LEAVES: dict[tuple[str, ...], dict[str, int]] = {
    ("init",): {"missing": 0, "empty": 0, "stray": 1, "broken": 1, "good": 1},
    ("serve", "--port", "0"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1},
    ("check",): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("chat", "Hello?"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1},
    ("explain",): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("erase", "--tenant", "hr", "--yes"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("backup", os.devnull): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("restore", os.devnull): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("migrate",): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("replay",): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("replay", "--decisions"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("report",): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("report", "--stages"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("report", "--predictions"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("report", "--recheck", "last"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("report", "--verify"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("eval",): {"missing": 1, "empty": 1, "stray": 1, "broken": 1},
    ("golden", "review"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("golden", "accept", "last", "--true", "x"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("golden", "dismiss", "last", "--why", "x"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("doctor",): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("try", "bind"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1},
    ("budget", "show"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("budget", "set", "hr", "--period", "day", "--usd", "6"): {
        "missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0,
    },
    ("budget", "grant", "hr", "--period", "day", "--usd", "6", "--until", "2d", "--reason", "x"): {
        "missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0,
    },
    ("budget", "history"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("slo", "show"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("slo", "gate"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("slo", "availability"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("slo", "export", "--openslo", os.devnull): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("slo", "watch", "--once"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("slo", "import", os.devnull): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("lake", "ingest"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("lake", "compact"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("lake", "erase", "hr"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("lake", "status"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("query", "SELECT 1"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("features", "show"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("features", "at"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("features", "materialise"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("features", "drift"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("features", "join", os.devnull, "--out", os.devnull): {
        "missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1,
    },
    ("event", "list"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("event", "start", "sale", "--raise", "assistant=critical", "--for", "2h"): {
        "missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0,
    },
    ("event", "stop", "sale"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 2},
    ("engine", "show"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("engine", "stop", "small"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("engine", "start", "small"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("index", "build"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1},
    ("index", "status"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("keys", "create", "--tenant", "hr", "--name", "x"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("keys", "list"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 0},
    ("keys", "revoke", "key_0000000000000000"): {"missing": 1, "empty": 1, "stray": 1, "broken": 1, "good": 1},
    ("keys", "rotate", "key_947c46964afb790a"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("policy", "test"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("policy", "lint"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
    ("policy", "show"): {"missing": 1, "empty": 1, "stray": 1, "broken": 0, "good": 0},
}  # fmt: skip
"""Exit code of each command by the state of its workspace. Left out: what would start engines or build for seconds."""
CASES = [(words, state, code) for words, codes in LEAVES.items() for state, code in codes.items()]


def make(state: str, folder: Path) -> Path:
    """`stray`: a folder with other things in it; `broken`: the example with a mistyped key and a missing tier."""
    if state in ("broken", "good"):
        sandbox = Sandbox(folder)
        if state == "broken":
            sandbox.replace("models.yaml", "    tier: S\n", "")
            sandbox.replace("tenants/commerce.yaml", "channels:", "chanels:")
        return sandbox.folder
    workspace = folder / "workspace"
    if state != "missing":
        workspace.mkdir()
    if state == "stray":
        (workspace / "notes.txt").write_text("x")
    return workspace


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=given)


def clean(done: Result) -> None:
    """No escape bytes, no traceback, and no exception but the exit."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert "\x1b" not in done.output
    assert "Traceback" not in done.output


def options(words: tuple[str, ...]) -> list[str]:
    command: click.Command | None = cli
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
    assert command is not None
    return [option for param in command.params for option in param.opts]


def test_the_table_has_every_command() -> None:
    """A new command has to say how it fails."""
    known = set()
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        known |= {(name, sub) for sub in command.commands} if isinstance(command, click.Group) else {(name,)}
    assert {words[:2] if words[:2] in known else words[:1] for words in LEAVES} == known


@pytest.mark.parametrize(("words", "state", "code"), CASES, ids=[f"{' '.join(w)}-{s}" for w, s, _ in CASES])
def test_for_people(words: tuple[str, ...], state: str, code: int, tmp_path: Path) -> None:
    """The exit code, and where it is not 0 a last line that says why."""
    done = run(*words, "--workspace", str(make(state, tmp_path)), *(["--no-model"] if words == ("init",) else []))
    clean(done)
    assert done.exit_code == code, done.output
    if code:
        last = (done.stderr or done.stdout).rstrip("\n").splitlines()[-1]
        assert done.output.endswith("\n")
        assert len(last) > 10
    if code and state in ("missing", "empty", "stray") and words[0] not in ("init", "restore"):
        assert "no workspace here" in done.output or words == ("doctor",), done.output


@pytest.mark.parametrize(("words", "state", "code"), CASES, ids=[f"{' '.join(w)}-{s}" for w, s, _ in CASES])
def test_for_machines(words: tuple[str, ...], state: str, code: int, tmp_path: Path) -> None:
    """One JSON object on stdout, whatever happens; the same exit code."""
    if "--json" not in options(words):
        assert words[0] in ("serve", "try")  # one talks until it is stopped, the other writes JSON lines anyway
        return
    done = run(
        *words, "--json", "--workspace", str(make(state, tmp_path)), *(["--no-model"] if words == ("init",) else [])
    )
    clean(done)
    assert done.exit_code == code, done.output
    assert done.stdout.count("\n") == 1
    value = msgspec.json.decode(done.stdout)
    assert isinstance(value, dict)
    if code and "error" in value:
        assert value["ok"] is False
        assert value["error"]["kind"] in (("usage",) if code == 2 else ("workspace", "failed"))
        assert value["error"]["message"] in done.stderr or value["error"]["problems"]


@pytest.mark.parametrize("words", [("check", "--nope"), ("nope",), ("check", "extra"), ("keys", "create")])
def test_wrong_usage_is_exit_code_2_in_json_too(words: tuple[str, ...]) -> None:
    """The usage on stderr, the cause last; with --json an object of kind usage."""
    done = run(*words)
    clean(done)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: trimtab ")
    assert done.stderr.splitlines()[-1].startswith("trimtab: ")
    done = run(*words, "--json")
    assert done.exit_code == 2
    assert msgspec.json.decode(done.stdout)["error"]["kind"] == "usage"


def test_defaults_that_are_obvious(tmp_path: Path) -> None:
    """`budget` is `budget show`; the folder itself is the workspace where it is one."""
    workspace = ("--workspace", str(make("good", tmp_path)))
    for group, command in (("budget", "show"), ("keys", "list"), ("index", "status"), ("policy", "show")):
        assert run(group, *workspace).output == run(group, command, *workspace).output
        assert run(group, "--json", *workspace).stdout == run(group, command, "--json", *workspace).stdout
    assert "Without COMMAND" in run("budget", "--help").stdout
    done = subprocess.run([TRIMTAB, "check"], cwd=workspace[1], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ok: ")


def test_a_workspace_beside_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trimtab init shop` and then `trimtab check` is a way in that many take."""
    monkeypatch.chdir(tmp_path)
    assert run("init", "shop", "--no-model").exit_code == 0
    assert "There is one: --workspace shop" in run("check").output
    assert "There is one: --workspace shop" in run("budget").stderr
    assert run("init").exit_code == 0


def shell(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "check": False, **settings}
    return subprocess.run([str(TRIMTAB), *arguments], **given)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_has_left_is_no_failure_to_talk_about(tmp_path: Path) -> None:
    """`| head -1`: exit code 141, as of any program that a closed pipe ends, and not a word."""
    workspace = str(make("good", tmp_path))
    for words in (("policy", "show"), ("report",), ("check", "--json")):
        reading, writing = os.pipe()
        os.close(reading)
        done = shell(*words, "--workspace", workspace, stdout=writing)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, ""), words


def test_an_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A full disk under stdout, and a stdout that is closed."""
    workspace = str(make("good", tmp_path))
    with Path("/dev/full").open("w") as full:
        done = shell("check", "--workspace", workspace, stdout=full)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device. The disk is full" in done.stderr
    closed = subprocess.run(["sh", "-c", '"$0" "$@" >&-', TRIMTAB, "check", "--workspace", workspace], check=False)
    assert closed.returncode == 0


def test_a_place_that_cannot_be_written_is_said() -> None:
    """The file, the reason, and what helps."""
    done = run("init", "/sys/trimtab", "--no-model", "--json")
    clean(done)
    assert done.exit_code == 1
    assert "trimtab: /sys/trimtab: " in done.stderr
    assert msgspec.json.decode(done.stdout)["error"]["kind"] == "system"


LOCKED_OUT = """
import json, os, sys
from click.testing import CliRunner
from trimtab.cli import cli

locked, open_ = sys.argv[1:]
commands = [["check"], ["budget"], ["explain"], ["doctor"], ["keys"], ["policy", "test"], ["init"]]
for words in commands:  # load what they load, while it can be read
    CliRunner().invoke(cli, [*words, "--workspace", open_])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for words in commands:
    done = CliRunner().invoke(cli, [*words, "--workspace", locked])
    print(json.dumps([words, done.exit_code, repr(done.exception), done.output]))
"""


def test_a_workspace_of_somebody_else_is_said(tmp_path: Path) -> None:
    """Every command names the file that it may not read, and ends with 1."""
    locked, open_ = make("good", tmp_path / "a"), make("good", tmp_path / "b")
    locked.chmod(0o000)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOCKED_OUT, str(locked), str(open_)], capture_output=True, text=True, check=False
        )
    finally:
        locked.chmod(0o700)
    assert done.returncode == 0, done.stderr
    rows = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert len(rows) == 7
    for words, code, exception, output in rows:
        assert (code, exception) == (1, "SystemExit(1)"), (words, output)
        assert "Permission denied" in output, (words, output)


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    """Exit code 130, and one word, on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [TRIMTAB, "try", "bind", "--workspace", str(make("good", tmp_path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        assert os.read(ours, 4096).startswith(b"Reading ")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert os.read(ours, 4096).strip() == b"trimtab: interrupted"
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize("plain", [False, True])
def test_colours_are_for_terminals_that_want_them(plain: bool, tmp_path: Path) -> None:
    """Green on a terminal, nothing with NO_COLOR (no-color.org); progress is wiped before the answer."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", **({"NO_COLOR": "1"} if plain else {})}
    workspace = make("good", tmp_path)
    process = subprocess.Popen(
        [TRIMTAB, "check", "--workspace", str(workspace)], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:  # the far end is closed
        pass
    assert process.wait(30) == 0
    os.close(ours)
    first, _, rest = seen.partition(b"\r\x1b[K")
    assert first.startswith(b"Reading ")
    assert rest.startswith(b"ok: " if plain else b"\x1b[32mok\x1b[0m: ")

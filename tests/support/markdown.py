"""Pages of documentation are followed as a reader follows them: block by block, with what they print compared.

    with Session(tmp_path) as session:
        session.follow(ROOT / "docs" / "tutorial" / "first-hour.md")

What a fenced block means is said by its info string, which a rendered page doesn't show:

    ```sh                      the block is one script (bash -e); it must end with 0
    ```console                 lines that begin with `$ ` are commands (`> `: one more line of the same command), run
                               one after the other; the lines between are what each must print (stdout and stderr)
    ```python                  a script for this Python; it must end with 0
    ```text output             what the sh or python block just before prints
    ```yaml file=FOLDER/NAME   the block is written to that file (any language: yaml, markdown, json ...)
    ```yaml add=FOLDER/NAME    the block is added to that YAML file: mappings are merged, lists are appended to, other
                               values replace what was there
    ```yaml append=FILE        the block's lines are put at the end of the file
    ```diff apply              a patch of files in the session's folder
    ```jsonc, ```text ...      any other language is read, not run

and one more word in the info string of a command block changes how it is run:

    exit=1                     the last command ends with this status (default 0)
    until=Stop:                the only command goes on in the background; the page goes on once it has printed a line
                               that begins so. It gets SIGTERM when the session ends
    numbers                    figures in the output aren't compared, only the words between them
    not-run                    not run at all: it needs what a test doesn't have. Say beside it, in the page, what

Blocks run in the session's folder, which has `.venv` in it as a clone has. Variables and `cd` carry over to the next
block. Where the workspace has a running gateway and its documents have changed, it is told to load them before the next
command (it does so by itself within a second, but a page is followed faster than that). A process that a page leaves
behind puts its id into NAME.pid; it is ended with the session.

In printed text `...` stands for anything within a line, a line of `...` alone for any lines (or none). Runs of spaces
are one space. Ids, hashes, keys, dates, times of day and durations are equal to any other of their kind, and whether a
contract was kept is the machine's affair.

UPDATE_DOCS=1 puts what was printed into the page where it differs, in place of a failure; look at the diff.
"""

from __future__ import annotations

import difflib
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support.serving import end
from trimtab.controlplane.registry import PATTERNS
from trimtab.core.errors import TrimtabError
from trimtab.foundations.config import Fingerprint, fingerprint
from trimtab.surfaces import caller
from trimtab.surfaces.server.ask import NotRunningError

PORTS = (7070, 9000, 8443)
"""Ports that pages name: the gateway's, a model server's of the reader's own, a balancer's. A session has free ones in
their place."""
RUN_S = 120.0

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: language, further words and `name=value` options of its info string, text, and its first line."""

    language: str
    words: frozenset[str]
    options: dict[str, str]
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text, in their order. Raises ValueError for a fence that is never closed."""
    lines = iter(enumerate(page.splitlines(), 1))
    for number, line in lines:
        opened = _FENCE.match(line)
        if opened is None:
            continue
        indent, fence, info = opened.groups()
        body: list[str] = []
        for _, inner in lines:
            if inner.strip().startswith(fence) and not inner.strip().strip(fence[0]):
                break
            body.append(inner.removeprefix(indent))
        else:
            raise ValueError(f"the block that begins in line {number} is never closed")
        language, *rest = info.split() or [""]
        options = dict(word.split("=", 1) for word in rest if "=" in word)
        words = frozenset(word for word in rest if "=" not in word)
        yield Block(language, words, options, "".join(f"{one}\n" for one in body), number)


@dataclass
class Session:
    """A folder in which pages are followed. `port`: what 7070 becomes, for a gateway that is there already."""

    folder: Path
    port: int = 0
    workspace: str = "workspace"
    env: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Session:
        self._running: list[subprocess.Popen[bytes]] = []
        self._seen: Fingerprint | None = None
        self._cwd = self.folder
        self._ports = {named: _free_port() for named in PORTS}
        if self.port:
            self._ports[PORTS[0]] = self.port
        self.port = self._ports[PORTS[0]]
        venv = self.folder / ".venv"
        if not venv.exists():
            venv.symlink_to(Path(sys.prefix).resolve())
        self._env = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "120", **self.env}
        return self

    def __exit__(self, *_: object) -> None:
        for told in self.folder.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(told.read_text()), signal.SIGTERM)
        for process in self._running:
            end(process)
            assert process.stdout is not None
            process.stdout.close()

    def serve(self) -> None:
        """What many pages take for done: the workspace is served on 7070."""
        self._background(f".venv/bin/trimtab serve --workspace {self.workspace} --port {PORTS[0]}", "Stop:", "serve")

    def follow(self, page: Path) -> int:
        """Run every block of the page; how many commands were run. Fails with the page's line at the first that
        ends or prints otherwise."""
        text, ran = page.read_text(), 0
        printed: str | None = None
        self._updates: list[tuple[str, str]] = []
        for block in blocks(text):
            where = f"{page.name}:{block.line}"
            if "not-run" in block.words:
                continue
            if target := block.options.get("file") or block.options.get("add") or block.options.get("append"):
                self._write(block, self._cwd / target)
            elif block.language == "diff" and "apply" in block.words:
                self._ended(["patch", "-p0", "--no-backup-if-mismatch"], 0, where, None, block.text)
            elif block.language == "console":
                all_commands = list(commands(block.text))
                for number, (command, expected) in enumerate(all_commands):
                    last = number == len(all_commands) - 1
                    self._run_one(block, command, expected, where, _status(block) if last else 0)
                    ran += 1
            elif block.language in ("sh", "bash"):
                printed, ran = self._script(block.text, _status(block), where), ran + 1
            elif block.language == "python":
                printed, ran = self._python(block.text, _status(block), where), ran + 1
            elif "output" in block.words:
                assert printed is not None, f"{where}: output of what?"
                self._compare(block.text, printed, where, "numbers" in block.words)
        if self._updates:
            at = 0
            for old, new in self._updates:  # in the order in which they stand
                at = text.index(old, at)
                text = text[:at] + new + text[at + len(old) :]
                at += len(new)
            page.write_text(text)
        return ran

    def _run_one(self, block: Block, command: str, expected: str, where: str, status: int) -> None:
        if until := block.options.get("until"):
            printed = self._background(command, until, f"{where}: {command}")
        else:
            printed = self._script(command, status, f"{where}: {command}")
        before = "$ " + command.replace("\n", "\n> ") + "\n"
        self._compare(expected, printed, f"{where}: {command}", "numbers" in block.words, before)

    def _script(self, script: str, status: int, where: str) -> str:
        self._caught_up()
        after = self.folder / ".session"
        # set -a and the dump at the end: what a reader's shell would remember
        whole = f"set -ea\ntrap 'status=$?; {{ pwd; env -0; }} >{after}; exit $status' EXIT\n{self._ported(script)}"
        return self._ended(["bash", "-c", whole], status, where, after)

    def _python(self, script: str, status: int, where: str) -> str:
        self._caught_up()
        return self._ended([sys.executable, "-c", self._ported(script)], status, where, None)

    def _ended(self, command: list[str], status: int, where: str, after: Path | None, said: str = "") -> str:
        done = subprocess.run(
            command,
            cwd=self._cwd,
            env=self._env,
            input=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        if after is not None and after.exists():
            cwd, _, variables = after.read_text().partition("\n")
            self._cwd = Path(cwd)
            self._env = dict(one.split("=", 1) for one in variables.split("\0") if "=" in one)
            after.unlink()
        assert done.returncode == status, f"{where}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _background(self, command: str, until: str, where: str) -> str:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {self._ported(command)}"],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._running.append(process)
        assert process.stdout is not None
        printed = b""
        while not any(line.startswith(until.encode()) for line in printed.splitlines(True) if line.endswith(b"\n")):
            assert select.select([process.stdout], [], [], RUN_S)[0], f"{where}\nsays no more:\n{printed.decode()}"
            more = process.stdout.read(65536)
            assert more, f"{where}\nended:\n{printed.decode()}"
            printed += more
        return printed.decode()

    def _write(self, block: Block, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = self._ported(block.text)
        if "add" in block.options:
            yaml = YAML()
            yaml.preserve_quotes = True
            yaml.width = 1000
            there = yaml.load(target) if target.exists() else None
            whole = merged(there, yaml.load(text))
            with target.open("w") as out:
                yaml.dump(whole, out)
        elif "append" in block.options:
            with target.open("a") as out:
                out.write(text)
        else:
            target.write_text(text)

    def _ported(self, text: str) -> str:
        for named, own in self._ports.items():
            text = re.sub(rf"\b{named}\b", str(own), text)
        return text

    def _said(self, printed: str) -> str:
        """As the page would have it: its ports, and paths within the session's folder."""
        for named, own in self._ports.items():
            printed = printed.replace(str(own), str(named))
        return printed.replace(f"{self._cwd.resolve()}/", "").replace(f"{self._cwd}/", "")

    def _compare(self, expected: str, printed: str, where: str, numbers: bool, before: str = "") -> None:
        said = self._said(printed)
        wanted, got = normal(expected, numbers), normal(said, numbers)
        if matches(wanted, got):
            return
        if os.environ.get("UPDATE_DOCS"):
            lines = "".join(f"{line.rstrip()}\n" for line in said.splitlines())
            self._updates.append((before + expected, before + lines))
        else:
            diff = "\n".join(difflib.unified_diff(wanted, got, "the page", "the command", lineterm="", n=100))
            raise AssertionError(f"{where}\n{diff}\n\nas printed:\n{said}")

    def _caught_up(self) -> None:
        """The gateway of the workspace has read its documents as they are now."""
        folder = self._cwd / self.workspace
        now = fingerprint(folder, PATTERNS)
        if now == self._seen:
            return
        try:
            caller.settled(folder)
        except NotRunningError:
            return
        except TrimtabError:
            pass  # a broken change: the page is about to show what is said of it
        self._seen = fingerprint(folder, PATTERNS)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    command, printed = None, ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, printed
            command, printed = line[2:], ""
        elif line.startswith("> ") and command is not None and not printed:
            command += "\n" + line[2:]
        else:
            assert command is not None, f"a console block begins with a command, not with {line!r}"
            printed += line + "\n"
    if command is not None:
        yield command, printed


_KINDS: tuple[tuple[str, str], ...] = (
    (r"\brec_(?:[0-9A-Z]{26}\b|\.\.\.)", "<record>"),
    (r"\bkey_[0-9a-f]{16}\b", "<key id>"),
    (r"\btt_(?:live|test)_(?:[0-9A-Za-z]{36}|\.\.\.)", "<key>"),
    (r"\b(ten|rel|prc|idx)_[0-9a-f]{12}\b", r"<\1>"),
    (r"@[0-9a-f]{8}\b", "@<hash>"),
    (r"\b[0-9a-f]{16,64}\b", "<hash>"),
    (r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?", "<time>"),
    (r"\b\d\d:\d\d(?::\d\d)?(?:\.\d+)?\b", "<time>"),
    (r"(dur=)[\d.]+", r"\1<ms>"),
    (r"\b[\d,.]*\d ?(?:ms|us|s)\b", "<duration>"),
    (r"\bpid \d+", "pid <pid>"),
    (r"\u2588+", "<bar>"),
    (r"\((?:kept|missed)\)", "(<kept or missed>)"),
)
_NUMBER = r"[\d,.]*\d"


def normal(text: str, numbers: bool) -> list[str]:
    """Lines with what differs from run to run replaced by its kind."""
    for pattern, kind in _KINDS:
        text = re.sub(pattern, kind, text)
    if numbers:
        text = re.sub(_NUMBER, "<n>", text)
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.replace("\r", "").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def matches(wanted: list[str], got: list[str]) -> bool:
    """Whether the lines are the wanted ones, `...` being anything."""
    pattern = ""
    for line in wanted:
        if line == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*?".join(re.escape(part) for part in line.split("...")) + "\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in got)) is not None


def merged(there: Any, more: Any) -> Any:
    """`more` added to `there`, as one adds it by hand."""
    if isinstance(there, dict) and isinstance(more, dict):
        for key, value in more.items():
            there[key] = merged(there[key], value) if key in there else value
        return there
    if isinstance(there, list) and isinstance(more, list):
        there.extend(more)
        return there
    return more


def _status(block: Block) -> int:
    return int(block.options.get("exit", "0"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

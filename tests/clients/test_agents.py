"""Agents as people have them, pointed at a served Trimtab by what their documents say, and nothing else.

Skipped where they are absent (660 MB): `npm install --prefix tests/clients/agents --no-audit --no-fund
--no-package-lock`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from support.aside import upstream_aside
from support.gateway import KEY, replaced, write_workspace
from support.live import Live, live
from support.upstream import Seen, Step, chunk, stream
from trimtab.controlplane.records import rows

BIN = Path(__file__).parent / "agents" / "node_modules" / ".bin"
WORD = "trimtab-was-here"
OPENAIS = "gpt-5.5"
"""A model that Codex knows."""

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (BIN / "codex").exists(), reason="no tests/clients/agents/node_modules"),
]


PATCH = f"*** Begin Patch\n*** Add File: made.txt\n+{WORD}\n*** End Patch\n"


def called(kind: str, **words: str) -> Iterable[Step]:
    """An answer that calls a tool."""
    head, role, *end = stream([], finish="tool_calls")
    return [head, role, chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": kind, kind: words}]}), *end]


def script(seen: Seen) -> Iterable[Step]:
    """Look at the folder with the tool that there is; then say what was found. Questions beside it (a title) end."""
    body = seen.json
    names = {tool[tool["type"]]["name"] for tool in body.get("tools", ())}
    told = [one for one in body["messages"] if one["role"] == "tool"]
    if told:
        return stream([f"It says: {WORD if WORD in str(told) else told}"])
    if "Bash" in names:
        return called("function", name="Bash", arguments='{"command": "cat note.txt", "description": "Read the note"}')
    if "apply_patch" in names:
        return called("custom", name="apply_patch", input=PATCH)
    if "exec_command" in names:
        return called("function", name="exec_command", arguments='{"cmd": "cat note.txt"}')
    return stream(["A title"])


def patient(documents: dict[str, str]) -> None:
    for old, new in (
        ("e2e_ms: 4000", "e2e_ms: 60000, deadline_ms: 60000"),
        ("ttft_ms: 1000", "ttft_ms: 59000"),
        ("e2e_ms: 2000", "e2e_ms: 60000"),
        ('max_per_request_usd: "0.05"', 'max_per_request_usd: "5"'),
        ('usd: "10"', 'usd: "1000"'),
    ):
        replaced("tenants/shop.yaml", old, new)(documents)
    for old, new in (
        ("aliases: {", f"aliases: {{{OPENAIS}: auto, "),
        ("context: 8192", "context: 200000"),
        ("max_tokens: 200", "max_tokens: 32000"),
    ):
        replaced("models.yaml", old, new)(documents)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("agents") / "ws"
    with upstream_aside(script) as url:
        write_workspace(folder, url, url, patient)
        with live(folder) as server:
            yield server


def ran(home: Path, command: list[str | Path], **environment: str) -> str:
    """What it printed, with a folder of its own and nothing of ours in its environment."""
    (home / "work").mkdir(parents=True)
    (home / "work" / "note.txt").write_text(f"{WORD}\n")
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    done = subprocess.run(
        command,
        cwd=home / "work",
        env={**kept, "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def answered(server: Live, path: str) -> list[int | None]:
    assert server.admin("POST", "/records/flush")[0] == 200
    return [row.status for row in rows(server.workspace / "var" / "records") if row.route == path]


def test_claude_code(server: Live, tmp_path: Path) -> None:
    """It reads a file by its tool, on what the model says, and tells what the model makes of it."""
    said = ran(
        tmp_path,
        [BIN / "claude", "-p", "What does the note say?", "--allowedTools", "Bash(cat:*)"],
        ANTHROPIC_BASE_URL=server.url,
        ANTHROPIC_AUTH_TOKEN=KEY,
        ANTHROPIC_MODEL="auto",
        ANTHROPIC_DEFAULT_HAIKU_MODEL="auto",
        CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    assert f"It says: {WORD}" in said
    found = answered(server, "/v1/messages")
    assert len(found) >= 2
    assert set(found) == {200}


def codex(server: Live, home: Path, model: str) -> str:
    """What it said of the note, as its documents have it set up."""
    settings = home / ".codex" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(f"""
model = "{model}"
model_provider = "trimtab"
web_search = "disabled"
[model_providers.trimtab]
name = "Trimtab"
base_url = "{server.url}/v1"
env_key = "TRIMTAB_KEY"
wire_api = "responses"
""")
    command: list[str | Path] = [BIN / "codex", "exec", "--skip-git-repo-check"]
    return ran(
        home, [*command, "--dangerously-bypass-approvals-and-sandbox", "What does the note say?"], TRIMTAB_KEY=KEY
    )


def test_codex(server: Live, tmp_path: Path) -> None:
    """The same; its tools come in namespaces, too."""
    assert f"It says: {WORD}" in codex(server, tmp_path, "auto")
    assert answered(server, "/v1/responses") == [200, 200]


def test_codex_with_a_model_of_openais(server: Live, tmp_path: Path) -> None:
    """What it knows of such a model makes it declare a tool of free text for patches, and a search for tools: the patch
    is applied as the model wrote it."""
    before = len(answered(server, "/v1/responses"))
    codex(server, tmp_path, OPENAIS)
    assert (tmp_path / "work" / "made.txt").read_text() == f"{WORD}\n"
    assert answered(server, "/v1/responses")[before:] == [200, 200]

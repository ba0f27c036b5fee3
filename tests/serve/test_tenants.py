"""Tenants of one embedded engine, on the real one: nobody's prompt begins where another's ended."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest

from support.live import Live, live, patient_example
from trimtab.controlplane.records import find

A, B = "tt-demo-support", "tt-demo-commerce"
PAIRS = 40
REST = "is what one tenant has asked"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def workspace(folder: Path) -> Path:
    """The example without corpora, with room for all requests, and one slot of tier M, which changes hands."""
    patient_example(folder)
    for tenant in (folder / "tenants").glob("*.yaml"):
        lines = tenant.read_text().splitlines()
        text = "\n".join(line for line in lines if "corpus:" not in line and "emit: answer" not in line)
        tenant.write_text(re.sub(r"burst: (\d+)", r"burst: 9\g<1>00", text))
    for prompt in (folder / "prompts").glob("*.md"):
        prompt.write_text("Be brief.\n")
    for document in ("trimtab.yaml", "models.yaml"):
        path = folder / document
        path.write_text(path.read_text().replace("slots: 2", "slots: 1"))
    return folder


def cached(server: Live, folder: Path, prompt: str, key: str) -> int | None:
    """Tokens of this prompt that the engine says it had kept. None: a busy machine has made the first attempt late, and
    the second one began where that had ended, which is the tenant's own."""
    status, headers, body = server.chat(prompt, key=key, model="tier:M", temperature=1, max_tokens=1)
    assert status == 200, body
    row = find(folder / "var" / "records", headers["trimtab-record"])
    assert row is not None
    kept = int(msgspec.json.decode(body)["usage"]["prompt_tokens_details"]["cached_tokens"])
    return kept if len(row.attempts) == 1 else None


def test_no_tenant_begins_where_anothers_prompt_ended(tmp_path: Path) -> None:
    """Pairs of a prompt that the other tenant has just sent, and one that nobody has. Of both the engine has kept the
    system prompt at the most, so that no time can tell them apart; who sent it does begin from it."""
    folder = workspace(tmp_path / "ws")
    with live(folder) as server:
        known: list[int] = []
        unknown: list[int] = []
        own = None
        for n in range(2 * PAIRS):
            word = blake2b(b"%d" % n, digest_size=6).hexdigest()
            cached(server, folder, f"{word} {REST}", A)
            pair = cached(server, folder, f"{word} {REST}", B), cached(server, folder, f"{word[::-1]} {REST}", B)
            if pair[0] is not None and pair[1] is not None:
                known.append(pair[0])
                unknown.append(pair[1])
            if len(known) == PAIRS:
                break
        assert len(known) == PAIRS
        while own is None:
            cached(server, folder, f"{word} {REST}", A)
            own = cached(server, folder, f"{word} {REST}", A)
        assert own > max(known + unknown) + 5, "what the tenant itself had sent is kept"
        assert max(known) - min(unknown) <= 3, (max(known), min(unknown))

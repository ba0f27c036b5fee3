"""Tenants of one embedded engine, on the real one: nobody's prompt begins where another's ended."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest

from support.live import Live, live, patient_example
from trimtab.controlplane.records import rows

A, B = "tt-demo-support", "tt-demo-commerce"
PAIRS, SPARE = 200, 5
REST = "was asked"
pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(600)]


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


def cached(server: Live, prompt: str, key: str) -> tuple[str, int]:
    """The record of this prompt's answer, and tokens that the engine says it had kept."""
    status, headers, body = server.chat(prompt, key=key, model="tier:M", temperature=1, max_tokens=1)
    assert status == 200, body
    return headers["trimtab-record"], int(msgspec.json.decode(body)["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_no_tenant_begins_where_anothers_prompt_ended(tmp_path: Path) -> None:
    """Pairs of a prompt that the other tenant has just sent, and one that nobody has. Of both the engine has kept the
    system prompt at the most, so that no time can tell them apart; who sent it does begin from it."""
    folder = workspace(tmp_path / "ws")
    pairs, own = [], []
    with live(folder) as server:
        for n in range(PAIRS + SPARE):
            word = blake2b(b"%d" % n, digest_size=4).hexdigest()
            cached(server, f"{word} {REST}", A)
            pairs.append((cached(server, f"{word} {REST}", B), cached(server, f"{word[::-1]} {REST}", B)))
        for _ in range(SPARE):
            cached(server, f"{word} {REST}", A)
            own.append(cached(server, f"{word} {REST}", A))
        assert server.admin("POST", "/records/flush")[0] == 200
    # where a busy machine has made the first attempt late, the second one began where that had ended: the tenant's own
    once = {row.id for row in rows(folder / "var" / "records") if len(row.attempts) == 1}
    whole = [(known[1], unknown[1]) for known, unknown in pairs if {known[0], unknown[0]} <= once]
    assert len(whole) >= PAIRS
    known, unknown = zip(*whole, strict=True)
    assert min(kept for record, kept in own if record in once) > max(known + unknown) + 5, "one's own is kept"
    assert max(known) - min(unknown) <= 3, (max(known), min(unknown))

"""`trimtab eval` against a running gateway: what it prints, what it exits with, and that it goes on where it was."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.live import TRIMTAB, Live, trimtab
from support.serving import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]
PLACE = {"language": "en", "tenant": "commerce", "channel": "checkout-bot"}
REFUND = {
    **PLACE,
    "id": "mine-1",
    "intent": "returns",
    "expect": "answer",
    "wording": "plain",
    "question": "Can sale items be refunded?",
    "source": "returns.en.md#sale-items",
    "true": ["cannot be refunded"],
    "false": ["can be refunded"],
}
ELSEWHERE = {**PLACE, "id": "mine-2", "expect": "refuse", "question": "Who wrote Faust?"}
EDITED = {
    "id": "mine-3",
    "language": "en",
    "source": "returns.en.md#sale-items",
    "question": REFUND["question"],
    "statement": "Sale items cannot be refunded.",
    "edits": ["Sale items can be refunded."],
}


@pytest.fixture
def golden(server: Live) -> Iterator[Path]:
    """A file of questions beside the example's; nothing is known of earlier answers."""
    path = server.workspace / "golden" / "mine.jsonl"
    yield path
    path.unlink(missing_ok=True)
    (server.workspace / "var" / "eval" / "answers.jsonl").unlink(missing_ok=True)


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def told(server: Live, *more: str, code: int = 0) -> Any:
    return msgspec.json.decode(
        trimtab("eval", "--workspace", str(server.workspace), "--only", "mine", "--json", *more, code=code).encode()
    )


def kept(server: Live) -> list[Any]:
    """Answers that would not be asked for again."""
    path = server.workspace / "var" / "eval" / "answers.jsonl"
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_it_says_what_was_right_and_with_what_bound(server: Live, golden: Path) -> None:
    """Answers, refusals and edits are counted; nothing wrong is exit code 0, and the bound is that of so few."""
    write(golden, REFUND, ELSEWHERE, EDITED)
    found = told(server, "--by", "channel")
    total = found["total"]
    assert (total["asked"], total["right"], total["wrong"], total["refusable_right"]) == (2, 2, 0, 1)
    assert total["wrong_upper95"] == pytest.approx(1 - 0.05 ** (1 / 2))
    assert (found["edits"]["edits"], found["edits"]["edits_passed"]) == (1, 0)
    assert [line["group"] for line in found["by"]["channel"]] == ["commerce/checkout-bot"]
    said = trimtab("eval", "--workspace", str(server.workspace), "--only", "mine")
    assert "Wrong: 0 of 2, at most 77.6%" in said


def test_a_wrong_answer_is_shown_and_is_exit_code_1(server: Live, golden: Path) -> None:
    """With its record, so that it can be explained."""
    write(golden, {**REFUND, "true": ["can be refunded in full"], "false": ["cannot be refunded"]})
    found = told(server, code=1)
    (row,) = found["not_right"]
    assert (row["id"], row["grade"]) == ("mine-1", "wrong")
    assert "cannot be refunded" in row["text"]
    assert (
        "Sale items" in trimtab("explain", row["record"], "--workspace", str(server.workspace), "--json")
        or row["record"]
    )
    assert "wrong: mine-1" in trimtab("eval", "--workspace", str(server.workspace), "--only", "mine", code=1)


def test_stopped_in_the_middle_it_goes_on(server: Live, golden: Path) -> None:
    """Killed after its first answer: what it has is not asked for again, what it lacks is; `--fresh` asks all anew."""
    write(golden, *({**REFUND, "id": f"mine-{n}", "question": f"Can sale items be refunded, case {n}?"} for n in "abc"))
    command = [TRIMTAB, "eval", "--workspace", str(server.workspace), "--only", "mine"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: bool(kept(server)))
    process.kill()
    process.wait()
    before = kept(server)
    assert told(server)["total"]["asked"] == 3
    after = kept(server)
    assert after[: len(before)] == before
    assert len(after) == 3
    told(server)
    assert kept(server) == after
    told(server, "--fresh")
    assert not {row["of"] for row in kept(server)} - {row["of"] for row in after}
    assert not {row["answer"]["record"] for row in kept(server)} & {row["answer"]["record"] for row in after}


def test_a_changed_workspace_is_asked_anew(server: Live, golden: Path) -> None:
    """What was answered under other rules is not taken for an answer under these."""
    write(golden, REFUND)
    told(server)
    policy = server.workspace / "policy.yaml"
    text = policy.read_text()
    policy.write_text(text.replace("complexity > 0.5", "complexity > 0.6").replace("0.5, risk: low", "0.6, risk: low"))
    try:
        before = server.state()["snapshots"]
        eventually(lambda: server.state()["snapshots"] != before)
        told(server)
        assert len(kept(server)) == 2
    finally:
        policy.write_text(text)


def test_a_page_that_was_changed_just_now_is_asked_anew(server: Live, golden: Path) -> None:
    """The gateway takes a changed page after a moment; eval does not answer for the page before it."""
    write(golden, REFUND)
    page = server.workspace / "corpora" / "shop" / "returns.en.md"
    text = page.read_text()
    told(server)
    page.write_text(text.replace("cannot be refunded", "can be refunded"))
    try:
        found = told(server, code=1)
        assert found["total"]["wrong"] == 1
    finally:
        page.write_text(text)
        told(server)

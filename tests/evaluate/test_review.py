"""Feedback into golden sets: what waits, what a review writes, and that erasing takes it out again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from support.aside import upstream_aside
from support.gateway import KEY, OTHER_KEY, write_workspace
from support.live import Live, live
from support.records import CLOCK, row
from support.upstream import Seen, Step, answer, completion, stream
from trimtab.cli import cli
from trimtab.controlplane.evaluate import (
    ANSWERS,
    Question,
    ReviewError,
    accept,
    decided,
    dismiss,
    forget,
    read_golden,
    reviewed_now,
    waiting,
)
from trimtab.controlplane.registry import audit, audit_rows
from trimtab.core.record import Record
from trimtab.core.rows import Met, VerdictRow

ANN, BOB = "a" * 16, "b" * 16


def said(of: str, at_ns: int, score: float | None = None, name: str = "thumb", label: str | None = None) -> Record:
    good = None if score is None else score >= 0.5
    verdict = VerdictRow(name=name, score=score, label=label)
    return row(kind="verdict", of=of, t_wall_ns=at_ns, verdict=verdict, met=Met(quality=good), tenant="t", channel="c")


def question(record: str, subject: str = ANN, tenant: str = "shop") -> Question:
    return Question(
        id=record, tenant=tenant, channel="web", question="Where?", true=["here"],
        reviewed=reviewed_now(CLOCK, record, subject),
    )  # fmt: skip


def test_the_last_word_counts_and_the_worst_comes_first() -> None:
    """By name and answer; of equal ones the newest; good ones, and those that were reviewed, are not there."""
    rows = [
        said("rec_A", 1, 0.25, "csat"),
        said("rec_B", 2, 0.0),
        said("rec_C", 3, label="No", name="correct"),
        said("rec_D", 4, 0.0), said("rec_D", 5, 1.0),
        said("rec_E", 6, 1.0), said("rec_E", 5, 0.0), said("rec_E", 7, 0.0, "csat"),
        said("rec_F", 8, 0.0),
        said("rec_G", 9, label="yes", name="correct"),
    ]  # fmt: skip
    found = waiting(rows, {"rec_F"})
    assert [(one.record, one.worst) for one in found] == [("rec_E", 0), ("rec_C", 0), ("rec_B", 0), ("rec_A", 0.25)]
    assert found[0].said == {"csat": 0.0}
    assert found[1].said == {"correct": None}


def test_a_record_is_decided_once_and_both_ways_are_on_the_log(tmp_path: Path) -> None:
    """Who, what, why; a second decision changes nothing."""
    accept(tmp_path, question("rec_1"), CLOCK)
    dismiss(tmp_path, "rec_2", "a joke", CLOCK)
    for again in ("rec_1", "rec_2"):
        with pytest.raises(ReviewError, match="reviewed already"):
            accept(tmp_path, question(again), CLOCK)
        with pytest.raises(ReviewError, match="reviewed already"):
            dismiss(tmp_path, again, "x", CLOCK)
    assert decided(tmp_path) == {"rec_1", "rec_2"}
    assert [one.id for one in read_golden(tmp_path).questions] == ["rec_1"]
    rows = list(audit_rows(tmp_path))
    assert [(one.action, one.subject, one.told and one.told.reason) for one in rows] == [
        ("golden.accept", "rec_1", None),
        ("golden.dismiss", "rec_2", "a joke"),
    ]


def test_a_crash_between_the_row_and_the_line_leaves_the_record_to_review(tmp_path: Path) -> None:
    """As long as nothing came after it."""
    accept(tmp_path, question("rec_1"), CLOCK)
    path = tmp_path / "golden" / "reviewed.jsonl"
    whole = path.read_bytes()
    accept(tmp_path, question("rec_2"), CLOCK)
    path.write_bytes(whole)
    assert decided(tmp_path) == {"rec_1"}
    accept(tmp_path, question("rec_2"), CLOCK)
    accept(tmp_path, question("rec_3"), CLOCK)
    assert decided(tmp_path) == {"rec_1", "rec_2", "rec_3"}
    assert [one.id for one in read_golden(tmp_path).questions] == ["rec_1", "rec_2", "rec_3"]


def test_what_would_be_no_question_is_not_written(tmp_path: Path) -> None:
    """An answer is expected, and nothing says what a right one holds."""
    empty = msgspec.structs.replace(question("rec_1"), true=[])
    with pytest.raises(ReviewError, match="needs `true`"):
        accept(tmp_path, empty, CLOCK)
    assert not (tmp_path / "golden").exists()
    assert list(audit_rows(tmp_path)) == []


def test_forgetting_takes_a_subjects_questions_out_of_every_file(tmp_path: Path) -> None:
    """Of this tenant's subject alone, moved lines too, and kept answers with them; lines that can't be read are named,
    and stay; decided stays decided."""
    for one in (question("rec_1"), question("rec_2", BOB), question("rec_3", tenant="other"), question("rec_4")):
        accept(tmp_path, one, CLOCK)
    path, moved = tmp_path / "golden" / "reviewed.jsonl", tmp_path / "golden" / "mine.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    own = b'{"id": "own", "tenant": "shop", "channel": "web", "question": "reviewed", "true": ["x"]}\n'
    moved.write_bytes(own + lines[3] + b'{"reviewed": {"record": "rec_9"}, "tenant": "shop"}\n{"reviewed"\n')
    answers = tmp_path / ANSWERS
    answers.parent.mkdir(parents=True)
    answers.write_bytes(b"{}\n")
    found = forget(tmp_path, "shop", [ANN], CLOCK)
    assert found.questions == 2
    assert [one.partition(": ")[0] for one in found.problems] == ["golden/mine.jsonl:2", "golden/mine.jsonl:3"]
    assert path.read_bytes() == b"".join(lines[1:3])
    assert moved.read_bytes().startswith(own)
    assert lines[3] not in moved.read_bytes()
    assert not answers.exists()
    assert decided(tmp_path) == {"rec_1", "rec_2", "rec_3", "rec_4"}
    assert forget(tmp_path, "shop", [], CLOCK).questions == 1
    assert path.read_bytes() == lines[2]


# --- by command


def script(seen: Seen) -> Iterable[Step]:
    text = "Thirty days, write to ann@example.org."
    return stream([text]) if seen.json.get("stream") else answer(completion(text))


def capturing(documents: dict[str, str]) -> None:
    shop = documents["tenants/shop.yaml"]
    documents["tenants/shop.yaml"] = shop.replace("    cache: {reuse", "    capture: redacted\n    cache: {reuse", 1)


class Desk:
    """A served workspace, whose answers are judged."""

    def __init__(self, server: Live) -> None:
        self.server, self.workspace = server, server.workspace

    def bad(self, user: str, *texts: str, key: str = KEY) -> str:
        """Ask in so many turns, and say that the answer was bad; the record's id."""
        roles = ("user", "assistant")
        messages = [{"role": roles[turn % 2], "content": text} for turn, text in enumerate(texts)]
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        body = msgspec.json.encode({"messages": messages, "user": user, "temperature": 1})
        status, headers, _ = self.server.request("POST", "/v1/chat/completions", body, sent)
        assert status == 200
        record = headers["trimtab-record"]
        verdict = msgspec.json.encode({"record": record, "score": 0})
        assert self.server.request("POST", "/v1/feedback", verdict, sent)[0] == 200
        return str(record)

    def run(self, *words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, [*words, "--workspace", str(self.workspace)])
        assert done.exit_code == code, (words, done.output, done.exception)
        return done

    def listed(self, *words: str) -> list[Any]:
        found = msgspec.json.decode(self.run("golden", "review", "--json", *words).stdout)["waiting"]
        assert isinstance(found, list)
        return found


@pytest.mark.timeout(120)
def test_a_thumb_down_becomes_a_question_and_goes_with_its_subject(tmp_path: Path) -> None:
    """Listed with the redacted text; taken in, asked by `eval`, listed no more; another is dismissed; a channel that
    keeps no text says so; what the guard finds is not taken; a conversation needs a question of its own; erasing the
    subject takes its questions out."""
    with upstream_aside(script) as url, live(write_workspace(tmp_path, url, url, capturing)) as server:
        desk = Desk(server)
        ann = desk.bad("ann", "I am joe@example.com, how long may I return shoes?")
        talk = desk.bad("ann", "Shoes?", "What of them?", "How long?")
        bob = desk.bad("bob", "And hats?")
        aside = desk.bad("ann", "Hello", key=OTHER_KEY)
        listed = desk.listed()
        assert [one["record"] for one in listed] == [aside, bob, talk, ann]
        assert [one["text"] for one in listed] == ["none", "kept", "kept", "kept"]
        assert "how long may I return shoes?" in listed[3]["asked"][0]
        assert "example" not in str(listed)
        assert len(desk.listed("--channel", "shop/*")) == 3
        text = desk.run("golden").stdout
        assert "its channel keeps no text: that takes `capture: redacted`" in text
        assert text.endswith("4 answers to review\n")

        refused = desk.run("golden", "accept", ann, "--true", "ann@example.org", code=1)
        assert "the channel's guard finds personal data" in refused.stderr
        assert "keeps no text" in desk.run("golden", "accept", aside, "--true", "x", code=1).stderr
        assert "needs `true`" in desk.run("golden", "accept", ann, code=1).stderr
        assert "3 messages" in desk.run("golden", "accept", talk, "--true", "x", code=2).stderr
        desk.run("golden", "accept", talk, "--true", "thirty days", "--question", "How long may I return shoes?")
        for record in (ann, bob):
            desk.run("golden", "accept", record, "--true", "thirty days", "--false", "sixty days")
        desk.run("golden", "dismiss", aside, "--why", "a greeting")
        assert desk.listed() == []
        assert "reviewed already" in desk.run("golden", "dismiss", ann, "--why", "x", code=1).stderr
        asked = msgspec.json.decode(desk.run("eval", "--json", "--key", f"shop={KEY}").stdout)["total"]
        assert (asked["asked"], asked["right"]) == (3, 3)
        (own, first, last) = read_golden(tmp_path).questions
        assert own.question == "How long may I return shoes?"
        assert first.reviewed is not None
        assert (first.reviewed.record, first.reviewed.by) == (ann, audit.actor())
        assert "example" not in (tmp_path / "golden" / "reviewed.jsonl").read_text()

        assert (tmp_path / ANSWERS).exists()
        done = desk.run("erase", "--tenant", "shop", "--subject", "ann", "--yes").stdout
        assert "2 questions taken out of golden/" in done
        assert [one.id for one in read_golden(tmp_path).questions] == [last.id]
        assert not (tmp_path / ANSWERS).exists()
        assert desk.listed() == []
        (tmp_path / "golden" / "reviewed.jsonl").write_text('{"reviewed"\n')
        assert "left: golden/reviewed.jsonl:1" in desk.run("erase", "--tenant", "shop", "--yes", code=1).stderr

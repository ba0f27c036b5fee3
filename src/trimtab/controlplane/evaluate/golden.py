"""The golden set of a workspace: questions with what is true and false of them, and statements with wrong versions.

`golden/*.jsonl`, JSON lines of two kinds, told apart by their fields. A question says what a good answer holds; an
edit set says a statement of a passage and versions of it whose meaning was changed, none of which may pass for true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trimtab.core.document import Document, Time
from trimtab.core.errors import ConfigError
from trimtab.foundations.config import unknown_field

FOLDER = "golden"
ANSWERS = Path("var") / "eval" / "answers.jsonl"
"""What was answered, kept from one run to the next."""
Expect = Literal["answer", "refuse", "handover"]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=8000)]


class Reviewed(Document, frozen=True, kw_only=True):
    """Where a question comes from that somebody was not content with the answer to."""

    by: Text
    """Who took it in: a user of the operating system."""
    at: Time
    """When."""
    record: Text
    """The record of what was answered."""
    subject: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    """Whose text it is, as captured texts name them, so that `trimtab erase` finds it."""


class Question(Document, frozen=True):
    """What is asked, and what a good answer holds."""

    id: Text
    """Names it in results; one in all files."""
    tenant: Text
    """Who asks."""
    channel: Text
    """Which channel is asked."""
    question: Text
    """What is asked, as one user message."""
    language: str | None = None
    """For groups in the report."""
    intent: str | None = None
    """For groups in the report."""
    wording: Literal["plain", "free"] = "free"
    """Whether it asks in the words of the pages; for groups in the report."""
    expect: Expect = "answer"
    """What should come back: an answer, a refusal, or the template `handover`."""
    true: list[Text] = []
    """Texts any one of which, in an answer, shows that it is right."""
    false: list[Text] = []
    """Texts that show that it is wrong."""
    source: str | None = None
    """The passage that it is answered from."""
    reviewed: Reviewed | None = None
    """Of a question that `trimtab golden accept` took from a record."""


class Edits(Document, frozen=True):
    """A true statement with wrong versions, none of which may pass for supported."""

    id: Text
    """Names it in results; one in all files."""
    source: Text
    """The document that `statement` stands in."""
    question: Text
    """What it answers."""
    statement: Text
    """A sentence of the document, as it stands there."""
    edits: Annotated[list[Text], msgspec.Meta(min_length=1)]
    """Versions of it that are no longer true."""
    language: str | None = None
    """For groups in the report."""


class Golden(msgspec.Struct, frozen=True):
    """Questions and edit sets, in the order of their files and lines."""

    questions: tuple[Question, ...]
    edits: tuple[Edits, ...]


def read_golden(workspace: Path) -> Golden:
    """All lines of `golden/*.jsonl`. Raises ConfigError with each line that can't be used, by file and line; and where
    there is none at all."""
    questions: dict[str, Question] = {}
    edits: dict[str, Edits] = {}
    problems: list[str] = []
    for path in sorted((workspace / FOLDER).glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            where = f"{FOLDER}/{path.name}:{number}"
            try:
                read = read_line(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                problems.append(f"{where}: {error}")
                continue
            known: dict[str, Question] | dict[str, Edits] = questions if isinstance(read, Question) else edits
            if read.id in known:
                problems.append(f"{where}: the id {read.id!r} is there twice")
            known[read.id] = read  # type: ignore[assignment]  # the table is that of its type
    if not problems and not questions and not edits:
        hint = (
            'Write lines like {"id": "1", "tenant": "shop", "channel": "web", "question": "...", "true": ["30 days"]}.'
        )
        problems.append(f"{FOLDER}/: no golden set here. {hint}")
    if problems:
        raise ConfigError(problems)
    return Golden(tuple(questions.values()), tuple(edits.values()))


def read_line(line: bytes) -> Question | Edits:
    """Raises msgspec.DecodeError that names the field."""
    fields = msgspec.json.decode(line)
    if not isinstance(fields, dict):
        raise msgspec.ValidationError("a line must be an object")
    kind: type[Question | Edits] = Edits if "edits" in fields else Question
    try:
        read = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(unknown_field(error, kind)) from None
    if isinstance(read, Question) and read.expect == "answer" and not read.true:
        raise msgspec.ValidationError("a question that expects an answer needs `true`: what a right one holds")
    return read

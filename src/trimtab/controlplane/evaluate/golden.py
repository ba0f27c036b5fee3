"""The golden set of a workspace: questions with what is true and false of them, and statements with wrong versions.

`golden/*.jsonl`, JSON lines of two kinds, told apart by their fields. A question says what a good answer holds; an
edit set says a statement of a passage and versions of it whose meaning was changed, none of which may pass for true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trimtab.core.document import Document
from trimtab.core.errors import ConfigError
from trimtab.foundations.config import unknown_field

FOLDER = "golden"
Expect = Literal["answer", "refuse", "handover"]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=8000)]


class Question(Document, frozen=True):
    """`true`: texts any one of which, in an answer, shows that it is right; `false`: texts that show that it is wrong.
    `source`: the file of the corpus that it is answered from. `wording`: whether it asks in the words of the pages."""

    id: Text
    tenant: Text
    channel: Text
    question: Text
    language: str | None = None
    intent: str | None = None
    wording: Literal["plain", "free"] = "free"
    expect: Expect = "answer"
    true: list[Text] = []
    false: list[Text] = []
    source: str | None = None


class Edits(Document, frozen=True):
    """`statement`: a sentence of the file `source`, as it stands there, which answers `question`. `edits`: what is no
    longer true of it."""

    id: Text
    source: Text
    question: Text
    statement: Text
    edits: Annotated[list[Text], msgspec.Meta(min_length=1)]
    language: str | None = None


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
                read = _line(line)
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


def _line(line: bytes) -> Question | Edits:
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

"""What an answer to a golden question is worth. Deterministic: texts that are there or not, no model that judges."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

import msgspec

from trimtab.controlplane.evaluate.golden import Question

Kind = Literal["answered", "quoted", "refused", "handover", "failed"]
"""Who spoke: a model (or its stored answer), a passage, a template that says no, one that hands over; or an error."""

Grade = Literal["right", "wrong", "unsure"]
"""`wrong`: a person was told what is not so, or was answered where nobody could know. `unsure`: not shown right, but
nothing false either (a quote that misses the point, a refusal of what could be answered)."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for a question: `ms` end to end, `cost_nanousd` settled, the rest as the record says it."""

    kind: Kind
    text: str
    ms: float
    cost_nanousd: int | None = None
    path: str | None = None
    tier: str | None = None
    record: str | None = None
    status: int = 200


def grade(question: Question, answer: Answer) -> Grade:
    """A quote can't be wrong: it says what the pages say, and where. An answer of a model is right only if it holds
    one of the true texts, and wrong without one."""
    if question.expect != "answer":
        wanted: tuple[Kind, ...] = ("refused", "handover") if question.expect == "refuse" else ("handover",)
        if answer.kind in wanted:
            return "right"
        return "wrong" if answer.kind == "answered" else "unsure"
    if answer.kind == "answered":
        said = _holds(answer.text, question.true) and not _holds(answer.text, question.false)
        return "right" if said else "wrong"
    return "right" if answer.kind == "quoted" and _holds(answer.text, question.true) else "unsure"


def _holds(text: str, texts: Iterable[str]) -> bool:
    folded = fold(text)
    return any(fold(one) in folded for one in texts)


def fold(text: str) -> str:
    """Case, compatibility forms, kinds of apostrophe and white space mean nothing."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return re.sub(r"\s+", " ", plain).strip()

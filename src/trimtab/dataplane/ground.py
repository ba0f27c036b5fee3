"""Grounding: whether an answer that was made from passages says what they say, and what takes its place if it does not.

The guard compares; here the run's passages become its evidence. An unsupported answer never leaves: policy chooses what
does (rules at `guard_out` see `guard_check == "grounded"` and the score), and where no rule speaks, the best passage is
quoted with its source. A question that the passages are not about is not answered from them, quoted or not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.core.record import GuardRow
from trimtab.dataplane.guard.grounded import Evidence, Quote, best_quote, check, in_scope
from trimtab.dataplane.retrieval import question_of
from trimtab.dataplane.run import Run

CHECK: Final = "grounded"
LEAST_SCOPE: Final = 0.5
SCOPE_EMBEDDER: Final = "multilingual-e5-small-q4"
"""The embedder whose cosines `in_scope` was fitted on; another's say nothing to it, and words decide alone."""


class Ground(msgspec.Struct, frozen=True):
    """`score`: 1 is a supported answer; below it the answer must not leave. `quote`: what may, None for nothing."""

    score: float
    supported: bool
    quote: Quote | None
    reasons: tuple[str, ...]


def ground(run: Run, completion: dict[str, Any]) -> Ground | None:
    """The verdict on every choice of an answer; None where nothing was retrieved for it. Leaves a row in the record."""
    if run.retrieved is None or run.body is None:
        return None
    hits = run.retrieved.hits
    evidence = [
        Evidence(
            text=hit.passage.text, source=hit.passage.source, language=hit.passage.language, title=hit.passage.title
        )
        for hit in hits
    ]
    question = question_of(run.body.messages)
    fitted = run.plane.embedder.name == SCOPE_EMBEDDER
    if in_scope(question, evidence, [hit.cosine if fitted else None for hit in hits]) < LEAST_SCOPE:
        return _noted(run, Ground(0.0, False, None, ("out of scope",)))
    language = run.record.features.language if run.record.features is not None else None
    spoken = str(language.value) if language is not None and language.value else None
    score = 1.0
    reasons: tuple[str, ...] = ()
    for choice in completion["choices"]:
        said = choice["message"].get("content") or ""
        verdict = check(question, said, evidence, language=spoken)
        if not verdict.supported:
            score, reasons = min(score, verdict.score), verdict.reasons
    supported = not reasons
    quote = None if supported else best_quote(question, evidence)
    return _noted(run, Ground(score, supported, quote, reasons))


def _noted(run: Run, verdict: Ground) -> Ground:
    action = "none" if verdict.supported else "quoted" if verdict.quote is not None else "refused"
    row = GuardRow(stage="out", check=CHECK, hits=0 if verdict.supported else 1, action=action)
    run.record.guards.append(row)
    return verdict

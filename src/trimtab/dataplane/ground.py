"""Grounding: whether an answer that was made from passages says what they say, and what takes its place if it does not.

The guard compares; here the run's passages become its evidence. An unsupported answer never leaves: policy chooses what
does (rules at `guard_out` see `guard_check == "grounded"` and the score), and where no rule speaks, the best passage is
quoted with its source. A question that the passages are not about is not answered from them, quoted or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trimtab.core.record import GuardRow
from trimtab.dataplane.guard.grounded import Checker, Evidence, Quote, best_quote, in_scope, sentences
from trimtab.dataplane.retrieval import Hit, question_of
from trimtab.dataplane.run import Run

CHECK: Final = "grounded"
LEAST_SCOPE: Final = 0.5
QUOTE_SCOPE: Final = 0.7
"""An answer is compared word by word, a quote with nothing: so more must speak for it."""
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
    evidence = _evidence(hits)
    question = question_of(run.body.messages)
    fitted = run.plane.embedder.name == SCOPE_EMBEDDER
    scope = in_scope(question, evidence, [hit.cosine if fitted else None for hit in hits])
    if scope < LEAST_SCOPE:
        return _noted(run, Ground(0.0, False, None, ("out of scope",)))
    score = 1.0
    reasons: tuple[str, ...] = ()
    for choice in completion["choices"]:
        said = choice["message"].get("content") or ""
        verdict = _checker(run, question, evidence).check(said, language=run.language)
        if not verdict.supported:
            score, reasons = min(score, verdict.score), verdict.reasons
    supported = not reasons
    # of the passage that was found first: the words that choose a sentence choose worse among passages
    quote = best_quote(question, evidence[:1]) if not supported and scope >= QUOTE_SCOPE else None
    return _noted(run, Ground(score, supported, quote, reasons))


def answers_among(run: Run) -> tuple[str, ...]:
    """Of the sentences that the model is shown, those that could leave as an answer; all where none could, since what
    stands in for an answer is chosen when there is one."""
    if run.retrieved is None or run.body is None:
        return ()
    question, evidence = question_of(run.body.messages), _evidence(run.retrieved.hits)
    every = [one for hit in run.retrieved.shown for one in sentences(hit.passage.text)]
    checker = _checker(run, question, evidence)
    able = [one for one in every if checker.check(one, language=run.language).supported]
    return tuple(able or every)


def _checker(run: Run, question: str, evidence: Sequence[Evidence]) -> Checker:
    """The run's own: its passages are compared with the question once."""
    if run.checker is None:
        run.checker = Checker(question, evidence)
    return run.checker


def _evidence(hits: Sequence[Hit]) -> list[Evidence]:
    passages = [hit.passage for hit in hits]
    return [Evidence(text=one.text, source=one.source, language=one.language, title=one.title) for one in passages]


def _noted(run: Run, verdict: Ground) -> Ground:
    action = "none" if verdict.supported else "quoted" if verdict.quote is not None else "refused"
    row = GuardRow(stage="out", check=CHECK, hits=0 if verdict.supported else 1, action=action)
    run.record.guards.append(row)
    return verdict

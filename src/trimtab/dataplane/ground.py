"""Grounding: whether an answer that was made from passages says what they say, and what takes its place if it does not.

The guard compares; here the run's passages become its evidence. An unsupported answer never leaves: policy chooses what
does (rules at `guard_out` see `guard_check == "grounded"` and the score), and where no rule speaks, the best passage is
quoted with its source. A question that the passages are not about is not answered from them, quoted or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.request import Body
from trimtab.core.rows import GuardRow
from trimtab.dataplane.guard.grounded import Checker, Evidence, Quote, best_quote, in_scope, sentences
from trimtab.dataplane.inference import extracts
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


def ground(run: Run, said: Sequence[str]) -> Ground | None:
    """The verdict on an answer, each of its choices; None where nothing was retrieved. Leaves a row in the record."""
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
    for one in said:
        verdict = _checker(run, question, evidence).check(one, language=run.language)
        if not verdict.supported:
            score, reasons = min(score, verdict.score), verdict.reasons
    supported = not reasons
    # of the passage that was found first: the words that choose a sentence choose worse among passages
    quote = best_quote(question, evidence[:1]) if not supported and scope >= QUOTE_SCOPE else None
    return _noted(run, Ground(score, supported, quote, reasons))


def answers_among(run: Run, plan: Plan, body: Body) -> tuple[str, ...] | None:
    """Of the sentences that an extractive variant is shown, those that could leave as an answer: there may be none, and
    then no use in asking. None: the answer is to be in the model's own words."""
    if run.retrieved is None or not extracts(plan.variant, body):
        return None
    if not run.retrieved.shown:  # policy keeps passages from the model, so it has nothing to choose from
        return ()
    question, evidence = question_of(body.messages), _evidence(run.retrieved.hits)
    every = [one for hit in run.retrieved.shown for one in sentences(hit.passage.text)]
    checker = _checker(run, question, evidence)
    return tuple(one for one in every if checker.check(one, language=run.language).supported)


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

"""Overflow: what a request must be before it leaves its residency. Redacted by the pool's own profile, and paid for out
of the pool's tokens.

It is a border: what was redacted at it is put back as the answer comes in, before anything else reads that. So guards,
groundedness and whoever goes on with a broken answer see the texts as they would see those of a model within. Who may
be sent what is decided in `routing` and asked once more of each replica (`Replica.takes`).
"""

from __future__ import annotations

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.models import OverflowTerms
from trimtab.dataplane import hold, settle
from trimtab.dataplane.deliver import NotAnswered
from trimtab.dataplane.guard import OutScreen, holds, regions_of, screen_in
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Decision, Run


def redacted(run: Run, decision: Decision, terms: OverflowTerms) -> Decision | NotAnswered:
    """The decision with a body that may leave, what is sent (and the sentences to choose from) redacted in the run; or
    why nothing leaves: names of fields and numbers can't be redacted, so there must be nothing to be found in them."""
    entry, body = decision.bound.entry, decision.body
    if body.images:  # nothing sees who is in them
        return _kept("can't be redacted")
    regions = regions_of((entry.key.market or "", *entry.tenant.markets))
    beside = {"body": body.extra, "sentences": list(run.sentences)}
    screened = screen_in(run.sent, beside, terms.redact, regions)
    run.record.guards.extend(screened.rows)
    if holds(terms.redact, regions, screened.messages, screened.extra):
        return _kept("can't be redacted")
    run.sent, run.sentences = screened.messages, tuple(screened.extra["sentences"])
    run.border = screened.values
    return msgspec.structs.replace(decision, body=msgspec.structs.replace(body, extra=screened.extra["body"]))


async def begin(run: Run, plan: Plan, bound: Bound, terms: OverflowTerms) -> NotAnswered | None:
    """Before each pass over the pool's replicas: tokens for all that it may take, and a fresh eye on what comes back.
    NotAnswered: the day's tokens are used up. Raises StoreLostError."""
    settle.pool(run)
    model = plan.variant.model
    overrun = run.configuration.catalogue.models[model].overrun_tokens
    run.tokens = await run.plane.pools.reserve(
        model,
        terms.tokens_per_day,
        plan.prompt_bound + (plan.max_tokens + overrun) * plan.choices,
        record=run.record.id,
        key=bound.entry.key.id,
        lasts_s=hold.left_s(run, bound),
    )
    if run.tokens is None:
        run.end_ticket("ignored")
        return _kept("overflow tokens used up")
    run.outside = len(run.record.attempts)
    run.back = OutScreen((), (), run.border, restore=True) if run.border else None
    return None


def _kept(reason: str) -> NotAnswered:
    refusal = Refusal(code=Code.RESIDENCY_NOT_ALLOWED, message=f"the request may not leave its residency: {reason}")
    return NotAnswered(refusal, reason)

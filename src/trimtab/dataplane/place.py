"""Place: which replica a prompt goes to, from what each is believed to hold of it to what the engine then told.

Nothing of this is done for a model with one replica.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.request import Message
from trimtab.dataplane import routing
from trimtab.dataplane.inference import SALTED, Answering, Prompt, Sender, prompt_of
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run
from trimtab.foundations.derive import pseudonym, tenant_secret

ASIDE_BYTES = 32_768
"""Prompts above this are cut into blocks off the event loop."""


async def look(run: Run, plan: Plan, bound: Bound) -> None:
    """What the replicas of the plan's model hold of its prompt, into the run. Passages are not in it yet."""
    run.belief = None
    choice, body = run.plane.choice, run.body
    if body is not None and choice.is_open(plan.variant.model):
        prompt = await _prompt(run, plan, bound, routing.windowed(body.messages, plan.dropped_turns))
        run.belief = choice.look(plan.variant.model, prompt)


async def with_passages(run: Run, plan: Plan, bound: Bound) -> None:
    """They stand before the last question: what is held ends there, whatever comes after it now."""
    if run.belief is not None and run.retrieved is not None and run.retrieved.shown:
        prompt = await _prompt(run, plan, bound, run.sent)
        run.belief = msgspec.structs.replace(run.belief, prompt=prompt)


async def sender(run: Run, plan: Plan, bound: Bound) -> Sender | None:
    """Whose prompt it is, where the model's replicas keep their slots by tenant."""
    if not run.plane.fleet.has_slots(plan.variant.model):
        return None
    prompt = run.belief.prompt if run.belief is not None else await _prompt(run, plan, bound, run.sent)
    return Sender(bound.tenant.id, prompt)


def began(run: Run, answering: Answering) -> None:
    """A replica has taken the prompt in: it holds that now, and is where the request runs."""
    ticket, belief = run.ticket, run.belief
    if ticket is None or belief is None:
        return
    ticket.begun_at(answering.replica.id)
    run.placed = run.plane.choice.placed(answering.replica, belief, ticket.turn.ask.prompt)


def learn(run: Run) -> None:
    """What the engine has told of the prompt that it was given."""
    if run.placed is not None and run.usage is not None:
        run.plane.choice.corrected(run.placed, run.usage)


def salt(run: Run, plan: Plan, bound: Bound) -> str:
    """What keeps a tenant's prefixes apart in engines that share them; it tells who it is to nobody."""
    if plan.variant.dialect not in SALTED:
        return ""
    return pseudonym(tenant_secret(run.plane.secret, bound.tenant.id), "cache_salt")


async def _prompt(run: Run, plan: Plan, bound: Bound, messages: Sequence[Message]) -> Prompt:
    tools = run.body.extra.get("tools") if run.body is not None else None
    if run.prompt_bound > ASIDE_BYTES:
        return await run.plane.clock.offload(prompt_of, bound.tenant.id, plan.variant.system, tools, messages)
    return prompt_of(bound.tenant.id, plan.variant.system, tools, messages)

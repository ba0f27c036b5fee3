"""Fulfil: stages 8 to 11 of a request (DESIGN section 2). Plan after plan until one answers: a token, its money, its
passages, its model.

`pipeline` has decided what may happen; what is held is in the `Run`, and given back there whatever happens here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.rows import AdmissionRow, PlanRow, Short, Why
from trimtab.dataplane import deliver, foresee, hold, overflow, place, routing, settle, shadow
from trimtab.dataplane.admission import Refused, Ticket
from trimtab.dataplane.deliver import NotAnswered
from trimtab.dataplane.ground import answers_among
from trimtab.dataplane.inference import Fault, encode, generate
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.resume import Resuming
from trimtab.dataplane.retrieval import Corpus, question_of, retrieve, with_passages
from trimtab.dataplane.run import Decision, Run
from trimtab.dataplane.tune import is_setting, tuned

SHUT: Final[dict[Short, str]] = {
    "slots": "queue full",
    "turn": "others wait before it",
    "ttft": "would begin too late",
    "itl": "would write too slowly",
    "e2e": "would end too late",
    "others": "would make others late",
    "booked": "promised to others",
    "share": "kept for other tenants",
}
"""What the record says of a plan whose gate did not open."""
UNWELL: Final = "nobody of its model was well"
"""And of one that waits for all the others, since its replicas rest or are ejected."""
RETRIEVAL_SHARE = 0.25
"""Of the end-to-end target: what embedding a question may take before the lexical lists decide alone."""


async def fulfil(decision: Decision, run: Run) -> None:
    """Stages 8 to 11: plan after plan until one answers; before its first byte has left, the next one may still, and
    after it one that can go on with what has left."""
    bound = decision.bound
    missed = Refusal(code=Code.NOTHING_ALLOWED, message=Code.NOTHING_ALLOWED.value.cause)
    if bound.contract.resume == "continue":
        run.resuming = Resuming()
    try:
        async with asyncio.timeout(hold.left_s(run, bound)):
            shut: list[Shut] = []
            for plan, row, others in tuned(run, bound, _in_turn(decision, shut, run)):
                goes_on = run.started
                outcome = await _try(run, plan, row, others, decision, shut)
                if outcome is None:
                    return
                row.outcome = outcome.reason
                told = outcome.last or not plan.leaves  # that nobody elsewhere helped is no reason for the caller
                if told and not goes_on and not (outcome.reason == "no attempt left" and run.tries.attempts):
                    missed = outcome.refusal  # why it failed or broke, not why nobody else was asked
                if outcome.last:
                    break
            if missed.code is Code.QUEUE_FULL and shut and not run.started:
                missed = _when(shut, run.ledger.elapsed_ms())
    except TimeoutError:
        missed = hold.too_late(bound)
        run.end_ticket("dropped")
    if run.started:
        deliver.break_off(run, missed)
    else:
        await deliver.miss(run, missed, decision)


def _in_turn(decision: Decision, shut: Sequence[Shut], run: Run) -> Iterator[tuple[Plan, PlanRow, int]]:
    """Plans, best first, each with how many could still be asked after it; those whose model has nobody who is well
    come last. Then once more those whose tier could not keep the contract even when idle: where no other can, late is
    better than not at all. Then, in the same order, those that leave the residency. And while a stream is broken off,
    those that can go on with it."""
    fleet = run.plane.fleet
    able = fleet.is_able
    plans = list(zip(decision.plans, decision.rows, strict=True))
    for plan, row in plans:
        if fleet.count(plan.variant.model) and not able(plan.variant.model):
            row.outcome = UNWELL  # until it is asked after all
    plans.sort(key=lambda one: one[1].outcome == UNWELL)
    plans.sort(key=lambda one: one[0].leaves)
    for leaves in (False, True):
        for number, (plan, row) in enumerate(plans):
            if not run.started and plan.leaves == leaves:
                yield plan, row, sum(able(later.variant.model) for later, _ in plans[number + 1 :])
        late = [one.plan for one in shut if one.refused.turn.strict and not one.refused.can_keep]
        if decision.bound.contract.on_miss != "refuse":
            for plan, row in plans:
                if plan in late and not run.started and plan.leaves == leaves:
                    yield plan, row, 0
    for plan, row in plans:
        if _goes_on(run, plan):
            yield plan, row, 0


def _when(shut: Sequence[Shut], elapsed_ms: float) -> Refusal:
    """Every gate was shut: the one that is expected to open first tells when."""
    first = min(shut, key=lambda one: math.inf if one.refused.room_ms is None else one.refused.room_ms)
    return hold.full(f"tier {first.plan.tier}", first.refused, first.row, elapsed_ms)


async def _try(
    run: Run, plan: Plan, row: PlanRow, others: int, decision: Decision, shut: list[Shut]
) -> NotAnswered | None:
    """One plan: a token, its money, its model. None: the client has its answer, or an error event after a start."""
    ledger, bound, body = run.ledger, decision.bound, decision.body
    run.prices[plan.variant.id] = plan.variant.price
    with ledger.stage("admit"):  # 8
        ticket = await _admit(run, plan, decision, shut)
        if isinstance(ticket, NotAnswered):
            return ticket
        run.ticket = ticket
    if run.started:
        plan = settle.shortened(run, plan)
    with ledger.stage("reserve"):  # 9
        paid = await hold.reserve(run, plan, bound)
        if isinstance(paid, Refusal):
            run.end_ticket("ignored")
            return NotAnswered(paid, paid.code.wire)
        plan = paid
    run.sent, run.sentences = routing.windowed(body.messages, plan.dropped_turns), ()
    if run.corpus is not None:  # also where policy keeps passages out of the prompt: the answer is held against them
        with ledger.stage("retrieve"):  # 10
            await _retrieve(run, plan, bound, run.corpus)
            among = answers_among(run, plan, body)
        if among == ():
            row.outcome = "not asked: no sentence answers"
            run.end_ticket("ignored")
            await deliver.unasked(run)
            return None
        run.sentences = among or ()
    run.back = None
    if plan.overflow is not None:
        with ledger.stage("guard_in"):
            outside = overflow.redacted(run, decision, plan.overflow)
        if isinstance(outside, NotAnswered):
            run.end_ticket("ignored")
            return outside
        decision = outside
    await place.with_passages(run, plan, bound)
    foresee.sent(run, plan, bound)
    run.begin_infer()  # 11; `deliver` books it when the model's answer has ended
    broken = await _ask(run, plan, row, others, decision)
    run.book_infer()
    if broken is not None:
        run.end_ticket("dropped")
    return broken


async def _ask(run: Run, plan: Plan, row: PlanRow, others: int, decision: Decision) -> NotAnswered | None:
    """The plan's model: replica after replica until the caller has its answer, as long as nothing has left of one."""
    plane, bound = run.plane, decision.bound
    why: Why = "continue" if run.started else "next plan" if run.tries.attempts else "first"
    broken: NotAnswered | None = None
    while True:
        if plan.overflow is not None:
            kept = await overflow.begin(run, plan, bound, plan.overflow)
            if kept is not None:
                return broken or kept
        sent = run.sent
        if run.resuming is not None:
            run.resuming = run.resuming if run.started else Resuming()  # nothing has left: another begins anew
            sent = run.resuming.messages(sent)
        begun = await generate(
            plan,
            encode(plan, sent, decision.body, run.sentences, place.salt(run, plan, bound)),
            fleet=plane.fleet,
            dialer=plane.dialer,
            ledger=run.ledger,
            tries=run.tries,
            patience=hold.patience(run, plan, bound, others),
            sender=await place.sender(run, plan, bound),
            residency=bound.contract.residency,
            why=why,
            order=run.ticket.order if run.ticket is not None else (),
        )
        if isinstance(begun, Fault):
            if begun.reason == "no replica" and broken is not None:
                return broken
            return NotAnswered(begun.refusal, begun.reason, last=begun.consequence == "final")
        run.answering = begun
        place.began(run, begun)
        begun.stall_s = hold.stall_s(run, plan, bound, others, decision.plans)
        row.outcome = "taken"
        shadow.launch(run, plan, decision)
        broken = await deliver.answer(run, plan, begun)
        if broken is None or broken.last or (run.started and not _goes_on(run, plan)):
            return broken
        why = "continue" if run.started else "other replica"


def _goes_on(run: Run, plan: Plan) -> bool:
    """A stream that has begun stays in its residency: what has come of it may end within what should be redacted."""
    return run.resuming is not None and not plan.leaves and run.resuming.may(plan)


class Shut(msgspec.Struct, frozen=True):
    """A gate that did not let the request in."""

    plan: Plan
    refused: Refused
    row: AdmissionRow


async def _admit(run: Run, plan: Plan, decision: Decision, shut: list[Shut]) -> Ticket | NotAnswered:
    """A ticket of the plan's model, now or after the wait that policy and contract leave."""
    bound, gate = decision.bound, run.plane.gates.of(plan.variant.model)
    if gate is None:
        return NotAnswered(hold.no_replica(f"tier {plan.tier}"), "no replica")
    view = gate.view()
    effects = run.configuration.snapshot.release.policy.look(
        "admit",
        {
            **run.values,
            "tier": plan.tier,
            "tier_free": view.free,
            "tier_slots": view.slots,
            "tier_waiting": view.waiting,
            "expected_wait_ms": view.expected_wait_ms,
            **run.lookup.of_plan(plan.variant, run.record),
        },
    )
    run.record.rules.extend(effects.trace)
    wait_s, reroute = hold.wait_s(run, bound), bound.contract.on_miss != "refuse"
    if effects.on_full is not None:
        wait_s = min(effects.on_full.wait_ms / 1000, wait_s)
        reroute = reroute and effects.on_full.reroute
    ask = gate.tier.expected.ask((bound.tenant.id, bound.name), plan.prompt_bound, plan.max_tokens)
    rivals = sum(one.leaves == plan.leaves for one in decision.plans)
    refused = sum(one.plan.leaves == plan.leaves for one in shut)
    strict = bound.contract.on_miss == "refuse" or (rivals > 1 and refused < rivals)
    if run.tries.attempts:  # somebody has failed: late is better than not at all
        strict = False
    if is_setting(plan):  # the model's own endpoints come next
        strict, wait_s, reroute = True, 0.0, True
    await place.look(run, plan, bound)
    turn = hold.turn(run, bound, ask, strict=strict, avoid=run.plane.fleet.avoided(plan.variant.model))
    run.plane.aside.give_way(plan.variant.model, lambda: gate.is_open(turn))
    got = await hold.admitted(run, gate, turn, wait_s, model=plan.variant.model)
    if isinstance(got, Ticket):
        return got
    no, row = got
    if not is_setting(plan):
        shut.append(Shut(plan, no, row))
    told = Refusal(code=Code.QUEUE_FULL, message=Code.QUEUE_FULL.value.cause)
    return NotAnswered(told, SHUT[row.short or "slots"], last=not reroute)


async def _retrieve(run: Run, plan: Plan, bound: Bound, corpus: Corpus) -> None:
    """Passages for the last question, in the prompt of a RAG plan; within its share of the time."""
    counter = run.configuration.counters[plan.variant.model]
    run.checker = None
    run.retrieved = await retrieve(
        corpus,
        run.plane.embedder,
        question_of(run.sent),
        max_tokens=plan.retrieval_tokens,
        count=counter.count,
        timeout_s=min(hold.left_s(run, bound), bound.contract.latency.e2e_ms / 1000 * RETRIEVAL_SHARE),
        show=plan.variant.passages if plan.path == "rag" else 0,
        language=run.language,
    )
    run.sent = with_passages(run.sent, run.retrieved.shown)

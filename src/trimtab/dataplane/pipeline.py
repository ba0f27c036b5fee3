"""The life of one request: `answer` is the table of DESIGN section 2, in its order.

decide (1-7) says what may happen, fulfil (8-11) makes it happen, settle (12) closes the account, whatever happened. A
refusal is a value; an exception is a fault of ours. What a request holds is in its `Run` and is given back in the
`finally` before anything is awaited, so that a client that hangs up at any point leaves nothing reserved, running or
waited for.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from trimtab.core.decision import Allowed, Features, Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.ledger import Ledger
from trimtab.core.record import AdmissionRow, PlanRow, Record, Short, Why, answering
from trimtab.core.request import Arrival, Body, Request
from trimtab.dataplane import (
    arms,
    deliver,
    embeddings,
    foresee,
    hold,
    ingress,
    overflow,
    place,
    policy,
    routing,
    settle,
    shadow,
)
from trimtab.dataplane.admission import Refused, Ticket
from trimtab.dataplane.cache import Entry, bypass_reason, cache_key, usable
from trimtab.dataplane.deliver import NotAnswered
from trimtab.dataplane.ground import answers_among
from trimtab.dataplane.guard import regions_of, screen_in
from trimtab.dataplane.inference import Fault, encode, generate, unfit
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.plane import DataPlane, Reply
from trimtab.dataplane.resume import Resuming
from trimtab.dataplane.retrieval import Corpus, question_of, retrieve, with_passages
from trimtab.dataplane.run import Decision, Run, Template, Wanted, request_values
from trimtab.dataplane.spend import StoreLostError
from trimtab.foundations.derive import tenant_secret
from trimtab.foundations.tokens import prompt_bound, text_bytes

_log = logging.getLogger(__name__)
_COUNT_ASIDE_BYTES = 32_768  # prompts above this are counted off the event loop
_TEMPLATE = "template:"
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
RETRIEVAL_SHARE = 0.25
"""Of the end-to-end target: what embedding a question may take before the lexical lists decide alone."""


async def answer(request: Request, arrival: Arrival, reply: Reply, plane: DataPlane) -> Record:
    """Answer one request under its contract, and leave its record. Cancelled when the client hangs up."""
    run = Run(Ledger(plane.clock, arrival, plane.ids.record_id()), reply, plane)
    answering.set(run.record.id)
    try:
        decided = await decide(request, run)
        if isinstance(decided, Refusal):
            deliver.refuse(run, decided)
        elif isinstance(decided, Template):
            await deliver.template(run, decided)
        elif isinstance(decided, Entry):
            await deliver.stored(run, decided)
        elif isinstance(decided, Wanted):
            await embeddings.fulfil(decided, run)
        else:
            await fulfil(decided, run)
    except asyncio.CancelledError:
        deliver.gone(run)
        raise
    except StoreLostError:
        deliver.refuse(run, hold.store_lost())
    except Exception:  # noqa: BLE001 - whatever it was, the caller gets an answer and the record is written
        _log.exception("request %s failed", run.record.id)
        deliver.refuse(run, Refusal(code=Code.INTERNAL_ERROR, message=Code.INTERNAL_ERROR.value.cause))
    finally:
        with run.ledger.stage("settle"):  # 12
            settle.close(run)
        settle.write(run)
        foresee.learn(run)
        place.learn(run)
    return run.record


# --- decide ---------------------------------------------------------------------------------------------------------


async def decide(request: Request, run: Run) -> Decision | Template | Entry | Wanted | Refusal:
    """Stages 1 to 7: who asks, what it may spend, what policy permits, a stored answer or a ranked list of plans. Who
    wants vectors has nothing to choose from after 3."""
    ledger, plane, record, snapshot = run.ledger, run.plane, run.record, run.configuration.snapshot
    record.snapshots, record.route = snapshot.names, request.head.route
    ledger.waited()
    with ledger.stage("ingress"):  # 1
        entry = ingress.authenticate(request.head, ledger.arrival, snapshot.tenancy, plane.clock.wall_ns())
        if isinstance(entry, Refusal):
            return entry
        record.tenant, record.key_id, record.market = entry.tenant.id, entry.key.id, entry.key.market
        if plane.draining:
            return Refusal(code=Code.DRAINING, message=Code.DRAINING.value.cause, retry_after_s=1.0)
        charged = await plane.limiter.charge_request(entry)
        run.charges.append(charged)
        if charged.refusal is not None:
            return charged.refusal
    with ledger.stage("body"):
        body = await request.body()
        if isinstance(body, Refusal):
            return body
        run.body, record.stream = body, body.stream
    with ledger.stage("bind"):  # 2
        catalogue = run.configuration.catalogue
        raised = snapshot.tenancy.raised
        experiments = snapshot.tenancy.experiments
        bound = ingress.bind(
            request.head, body, entry, ledger.arrival, catalogue, plane.secret, plane.embedder, raised, experiments
        )
        if isinstance(bound, Refusal):
            return bound
        run.bound = bound
        settle.note_bound(record, bound)
        if (refused := await _charge(run, bound, body)) is not None:
            return refused
    with ledger.stage("guard_in"):  # 3
        regions = regions_of((entry.key.market or "", *entry.tenant.markets))
        screened = screen_in(body.messages, body.extra, bound.channel.guards.checks_in, regions)
        record.guards.extend(screened.rows)
        body = run.body = settle.redacted(body, screened)
        run.placeholders = screened.values
    if body.embedding is not None:
        return Wanted(bound=bound, texts=tuple(settle.texts(body.messages)), terms=body.embedding)
    with ledger.stage("classify"):  # 4
        features = record.features = await plane.classifier.classify(
            body.messages,
            bound.tenant,
            bound.name,
            bound.channel,
            run.configuration.prepared,
            need=run.configuration.need | ({"intent"} if bound.channel.intents else set()),
        )
    with ledger.stage("decide"):  # 5
        run.values = request_values(bound, body, features, run.prompt_bound, request.head.route)
        allowed, trace = policy.allowed(snapshot.release.policy, run.values, bound.channel)
        record.rules.extend(trace)
        run.guards_out = allowed.guards_out
        if allowed.answer is not None:
            return Template(allowed.answer.removeprefix(_TEMPLATE), "content_filter")
    with ledger.stage("cache"):  # 6
        no_store = "no-store" in request.head.headers.get("cache-control", "")
        stored = None if no_store else await _look_up(run, bound, body, features, allowed)
        if stored is not None:
            return stored
    with ledger.stage("route"):  # 7
        return await _route(run, bound, body, allowed)


async def _charge(run: Run, bound: Bound, body: Body) -> Refusal | None:
    """The channel's request rate, and tokens by estimate: a quarter of the prompt's bytes, trued up at settle."""
    tokens = prompt_bound(body.messages, body.extra)
    if tokens is None:
        message = "only text can be bounded in tokens: images, audio and files are not taken here"
        return Refusal(code=Code.INVALID_REQUEST, message=message, param="messages")
    run.prompt_bound = tokens
    charged = await run.plane.limiter.charge_bound(bound.entry, bound.name, bound.channel, tokens // 4)
    run.charges.append(charged)
    if charged.refusal is None:
        run.charged_tokens = tokens // 4
    return charged.refusal


async def _look_up(run: Run, bound: Bound, body: Body, features: Features, allowed: Allowed) -> Entry | Refusal | None:
    """A stored answer; else None, with the single flight in the run if this request is to fill the cache."""
    bypass = bypass_reason(
        temperature=body.temperature,
        n=body.n,
        logprobs=bool(body.extra.get("logprobs")),
        has_tools=body.has_tools,
        terms=bound.channel.cache,
    )
    if not allowed.cache or bypass is not None:
        return None
    snapshot, variants = run.configuration.snapshot, run.configuration.catalogue.variants
    language = features.language.value if features.language else None
    key = cache_key(
        tenant=bound.tenant.id,
        tenant_secret=tenant_secret(run.plane.secret, bound.tenant.id),
        messages=body.messages,
        values=run.placeholders,
        fields={**body.extra, "max_tokens": body.max_tokens, "temperature": body.temperature},
        terms=bound.channel.cache,
        scope=(
            bound.name,
            bound.target.pin,
            bound.contract.residency,
            snapshot.release.id,
            run.corpus.id if run.corpus is not None and allowed.rag else None,
            bound.persona,
            language,
            arms.scope(bound, run.configuration.catalogue),
        ),
    )

    def takes(entry: Entry) -> bool:
        variant = variants.get(entry.variant_name)
        return (
            variant is not None
            and variant.tier in allowed.tiers
            and variant.name not in allowed.forbidden_variants
            and variant.quality_lower >= bound.contract.quality.min
            and bound.target.takes(variant)
            and usable(entry, run.placeholders)
        )

    found = await run.plane.cache.look_up(key, takes, hold.left_s(run, bound))
    if isinstance(found, Entry):
        return found
    if found is None:
        return Refusal(code=Code.DEADLINE_EXCEEDED, message="an equal request did not end before the deadline")
    run.flight = found
    return None


async def _route(run: Run, bound: Bound, body: Body, allowed: Allowed) -> Decision | Template | Refusal:
    rules = run.configuration.snapshot.release.policy
    if bound.channel.corpus is not None and allowed.rag and run.corpus is None:
        # without its passages a model would make something up
        message = f"the index of corpus {bound.channel.corpus} is not ready yet"
        return Refusal(code=Code.NO_REPLICA, message=message, retry_after_s=1.0)
    too_long = await _too_long(run, body)
    question = routing.Question(
        messages=body.messages,
        body=body,
        contract=bound.contract,
        allowed=allowed,
        takes=bound.target.takes,
        place=bound.target.place,
        unfit=lambda variant: unfit(variant.dialect, body),
        left_nanousd=await run.plane.budgets.unspent(bound.entry, bound.name, bound.channel),
        index=run.corpus.id if run.corpus is not None and allowed.rag else None,
        fits_context=lambda variant: variant.model not in too_long,
        held=bound.target.held,
        assigned=bound.split,
    )
    variants = tuple(run.configuration.catalogue.variants.values())
    ranked, refusal = routing.rank(variants, question, lambda own: rules.look("route", {**run.values, **own}))
    rows = [routing.row_of(plan) for plan in ranked.plans]
    run.record.rules.extend(ranked.trace)
    run.record.plans = [*rows, *ranked.left_out]
    if ranked.answer is not None:
        return Template(ranked.answer.removeprefix(_TEMPLATE), "content_filter")
    if refusal is not None and refusal.code is Code.BUDGET_EXHAUSTED:
        return await run.plane.budgets.used_up(bound.entry, bound.name, bound.channel)
    return refusal or Decision(bound=bound, body=body, allowed=allowed, plans=ranked.plans, rows=tuple(rows))


async def _too_long(run: Run, body: Body) -> frozenset[str]:
    """Models whose context can't hold the prompt, counted only where its bound does not settle the question.

    An estimated count is believed only when it is twice over: the upstream itself knows better.
    """
    doubtful = [one for one in run.configuration.catalogue.models.items() if run.prompt_bound > one[1].context]
    if not doubtful:
        return frozenset()
    text = "\n".join(settle.texts(body.messages))
    found = set()
    for name, model in doubtful:
        counter = run.configuration.counters[name]
        if text_bytes(text) > _COUNT_ASIDE_BYTES:
            tokens = await run.plane.clock.offload(counter.count, text)
        else:
            tokens = counter.count(text)
        if tokens // (1 if counter.source == "counted" else 2) >= model.context:
            found.add(name)
    return frozenset(found)


# --- fulfil ---------------------------------------------------------------------------------------------------------


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
            for plan, row, others in _in_turn(decision, shut, run):
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
    plans.sort(key=lambda one: fleet.count(one[0].variant.model) > 0 and not able(one[0].variant.model))
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
    await place.look(run, plan, bound)
    turn = hold.turn(run, bound, ask, strict=strict, avoid=run.plane.fleet.avoided(plan.variant.model))
    run.plane.aside.give_way(plan.variant.model, lambda: gate.is_open(turn))
    got = await hold.admitted(run, gate, turn, wait_s, model=plan.variant.model)
    if isinstance(got, Ticket):
        return got
    no, row = got
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

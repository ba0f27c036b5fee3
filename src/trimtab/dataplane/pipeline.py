"""The life of one request: `answer` is the table of DESIGN section 2, in its order.

decide (1-7) says what may happen, fulfil (8-11) makes it happen, settle (12) closes the account, whatever happened. A
refusal is a value; an exception is a fault of ours. What a request holds is in its `Run` and is given back in the
`finally` before anything is awaited, so that a client that hangs up at any point leaves nothing reserved, running or
waited for.
"""

from __future__ import annotations

import asyncio
import logging

from trimtab.core.decision import Allowed, Features
from trimtab.core.errors import Code, Refusal
from trimtab.core.ledger import Ledger
from trimtab.core.models import setting_of
from trimtab.core.record import Record, answering
from trimtab.core.request import Arrival, Body, Request
from trimtab.core.trace import begin
from trimtab.dataplane import (
    arms,
    capture,
    deliver,
    embeddings,
    foresee,
    hold,
    ingress,
    place,
    policy,
    routing,
    settle,
    tune,
)
from trimtab.dataplane.bounded import bounded
from trimtab.dataplane.cache import Entry, bypass_reason, cache_key, usable
from trimtab.dataplane.fulfil import fulfil
from trimtab.dataplane.guard import regions_of, screen_in
from trimtab.dataplane.inference import unfit
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.plane import DataPlane, Reply
from trimtab.dataplane.run import Decision, Run, Template, Wanted, request_values
from trimtab.dataplane.spend import StoreLostError
from trimtab.foundations.derive import tenant_secret
from trimtab.foundations.tokens import text_bytes

_log = logging.getLogger(__name__)
_COUNT_ASIDE_BYTES = 32_768  # prompts above this are counted off the event loop
_TEMPLATE = "template:"


async def answer(request: Request, arrival: Arrival, reply: Reply, plane: DataPlane) -> Record:
    """Answer one request under its contract, and leave its record. Cancelled when the client hangs up."""
    run = Run(Ledger(plane.clock, arrival, plane.ids.record_id()), reply, plane)
    run.ledger.trace = begin(run.record, request.head.headers, plane.telemetry)
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
        tune.note(run)
        settle.write(run)
        capture.keep(run)
        foresee.learn(run)
        place.learn(run)
        tune.learn(run)
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
        record.channel = ingress.presumed(request.head, entry)
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
        run.screened = True
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
        run.values |= run.lookup.of_request(record)
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
    tokens = bounded(body, bound.channel, run.configuration.catalogue.models)
    if isinstance(tokens, Refusal):
        return tokens
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
        unfit=lambda variant: unfit(variant, body),
        checked=bool(run.guards_out or bound.channel.guards.deny),
        left_nanousd=await run.plane.budgets.unspent(bound.entry, bound.name, bound.channel),
        index=run.corpus.id if run.corpus is not None and allowed.rag else None,
        fits_context=lambda variant: variant.model not in too_long,
        held=bound.target.held,
        assigned=bound.split,
        about=lambda variant: run.lookup.of_plan(variant, run.record),
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
    models = run.configuration.catalogue.models.items()
    doubtful = [one for one in models if run.prompt_bound > one[1].context and setting_of(one[0]) is None]
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

"""Hold: the waits for what a request must hold before it may run, within its contract, and what is said in vain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from trimtab.core.clock import NS_PER_MS, NS_PER_S
from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import Price
from trimtab.core.rows import AdmissionRow
from trimtab.dataplane import foresee, settle
from trimtab.dataplane.admission import Gate, Refused, Ticket, Turn
from trimtab.dataplane.inference import Hedge, Patience
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.routing import LEAST_OUTPUT
from trimtab.dataplane.run import Run
from trimtab.dataplane.spend import Lease, Meter
from trimtab.foundations.podmodel import Ask

STORE_RETRY_S = 2.0
"""When to come back where the shared store is lost: it is asked again more often than that."""


SHORT_TOKENS = 1000
"""Prompt and answer, as foreseen, of a request for which a second attempt may be made."""
LEAST_STALL_S = 5.0
STALL_GAPS = 50
"""A stream that says nothing for so many of the contract's times between tokens, and LEAST_STALL_S, has stalled."""


async def reserve(run: Run, plan: Plan, bound: Bound) -> Plan | Refusal:
    """Money for what answers like this one use, on top of what failed attempts have spent; less if there is less, but
    never less than pays for the prompt and a short answer. The plan with its output cut to what could be paid for by
    all the money that there is: while it is written, the meter asks for it."""
    run.meter = None
    spent = settle.spent_nanousd(run)
    price, lengths = plan.variant.price, run.plane.lengths
    want = least = spent
    if price is not None:
        fewest = min(plan.max_tokens, LEAST_OUTPUT)
        least = spent + price.most(plan.prompt_bound, fewest * plan.choices)
        expected = plan.max_tokens
        if _can_count(plan):
            expected = lengths.expected(bound.tenant.id, bound.name, plan.variant.name, plan.max_tokens)
        want = spent + price.most(plan.prompt_bound, max(fewest, expected) * plan.choices)

    assert run.ticket is not None
    model, place = plan.variant.model, f"tier {plan.tier}"

    async def again(turn: Turn) -> Refusal | None:
        return await token(run, run.plane.gates.of(model), turn, wait_s(run, bound), model=model, place=place)

    lease = await money(run, bound, run.ticket.turn, want=want, least=least, again=again)
    if isinstance(lease, Refusal):
        return lease
    run.record.cost.estimate_nanousd = plan.estimate_nanousd
    if price is None:
        return plan
    return _metered(run, plan, lease, price, spent)


def _metered(run: Run, plan: Plan, lease: Lease, price: Price, spent: int) -> Plan:
    run.record.cost.reserved_nanousd = lease.granted
    if lease.room is None:
        return plan  # nobody counts
    reach = lease.granted - spent + (max(0, lease.room) if _can_count(plan) else 0)
    affordable = price.tokens_for(reach, plan.prompt_bound) // plan.choices
    if affordable < plan.max_tokens:
        plan = settle.capped(plan, max(1, affordable))
    count = run.configuration.counters[plan.variant.model].written
    most = plan.max_tokens * plan.choices
    run.meter = Meter(lease, price, prompt=plan.prompt_bound, spent=spent, most=most, count=count)
    return plan


def _can_count(plan: Plan) -> bool:
    """Whether what an answer uses can be counted while it is written; sound is told in tokens at its end alone."""
    return plan.variant.streams and not (plan.variant.price is not None and plan.variant.price.spoken)


async def money(
    run: Run, bound: Bound, turn: Turn, *, want: int, least: int, again: Callable[[Turn], Awaitable[Refusal | None]]
) -> Lease | Refusal:
    """Between `least` and `want` on every budget at once. Who must wait for money holds no token that others could run
    with, and stands in its gate's line once more after it: `again`."""
    lease = await run.plane.budgets.reserve(
        bound.entry,
        bound.name,
        bound.channel,
        want=want,
        least=least,
        wait_s=wait_s(run, bound),
        holder=run.record.id,
        lasts_s=left_s(run, bound),
        instead_of=run.lease,
        on_wait=lambda: run.end_ticket("ignored"),
    )
    if isinstance(lease, Lease):
        run.lease = lease
        if run.ticket is None:  # given back while money was waited for
            refused = await again(turn)
            if refused is not None:
                return refused
    return lease


async def token(run: Run, gate: Gate | None, turn: Turn, wait_s: float, *, model: str, place: str) -> Refusal | None:
    """A ticket for the run, or the refusal with the time that it is told."""
    if gate is None:
        return no_replica(place)
    got = await admitted(run, gate, turn, wait_s, model=model)
    if isinstance(got, Ticket):
        run.ticket = got
        return None
    refused, row = got
    return full(place, refused, row, run.ledger.elapsed_ms())


async def admitted(
    run: Run, gate: Gate, turn: Turn, wait_s: float, *, model: str
) -> Ticket | tuple[Refused, AdmissionRow]:
    """What the gate decides, which is then in the record."""
    since_ns = run.ledger.clock.now_ns()
    got = await gate.admit(turn, wait_s)
    row = foresee.decided(run, model, gate, got, since_ns)
    return got if isinstance(got, Ticket) else (got, row)


def turn(run: Run, bound: Bound, ask: Ask, *, strict: bool, avoid: frozenset[str] = frozenset()) -> Turn:
    """Where a request stands before a gate. `avoid`: replicas that are better left alone."""
    return Turn(
        rank=int(bound.contract.rank),
        tenant=bound.tenant.id,
        channel=bound.name,
        at_ns=run.ledger.arrival.at_ns,
        latency=bound.contract.latency,
        ask=ask,
        held=run.belief.shares if run.belief is not None else {},
        avoid=avoid,
        key=hash((bound.tenant.id, bound.name, *settle.texts(run.body.messages))) if run.body is not None else 0,
        strict=strict,
    )


def full(place: str, refused: Refused, row: AdmissionRow, elapsed_ms: float) -> Refusal:
    """Not now, by these numbers; and when."""
    row.retry_after_s = refused.book()
    code, why = Code.QUEUE_FULL, _why(place, refused, elapsed_ms)
    if row.retry_after_s is None:
        code, why = Code.NOTHING_ALLOWED, f"{why}, and an idle one could not keep the contract either"
    return Refusal(code=code, message=why, retry_after_s=row.retry_after_s)


def no_replica(place: str) -> Refusal:
    return Refusal(code=Code.NO_REPLICA, message=f"no replica of {place} is there just now", retry_after_s=1.0)


def _why(place: str, refused: Refused, elapsed_ms: float) -> str:
    """`elapsed_ms`: since it arrived, from where its targets count."""
    look, latency = refused.look, refused.turn.latency
    load = f"{refused.running} requests run and {refused.waiting} wait"
    if look.short == "ttft":
        told_ms = elapsed_ms + (look.ttft_ms or 0.0)
        return f"{place} would begin the answer after {told_ms:,.0f} ms, of {latency.ttft_ms:,.0f}: {load}"
    if look.short == "itl":
        return f"{place} would take {look.itl_ms or 0:,.0f} ms for a token, of {latency.itl_ms:,.0f}: {load}"
    if look.short == "e2e":
        told_ms = elapsed_ms + (look.e2e_ms or 0.0)
        return f"{place} would end the answer after {told_ms:,.0f} ms, of {latency.e2e_ms:,.0f}: {load}"
    if look.short == "others":
        return f"one more on {place} would make others late that run: {load}"
    if look.short == "booked":
        return f"the next room on {place} is promised to callers who were told to come back: {load}"
    if look.short == "share":
        return f"{place} keeps its last room for other tenants: yours has {refused.own} of {refused.running} that run"
    if look.short == "turn":
        return f"{place} has others waiting before this request: {load}"
    return f"{place} is full: {refused.running} of {refused.slots} slots are taken and {refused.waiting} requests wait"


def store_lost() -> Refusal:
    """Neither limits nor money can be looked up, and nobody spends what may not be there."""
    return Refusal(code=Code.STORE_LOST, message=Code.STORE_LOST.value.cause, retry_after_s=STORE_RETRY_S)


def patience(run: Run, plan: Plan, bound: Bound, others: int) -> Patience:
    """How long the answer may take to begin. Each attempt gets the contract's time to first token, or twice what was
    foreseen for it where that is more: one that is expected late is not given up for being late."""
    foreseen = run.foreseen
    first_ms = max(bound.contract.latency.ttft_ms, 2 * foreseen.ttft_ms if foreseen is not None else 0.0)
    wait_ns = bound.deadline_ns
    if others:
        wait_ns = min(wait_ns, run.ledger.arrival.at_ns + int(bound.contract.latency.ttft_ms * NS_PER_MS))
    return Patience(
        deadline_ns=bound.deadline_ns,
        first_s=first_ms / 1000,
        wait_until_ns=wait_ns,
        others=others,
        foreseen_ms=foreseen.times.ttft_ms if foreseen is not None else None,
        hedge=_hedge(run, plan),
    )


def _hedge(run: Run, plan: Plan) -> Hedge | None:
    """A second attempt for a short request that is slower than all but a few are foreseen to be, where the model has
    replicas for it. What it may cost is held before."""
    foreseen, variant = run.foreseen, plan.variant
    if foreseen is None or not run.configuration.catalogue.models[variant.model].hedge or plan.leaves:
        return None  # or: a pool's tokens are held for one attempt
    if run.plane.fleet.count(variant.model) < 2 or foreseen.ask.prompt + foreseen.ask.output > SHORT_TOKENS:
        return None
    price = variant.price
    likely = 0 if price is None else price.most(int(foreseen.ask.prompt), 0)  # who is outrun has read its prompt
    most = 0 if price is None else price.most(plan.prompt_bound, LEAST_OUTPUT * plan.choices)

    async def may() -> bool:
        if not run.plane.hedges.take(likely):
            return False
        return not most or (run.lease is not None and await run.lease.extend(most) == most)

    return Hedge(foreseen.ttft_ms / 1000, may)


def stall_s(run: Run, plan: Plan, bound: Bound, others: int, plans: Sequence[Plan]) -> float | None:
    """How long an answer that has begun may stop: where somebody could go on with it, or begin anew since nothing of
    it leaves before its end. Else until the deadline."""
    if not run.is_live:
        spare = others + run.plane.fleet.count(plan.variant.model) - 1
    elif run.resuming is not None:
        spare = sum(one.variant.prefill and not one.leaves for one in plans)
    else:
        spare = 0
    return max(LEAST_STALL_S, STALL_GAPS * bound.contract.latency.itl_ms / 1000) if spare else None


def too_late(bound: Bound) -> Refusal:
    passed = f"the deadline of {bound.contract.latency.deadline_ms:.0f} ms has passed"
    return Refusal(code=Code.DEADLINE_EXCEEDED, message=passed)


def wait_s(run: Run, bound: Bound) -> float:
    """How long the contract lets a request wait for what others hold: its time to first token, or to the deadline."""
    if bound.contract.on_miss == "refuse":
        return 0.0
    until_s = left_s(run, bound)
    return until_s if bound.contract.on_miss == "wait" else min(bound.contract.latency.ttft_ms / 1000, until_s)


def left_s(run: Run, bound: Bound) -> float:
    """To the deadline."""
    return (bound.deadline_ns - run.ledger.clock.now_ns()) / NS_PER_S

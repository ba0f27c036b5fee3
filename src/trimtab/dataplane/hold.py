"""Hold: the waits for what a request must hold before it may run, within its contract, and what is said in vain."""

from __future__ import annotations

from collections.abc import Callable

from trimtab.core.clock import NS_PER_MS, NS_PER_S
from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import Price
from trimtab.dataplane import settle
from trimtab.dataplane.admission import Gate, Turn, retry_after_s
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.routing import LEAST_OUTPUT
from trimtab.dataplane.run import Run
from trimtab.dataplane.spend import Lease, Meter
from trimtab.foundations.podmodel import Ask

STORE_RETRY_S = 2.0
"""When to come back where the shared store is lost: it is asked again more often than that."""


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
        if plan.variant.streams:
            expected = lengths.expected(bound.tenant.id, bound.name, plan.variant.name, plan.max_tokens)
        want = spent + price.most(plan.prompt_bound, max(fewest, expected) * plan.choices)

    def gate() -> Gate | None:
        return run.plane.gates.of(plan.variant.model)

    assert run.ticket is not None
    lease = await money(run, bound, run.ticket.turn, want=want, least=least, gate=gate, place=f"tier {plan.tier}")
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
    reach = lease.granted - spent + (max(0, lease.room) if plan.variant.streams else 0)
    affordable = price.tokens_for(reach, plan.prompt_bound) // plan.choices
    if affordable < plan.max_tokens:
        plan = settle.capped(plan, max(1, affordable))
    count = run.configuration.counters[plan.variant.model].written
    most = plan.max_tokens * plan.choices
    run.meter = Meter(lease, price, prompt=plan.prompt_bound, spent=spent, most=most, count=count)
    return plan


async def money(
    run: Run, bound: Bound, turn: Turn, *, want: int, least: int, gate: Callable[[], Gate | None], place: str
) -> Lease | Refusal:
    """Between `least` and `want` on every budget at once. Who must wait for money holds no token that others could run
    with, and stands in its gate's line once more after it, in `turn`."""
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
            now = gate()
            run.ticket = None if now is None else await now.admit(turn, wait_s(run, bound))
            if run.ticket is None:
                return Refusal(code=Code.QUEUE_FULL, message=f"{place} is full", retry_after_s=1.0)
    return lease


def turn(run: Run, bound: Bound, ask: Ask) -> Turn:
    """Where a request stands in a gate's line."""
    contract = bound.contract
    due_ns = run.ledger.arrival.at_ns + int(contract.latency.ttft_ms * NS_PER_MS)
    return Turn(rank=int(contract.rank), tenant=bound.tenant.id, due_ns=due_ns, ask=ask)


def full(place: str, gate: Gate) -> Refusal:
    """No token came in time."""
    view = gate.view()
    message = f"{place} is full: all {view.slots} slots are taken and {view.waiting} requests wait"
    return Refusal(code=Code.QUEUE_FULL, message=message, retry_after_s=retry_after_s(view))


def store_lost() -> Refusal:
    """Neither limits nor money can be looked up, and nobody spends what may not be there."""
    return Refusal(code=Code.STORE_LOST, message=Code.STORE_LOST.value.cause, retry_after_s=STORE_RETRY_S)


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

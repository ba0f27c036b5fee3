"""Hold: the waits for what a request must hold before it may run, within its contract, and what is said in vain."""

from __future__ import annotations

from collections.abc import Callable

from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import Code, Refusal
from trimtab.dataplane.admission import Gate, retry_after_s
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run
from trimtab.dataplane.spend import Lease


async def money(
    run: Run, bound: Bound, *, want: int, least: int, gate: Callable[[], Gate | None], place: str
) -> Lease | Refusal:
    """Between `least` and `want` on every budget at once. Who must wait for money holds no token that others could run
    with, and asks its gate for another one after it."""
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
            run.ticket = None if now is None else await now.admit(int(bound.contract.rank), wait_s(run, bound))
            if run.ticket is None:
                return Refusal(code=Code.QUEUE_FULL, message=f"{place} is full", retry_after_s=1.0)
    return lease


def full(place: str, gate: Gate) -> Refusal:
    """No token came in time."""
    view = gate.view()
    message = f"{place} is full: all {view.slots} slots are taken and {view.waiting} requests wait"
    return Refusal(code=Code.QUEUE_FULL, message=message, retry_after_s=retry_after_s(view))


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

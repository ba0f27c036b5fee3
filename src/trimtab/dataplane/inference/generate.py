"""Generate: attempts at one plan, replica after replica, until one begins to answer.

The loop is here to be read: each replica once; one more try of a replica that hung up before it said anything, since a
kept connection may have been closing under our request; all within the time that is left, of which an attempt gets its
share while others could still answer (`share`). Faults after the first content are not repaired here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trimtab.core.clock import NS_PER_S
from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.ledger import Ledger
from trimtab.core.record import Attempt
from trimtab.dataplane.inference.answering import Answering, AttemptFailed
from trimtab.dataplane.inference.dialect import Fault, failed
from trimtab.dataplane.inference.dialer import Dialer
from trimtab.dataplane.inference.fleet import Fleet


async def generate(
    plan: Plan,
    data: bytes,
    *,
    fleet: Fleet,
    dialer: Dialer,
    ledger: Ledger,
    deadline_ns: int,
    others: int,
    order: Sequence[str] = (),
) -> Answering | Fault:
    """An answer whose first content is there, or why there is none from this plan.

    `others`: plans that could still be tried after this one; they and the untried replicas divide the time with this
    attempt. `order`: ids of replicas, who should be asked first. Each attempt leaves its row in the ledger's record.
    """
    tried: set[str] = set()
    asked_again: set[str] = set()
    fault: Fault | None = None
    while (replica := fleet.pick(plan.variant.model, tried, order)) is not None:
        left_ns = deadline_ns - ledger.clock.now_ns()
        if left_ns <= 0:
            break
        rivals = fleet.count(plan.variant.model) - len(tried) - 1 + others
        answering = Answering(plan, replica, fleet)
        row = Attempt(replica=replica.id, start_ms=ledger.elapsed_ms(), outcome="ignored", variant=plan.variant.id)
        ledger.record.attempts.append(row)
        try:
            async with asyncio.timeout(left_ns / NS_PER_S / (1 + rivals)):
                await answering.begin(dialer, data)
        except AttemptFailed as failure:
            fault = failure.fault
        except TimeoutError:
            fault = failed("no content in time", "the model's server was silent")
        except asyncio.CancelledError:
            row.reason = "cancelled"
            raise
        else:
            return answering
        row.outcome, row.reason = "dropped", fault.reason
        if answering.told:
            row.usage = answering.usage()
        if fault.rest_s is not None:
            fleet.rest(replica, fault.rest_s)
        if fault.consequence != "retry":
            return fault
        if fault.reason == "hung up" and replica.id not in asked_again:
            asked_again.add(replica.id)
        else:
            tried.add(replica.id)
    return fault or _none(plan)


def _none(plan: Plan) -> Fault:
    refusal = Refusal(code=Code.NO_REPLICA, message=f"no replica of tier {plan.tier} is there")
    return Fault(consequence="next", reason="no replica", refusal=refusal)

"""Generate: attempts at one plan, replica after replica, until one begins to answer.

The loop is here to be read; what a failed attempt leads to is decided by `retries.Tries`, who is asked by `Fleet`. All
within the time that is left, of which an attempt gets its share while others could still answer, and no more than the
contract's time to first token: a silent server is left to another one then, if the retry budget has an attempt for it.
Faults after the first content are not repaired here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from zlib import crc32

import msgspec

from trimtab.core.clock import NS_PER_S
from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.ledger import Ledger
from trimtab.core.rows import Attempt, Why
from trimtab.core.trace import span_id
from trimtab.dataplane.inference.answering import Answering
from trimtab.dataplane.inference.dialect import AttemptFailed, Fault, failed
from trimtab.dataplane.inference.dialer import Dialer
from trimtab.dataplane.inference.fleet import Fleet, Replica
from trimtab.dataplane.inference.retries import Tries, pause_s
from trimtab.dataplane.inference.slots import Sender


class Hedge(msgspec.Struct, frozen=True):
    """A second attempt beside a slow one: after so long, if it may be made."""

    after_s: float
    may: Callable[[], Awaitable[bool]]


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a request may wait for its answer to begin."""

    deadline_ns: int
    first_s: float | None
    """One attempt may take so long to its first content while others could follow it; None: its share of the time."""
    wait_until_ns: int
    """Until then a replica that wants to be left alone is waited for, rather than leaving it to another plan."""
    others: int
    """Plans that could still be tried after this one."""
    foreseen_ms: float | None = None
    """Time to first token as the iteration model has it."""
    hedge: Hedge | None = None


async def generate(
    plan: Plan,
    data: bytes,
    *,
    fleet: Fleet,
    dialer: Dialer,
    ledger: Ledger,
    tries: Tries,
    patience: Patience,
    sender: Sender | None = None,
    residency: str | None = None,
    why: Why = "first",
    order: Sequence[str] = (),
) -> Answering | Fault:
    """An answer whose first content is there, or why there is none from this plan. `residency`: where it must stay;
    `sender`: whose prompt it is, where a replica keeps slots by tenant; `why`: what led to its first attempt; `order`:
    ids of replicas, who should be asked first. Each attempt leaves its row in the ledger's record."""
    model, again, fault = plan.variant.model, None, None
    one = _Attempts(plan, data, fleet, dialer, ledger, tries, patience, sender, residency)
    while True:
        replica = again or fleet.pick(model, tries.tried, order, last=not patience.others)
        if replica is None:
            break
        if patience.deadline_ns <= ledger.clock.now_ns():
            break
        if not tries.pay():
            return fault or _UNPAID
        if patience.hedge is None:
            begun = await one.ask(replica, why)
        else:
            begun = await one.ask_two(replica, why, patience.hedge, order)
        if isinstance(begun, Answering):
            return begun
        replica, fault = begun
        others = fleet.pick(model, tries.tried, order, last=not patience.others) is not None
        leads = tries.failed(replica.id, fault, others=others)
        if leads == "again" and (fleet.takes(replica) or not patience.others):
            again, why = await _pause(replica, fault, ledger, patience), "again"
            if again is None:
                break
        elif leads == "other":
            again, why = None, "other replica"
        else:
            break
    return fault or _none(plan, fleet.least_rest_s(model))


async def _pause(replica: Replica, fault: Fault, ledger: Ledger, patience: Patience) -> Replica | None:
    """Wait before the replica is asked again; None: it would be too long."""
    wait_s = pause_s(fault, crc32(ledger.record.id.encode()))
    if wait_s and ledger.clock.now_ns() + wait_s * NS_PER_S > patience.wait_until_ns:
        return None
    await asyncio.sleep(wait_s)
    return replica


class _Attempts:
    """Attempts at one plan: each leaves its row in the record and what it found with the fleet."""

    def __init__(
        self,
        plan: Plan,
        data: bytes,
        fleet: Fleet,
        dialer: Dialer,
        ledger: Ledger,
        tries: Tries,
        patience: Patience,
        sender: Sender | None,
        residency: str | None,
    ) -> None:
        self._sender = sender
        self._plan, self._data = plan, data
        self._fleet, self._dialer, self._ledger = fleet, dialer, ledger
        self._tries, self._patience = tries, patience
        self._residency = residency

    async def ask(self, replica: Replica, why: Why) -> Answering | tuple[Replica, Fault]:
        """One attempt, which `tries` has been paid for: it has begun, or the fault."""
        plan, fleet, ledger = self._plan, self._fleet, self._ledger
        if not replica.takes(self._residency, overflow=plan.leaves):
            return replica, _ELSEWHERE
        rows, since_ms, variant = ledger.record.attempts, ledger.elapsed_ms(), plan.variant
        row = Attempt(replica=replica.id, start_ms=since_ms, outcome="ignored", variant=variant.id, why=why)
        row.model, row.dialect = variant.upstream_model, replica.dialect
        row.span_id = span_id(ledger.record.id, f"attempt {len(rows)}")
        told = () if ledger.trace is None else ledger.trace.headers(row.span_id, private=replica.origin.private)
        answering = Answering(plan, replica, fleet, self._sender, told)
        row.overflow = self._residency is not None and replica.region != self._residency
        rows.append(row)
        self._tries.begin(replica.id)
        try:
            await _begin(answering, self._dialer, self._data, _Limit(plan, fleet, ledger, self._tries, self._patience))
        except AttemptFailed as failure:
            row.outcome, row.reason = "dropped", failure.fault.reason
            row.dur_ms = ledger.elapsed_ms() - since_ms
            if answering.told:
                row.usage = answering.usage()
            fleet.failed(replica, failure.fault)
            return replica, failure.fault
        except asyncio.CancelledError:
            row.reason, row.dur_ms = "cancelled", ledger.elapsed_ms() - since_ms
            raise
        row.first_ms = ledger.elapsed_ms() - since_ms
        fleet.began_to_answer(replica, row.first_ms, self._patience.foreseen_ms)
        return answering

    async def ask_two(
        self, replica: Replica, why: Why, hedge: Hedge, order: Sequence[str]
    ) -> Answering | tuple[Replica, Fault]:
        """The same, and a second attempt on another replica if the first takes longer than `hedge` says. Who begins
        first answers, the other is hung up on; if both fail, the fault of the last one."""
        rows, outrun = self._ledger.record.attempts, False
        running = {asyncio.ensure_future(self.ask(replica, why)): len(rows)}
        try:
            await asyncio.wait(running, timeout=hedge.after_s)
            if not any(task.done() for task in running):
                other = self._fleet.pick(self._plan.variant.model, self._tries.tried, order, last=False)
                if other is not None and await hedge.may() and self._tries.pay():
                    running[asyncio.ensure_future(self.ask(other, "hedge"))] = len(rows)
            left = set(running)
            while left:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    found = task.result()
                    if isinstance(found, Answering):
                        outrun = True
                        rows.append(rows.pop(running.pop(task)))  # the row of who answers is the last one
                        return found
            return found
        finally:
            await _stop(running)
            if outrun:
                for row in rows[:-1]:
                    row.reason = "outrun" if row.reason == "cancelled" else row.reason


async def _stop(tasks: Iterable[asyncio.Task[Answering | tuple[Replica, Fault]]]) -> None:
    """Those that run are cancelled; one that has begun to answer after all is hung up on."""
    for task in tasks:
        task.cancel()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(found, Answering):
            found.close()


class _Limit:
    """What one attempt may take to its first content."""

    def __init__(self, plan: Plan, fleet: Fleet, ledger: Ledger, tries: Tries, patience: Patience) -> None:
        rivals = fleet.count(plan.variant.model) - len(tries.tried & fleet.ids(plan.variant.model)) + patience.others
        left_s = (patience.deadline_ns - ledger.clock.now_ns()) / NS_PER_S
        self._tries = tries
        self.share_s = left_s / (1 + rivals)
        self.first_s = patience.first_s if rivals and plan.variant.streams else None

    def enough(self, timer: asyncio.Timeout) -> None:
        """The contract's time to first token has passed: end the attempt if another can be paid for."""
        if not timer.expired() and self._tries.pay():
            timer.reschedule(asyncio.get_running_loop().time())


async def _begin(answering: Answering, dialer: Dialer, data: bytes, limit: _Limit) -> None:
    """Raises AttemptFailed, also for an attempt that took too long to begin."""
    enough: asyncio.TimerHandle | None = None
    try:
        async with asyncio.timeout(limit.share_s) as timer:
            if limit.first_s is not None and limit.first_s < limit.share_s:
                enough = asyncio.get_running_loop().call_later(limit.first_s, limit.enough, timer)
            await answering.begin(dialer, data)
    except TimeoutError:
        raise AttemptFailed(failed("no content in time", "the model's server was silent")) from None
    finally:
        if enough is not None:
            enough.cancel()


_UNPAID = Fault(
    consequence="final",
    reason="no attempt left",
    refusal=Refusal(code=Code.UPSTREAM_FAILED, message="models fail, and no more attempts are made just now"),
)
"""Not even one, since the retry budget has none: what failed before is why."""


_ELSEWHERE = Fault(
    consequence="next",
    reason="residency",
    refusal=Refusal(code=Code.RESIDENCY_NOT_ALLOWED, message="the model's server is outside of the residency"),
)


def _none(plan: Plan, rest_s: float | None) -> Fault:
    if rest_s is not None:
        message = f"every replica of tier {plan.tier} is over its rate"
        refusal = Refusal(code=Code.NO_REPLICA, message=message, retry_after_s=rest_s)
        return Fault(consequence="next", reason="rests", refusal=refusal)
    refusal = Refusal(code=Code.NO_REPLICA, message=f"no replica of tier {plan.tier} is there")
    return Fault(consequence="next", reason="no replica", refusal=refusal)

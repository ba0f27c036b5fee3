"""Shadow: the messages of an answer that has begun also go to another variant, whose answer nobody gets.

It is told by one row of its own (kind `shadow`), with what it took and cost. It holds no text. It is charged to no
limit and no budget, stored nowhere, asked once, and tells the fleet of no fault; tools that it calls are called by
nobody. It runs in a task of its own, only where its model has a slot for it at once (behind every class), ends as soon
as a request needs that slot, and leaves nothing held however it ends. Residency, what policy forbids, redaction and
the dialect's words hold for it as for every plan; money and least quality don't: the caller pays for nothing and gets
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.core.contract import Priority
from trimtab.core.decision import Plan
from trimtab.core.errors import Code
from trimtab.core.experiments import Assigned
from trimtab.core.models import Variant
from trimtab.core.money import NANO, Usage
from trimtab.core.money import settle as rounded_up
from trimtab.core.record import Record, answering, blank
from trimtab.core.request import Chunk
from trimtab.core.rows import Attempt, ExperimentRow
from trimtab.dataplane import place, routing, settle
from trimtab.dataplane.admission import Gate, Ticket, Turn
from trimtab.dataplane.inference import Answering, AttemptFailed, Replica, Sender, encode, extracts, prompt_of, unfit
from trimtab.dataplane.run import Decision, Run

_log = logging.getLogger(__name__)
BEHIND_ALL: Final = int(Priority.batch) + 1
"""The rank of shadows before a gate."""
NOBODY: Final = ""
"""Their tenant there: none has fewer turns for having one."""


def launch(run: Run, plan: Plan, decision: Decision) -> None:
    """The plan's answer has begun: the shadows that its session is in, once for each request. Never waits or raises."""
    experiments, aside = decision.bound.experiments, run.plane.aside
    if not experiments or run.shadowed:
        return
    run.shadowed = True
    try:
        for one in experiments:
            wanted = one.split.kind == "shadow" and one.arm is not None and one.replaces(plan.variant)
            if wanted and aside.has_room and not run.plane.draining:
                aside.begin(Shadow(run, plan, decision, one))
    except Exception:  # noqa: BLE001 - whatever it was, the request goes on
        _log.exception("the shadow of %s could not be launched", run.record.id)


class Shadow:
    """One of them. What it needs of the request is taken when it is launched: the request goes on."""

    def __init__(self, run: Run, plan: Plan, decision: Decision, assigned: Assigned) -> None:
        assert assigned.arm is not None
        self._plane, self._clock, self._configuration = run.plane, run.ledger.clock, run.configuration
        self._bound, self._allowed, self._body = decision.bound, decision.allowed, decision.body
        self._values, self._sent, self._sentences = run.values, run.sent, run.sentences
        self._lookup = run.lookup
        variant = routing.as_asked(run.configuration.catalogue.variants[assigned.arm.variant], decision.body)
        cap = min(variant.max_tokens, decision.body.max_tokens or variant.max_tokens)
        bound = routing.bound_of(variant, run.sent, decision.body)
        estimate = None if variant.price is None else variant.price.most(bound, cap * plan.choices)
        self._plan = msgspec.structs.replace(
            plan, variant=variant, max_tokens=cap, prompt_bound=bound, estimate_nanousd=estimate
        )
        self.model = variant.model
        self._row = _row(run, self._plan, assigned)
        self._salt = place.salt(run, self._plan, decision.bound)
        self._since_ns = run.ledger.clock.now_ns()
        self._ticket: Ticket | None = None
        self._answering: Answering | None = None
        self._first_ns: int | None = None

    def __repr__(self) -> str:
        return f"<Shadow {self._plan.variant.id} of {self._row.of}>"

    async def run(self) -> None:
        """Ask, and leave the row; nothing of it is anybody's fault."""
        answering.set(self._row.id)
        try:
            gate, replica = self._plane.gates.of(self.model), self._replica()
            if gate is None or replica is None or not self._may(self._plan.variant):
                return
            self._ticket = await self._admitted(gate)
            if self._ticket is None:
                return
            async with asyncio.timeout(self._bound.contract.latency.deadline_ms / 1000):
                await self._ask(replica)
        except TimeoutError:
            self.close(Code.DEADLINE_EXCEEDED.wire)
        except AttemptFailed as failure:
            self.close(failure.fault.reason)
        except Exception:  # noqa: BLE001 - it is nobody's request
            _log.exception("shadow %s failed", self._row.id)
            self.close(Code.INTERNAL_ERROR.wire)
        finally:
            self.close("cancelled")

    def close(self, why: str | None = None) -> None:
        """Give back what is held and leave the row, if anybody was asked; `why` it did not end by itself. The first
        call counts."""
        ticket, self._ticket = self._ticket, None
        if self._answering is not None:
            self._answering.close()
        if ticket is None:
            return
        ticket.end("ignored")
        if self._row.attempts:
            self._account(why)
            self._plane.sink.write(self._row)

    def _may(self, variant: Variant) -> bool:
        """Whether these messages may go to this variant at all."""
        contract, allowed = self._bound.contract, self._allowed
        if contract.residency is not None and variant.region != contract.residency:
            return False
        if variant.tier not in allowed.tiers or variant.name in allowed.forbidden_variants:
            return False
        if unfit(variant, self._body) is not None:
            return False
        cap, estimate = contract.cost.max_per_request_nanousd, self._plan.estimate_nanousd
        effects = self._configuration.snapshot.release.policy.look(
            "route",
            {
                **self._values,
                "projected_cost_usd": None if estimate is None else estimate / NANO,
                "budget_left_usd": None,
                "budget_usd": cap / NANO,
                **self._lookup.of_plan(variant, None),
            },
        )
        forbidden = {f"tier:{variant.tier}", f"variant:{variant.name}"} & effects.forbid
        return not forbidden and effects.answer is None

    def _replica(self) -> Replica | None:
        """One that is well: a trial of one that comes back is for requests."""
        fleet = self._plane.fleet
        ready = {view.id for view in fleet.views().get(self.model, ()) if view.state == "ready"}
        picked = fleet.pick(self.model, fleet.ids(self.model) - ready, last=False)
        residency = self._bound.contract.residency
        return picked if picked is not None and picked.takes(residency, overflow=False) else None

    async def _admitted(self, gate: Gate) -> Ticket | None:
        """A slot that is free now and that nobody waits for, or none."""
        bound, plan = self._bound, self._plan
        turn = Turn(
            rank=BEHIND_ALL,
            tenant=NOBODY,
            at_ns=self._since_ns,
            latency=bound.contract.latency,
            ask=gate.tier.expected.ask((bound.tenant.id, bound.name), plan.prompt_bound, plan.max_tokens),
        )
        got = await gate.admit(turn, 0.0)
        return got if isinstance(got, Ticket) else None

    async def _ask(self, replica: Replica) -> None:
        plan, row, ticket = self._plan, self._row, self._ticket
        assert ticket is not None
        sender, slots = await self._sender(), self._plane.fleet.slots_of(replica)
        if slots is not None and (sender is None or not slots.has_spare(sender, plan.choices)):
            return  # what tenants have left in an engine's slots is theirs
        sentences = self._sentences if extracts(plan.variant, self._body) else ()
        data = encode(plan, self._sent, self._body, sentences, self._salt)
        row.attempts.append(Attempt(replica=replica.id, start_ms=0.0, outcome="dropped", variant=plan.variant.id))
        row.replica = replica.id
        self._answering = Answering(plan, replica, self._plane.fleet, sender)
        ticket.sent()
        ticket.begun_at(replica.id)
        await self._answering.begin(self._plane.dialer, data)
        self._first_ns = self._clock.now_ns()
        while some := await self._answering.some():
            choices = [choice for event in some if isinstance(event, Chunk) for choice in event.choices]
            reasons = [str(choice["finish_reason"]) for choice in choices if choice.get("finish_reason")]
            row.finish_reason = reasons[-1] if reasons else row.finish_reason
            ticket.wrote(self._answering.produced.pieces)
        row.attempts[-1].outcome, row.status = "success", 200
        self.close()

    async def _sender(self) -> Sender | None:
        """Whose prompt it is, where the replica keeps its slots by tenant."""
        plan, tenant = self._plan, self._bound.tenant.id
        if not self._plane.fleet.has_slots(self.model):
            return None
        tools = self._body.extra.get("tools")
        prompt = await self._clock.offload(prompt_of, tenant, plan.variant.system, tools, self._sent)
        return Sender(tenant, prompt, aside=True)

    def _account(self, why: str | None) -> None:
        """What it took and cost, into the row."""
        row, found = self._row, self._answering
        took_ms = (self._clock.now_ns() - self._since_ns) / NS_PER_MS
        row.e2e_ms, row.stages["infer"] = took_ms, [0.0, took_ms]
        if self._first_ns is not None:
            row.ttft_ms = (self._first_ns - self._since_ns) / NS_PER_MS
        attempt = row.attempts[-1]
        attempt.reason = None if attempt.outcome == "success" else why
        if found is None or (self._first_ns is None and not found.told):
            return
        usage = attempt.usage = self._used(found)
        row.tokens = settle.tokens_of(usage)
        price = self._plan.variant.price
        row.cost.settled_nanousd = None if price is None else rounded_up(price.units(usage))
        row.cost.unpriced = [] if price is None else price.unpriced(usage)

    def _used(self, found: Answering) -> Usage:
        """As the upstream told it; what it did not tell is counted."""
        usage, counter = found.usage(), self._configuration.counters[self.model]
        if found.told:
            return usage
        texts = [self._plan.variant.system or "", *settle.texts(self._sent)]
        prompt = usage.prompt if usage.prompt is not None else sum(counter.count(text) for text in texts if text)
        completion = usage.completion
        if completion is None:
            completion = counter.written(found.produced.text, found.produced.pieces)
        return msgspec.structs.replace(usage, prompt=prompt, completion=completion, source=counter.source)


def _row(run: Run, plan: Plan, assigned: Assigned) -> Record:
    """Whose shadow it is, before anything has come of it."""
    record, plane = run.record, run.plane
    row = blank(plane.ids.record_id(), plane.clock.wall_ns())
    row.kind, row.of, row.role, row.snapshots = "shadow", record.id, "shadow", record.snapshots
    row.tenant, row.channel, row.key_id, row.market = record.tenant, record.channel, record.key_id, record.market
    row.route, row.persona, row.session, row.features = record.route, record.persona, record.session, record.features
    row.experiment = ExperimentRow(name=assigned.split.name, arm=assigned.arm_name)
    row.path, row.tier, row.variant = plan.path, plan.tier, plan.variant.id
    row.cost.estimate_nanousd = plan.estimate_nanousd
    return row

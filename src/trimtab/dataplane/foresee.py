"""Foresee: what a gate decided and what a request will take, in its record; and what came of it, learned once that is
written.

Learned from the row's own figures and in the order of rows, so that whoever has the records can learn the same.
"""

from __future__ import annotations

import msgspec

from trimtab.core.clock import NS_PER_MS
from trimtab.core.decision import Plan
from trimtab.core.outcome import epoch, learnt_ms, missed
from trimtab.core.rows import AdmissionRow, CertificateRow, Over
from trimtab.dataplane.admission import Gate, Refused, Ticket
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run
from trimtab.foundations.podmodel import FIGURES, Times


def decided(run: Run, model: str, gate: Gate, got: Ticket | Refused, since_ns: int) -> AdmissionRow:
    """Into the record. Where a forecast has changed what happened, with the certificate of such decisions."""
    look, record = got.look, run.record
    waited_ms = (run.ledger.clock.now_ns() - since_ns) / NS_PER_MS
    row = AdmissionRow(
        model=model,
        how=got.how,
        short=look.short,
        waited_ms=waited_ms if waited_ms > 0 and got.how != "free" else None,
        percentile=look.percentile,
        level=look.level,
        ttft_ms=look.ttft_ms,
        itl_ms=look.itl_ms,
        e2e_ms=look.e2e_ms,
        waived=list(look.waived),
        replica=look.order[0] if look.held is not None else None,
        held=look.held,
        replica_ms=look.cost_ms,
        next_ms=look.next_ms,
        running=got.running,
        waiting=got.waiting,
        slots=got.slots,
    )
    record.admissions.append(row)
    if look.level is not None and (look.short is not None or got.how == "waited"):
        since, until = gate.tier.rows
        over = Over(figure="met", model=model, percentile=look.percentile, since=since, until=until)
        told = msgspec.structs.asdict(gate.tier.certificate(look.percentile))
        record.certificates.append(CertificateRow(**told, over=over))
    return row


def sent(run: Run, plan: Plan, bound: Bound) -> None:
    """The plan's request goes out now: what it will take, as far as anybody can tell."""
    gate = run.plane.gates.of(plan.variant.model)
    if gate is None or run.ticket is None:
        return
    record = run.record
    foreseen = run.ticket.sent()
    record.predicted = {}
    run.foreseen = foreseen
    if foreseen is None:
        return
    load, ask = foreseen.load, foreseen.ask
    record.predicted = {
        "sent_ms": run.ledger.elapsed_ms(),
        "percentile": foreseen.percentile,
        "epoch": float(foreseen.times.epoch),
        "ttft_ms": foreseen.ttft_ms,
        "itl_ms": foreseen.itl_ms,
        "e2e_ms": foreseen.e2e_ms,
        "model_ttft_ms": foreseen.times.ttft_ms,
        "model_itl_ms": foreseen.times.itl_ms,
        "model_e2e_ms": foreseen.times.e2e_ms,
        "output_tokens": ask.output,
        "input_token_length": ask.prompt,
        "num_request_running": load.running,
        "num_request_waiting": float(gate.waiting),
        "prefill_tokens_in_flight": foreseen.intake,
        "decode_tokens_in_flight": load.held,
    }
    if run.ticket.look.held is not None:
        record.predicted["prefix_cache_score"] = ask.cached / ask.prompt
    if not (run.is_live and plan.variant.streams and plan.choices == 1):
        # what is seen of its tokens is when they were let go
        for name in ("ttft_ms", "itl_ms", "model_ttft_ms", "model_itl_ms"):
            del record.predicted[name]


def learn(run: Run) -> None:
    """What came of it, once its row is complete."""
    record, bound, plan = run.record, run.bound, run.plan
    if not record.admissions or bound is None or run.before is not None:
        return
    if record.attempts and record.attempts[-1].why in ("again", "other replica", "hedge"):
        return  # its time is not of one attempt
    last = record.admissions[-1]
    gate = run.plane.gates.of(last.model)
    if gate is None or last.how == "refused":
        return
    tokens, tier = record.tokens, gate.tier
    if plan is not None and tokens.prompt and record.code is None:
        tier.expected.read(plan.prompt_bound, tokens.prompt)
    learned = False
    for figure in FIGURES:
        if (learnt := learnt_ms(record, figure)) is not None:
            model_ms, found_ms = learnt
            tier.predictor.learn(Times.all(model_ms, epoch(record)), figure, found_ms)
            learned = True
    late = missed(record)
    if late is not None:
        tier.judge(last.percentile, missed=late, epoch=epoch(record))
        learned = True
    if learned:
        tier.rows = (tier.rows[0] or record.id, record.id)

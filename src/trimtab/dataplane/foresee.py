"""Foresee: what a request will take, in its record before it is sent; and what came of it, learned once it is written.

Learned from the row's own figures and in the order of rows, so that whoever has the records can learn the same.
"""

from __future__ import annotations

from trimtab.core.decision import Plan
from trimtab.core.outcome import learnt_ms
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run
from trimtab.foundations.podmodel import FIGURES, Times


def sent(run: Run, plan: Plan, bound: Bound) -> None:
    """The plan's request goes out now: what it will take, as far as anybody can tell."""
    gate = run.plane.gates.of(plan.variant.model)
    if gate is None or run.ticket is None:
        return
    tier, record, ask = gate.tier, run.record, run.ticket.turn.ask
    foreseen = tier.foresee(ask, bound.contract.latency.percentile, run.ledger.clock.now_ns())
    record.predicted = {}
    if foreseen is not None:
        load = foreseen.load
        record.predicted = {
            "sent_ms": run.ledger.elapsed_ms(),
            "percentile": foreseen.percentile,
            "ttft_ms": foreseen.ttft_ms,
            "itl_ms": foreseen.itl_ms,
            "e2e_ms": foreseen.e2e_ms,
            "model_ttft_ms": foreseen.times.ttft_ms,
            "model_itl_ms": foreseen.times.itl_ms,
            "model_e2e_ms": foreseen.times.e2e_ms,
            "output_tokens": ask.output,
            "input_token_length": ask.prompt,
            "num_request_running": load.running,
            "num_request_waiting": float(gate.view().waiting),
            "prefill_tokens_in_flight": foreseen.intake,
            "decode_tokens_in_flight": load.held,
        }
        if not _leaves_as_it_comes(run, plan, bound):  # what is seen of its tokens is when they were let go
            for name in ("ttft_ms", "itl_ms", "model_ttft_ms", "model_itl_ms"):
                del record.predicted[name]
    run.ticket.sent()


def _leaves_as_it_comes(run: Run, plan: Plan, bound: Bound) -> bool:
    contract = bound.contract
    streams = run.body is not None and run.body.stream and plan.variant.streams and plan.choices == 1
    return streams and contract.emit == "token" and contract.resume != "hold"


def learn(run: Run) -> None:
    """What came of it, once its row is complete."""
    record, bound, plan = run.record, run.bound, run.plan
    gate = run.plane.gates.of(plan.variant.model) if plan is not None else None
    if gate is None or bound is None or plan is None:
        return
    tokens = record.tokens
    if tokens.prompt and tokens.completion and not run.cut and record.code is None:
        caller = (bound.tenant.id, bound.name)
        gate.tier.expected.learn(caller, plan.prompt_bound, tokens.prompt, tokens.completion // plan.choices)
    for figure in FIGURES:
        if (learnt := learnt_ms(record, figure)) is not None:
            model_ms, found_ms = learnt
            same = Times(ttft_ms=model_ms, itl_ms=model_ms, e2e_ms=model_ms)
            gate.tier.predictor.learn(same, figure, found_ms)

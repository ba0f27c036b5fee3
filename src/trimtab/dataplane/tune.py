"""Tune: which setting of a model's engines a request gets (speculative decoding, a batch size), and what came of it.

A setting is a model of its own to everything else (`core.models.with_settings`): it has a gate, forecasts, replicas.
So a plan that is given a setting is the same plan with that model, tried before the plan as it was ranked: where the
setting has no room, would be late, or is down, the model's own endpoints answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.models import own_model, setting_model, setting_of
from trimtab.core.rows import CertificateRow, PlanRow, SettingRow
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run

Turn = tuple[Plan, PlanRow, int]
"""A plan, its row, and how many could still be asked after it."""


def tuned(run: Run, bound: Bound, turns: Iterable[Turn]) -> Iterator[Turn]:
    """Each plan; before it the same one with a setting, where the governor has chosen one that has room."""
    for plan, row, others in turns:
        other = None if plan.leaves or run.started else _chosen(run, bound, plan)
        if other is not None:
            yield other, row, others + 1
            if run.started:
                continue
        yield plan, row, others


def _chosen(run: Run, bound: Bound, plan: Plan) -> Plan | None:
    plane, model = run.plane, plan.variant.model
    settings = run.configuration.catalogue.models[model].settings
    if not settings:
        return None
    gates = {name: plane.gates.of(setting_model(model, name)) for name in settings}
    own = plane.gates.of(model)
    running = sum(gate.view().running for gate in (own, *gates.values()) if gate is not None)
    chosen = plane.governor.choose(model, settings, bound.tenant.id, running, plane.fleet.count(model))
    if chosen is None:
        return None
    record, told = run.record, chosen.certificate
    record.setting = SettingRow(
        model=model, name=chosen.setting, about=chosen.about, why=chosen.why, running=running, gain=chosen.gain
    )
    if told is not None:
        record.certificates.append(CertificateRow(**msgspec.structs.asdict(told)))
    gate = gates.get(chosen.setting or "")
    if chosen.setting is None or gate is None:
        return None
    if not gate.view().free or not plane.fleet.is_able(setting_model(model, chosen.setting)):
        record.setting.full = True
        return None
    variant = msgspec.structs.replace(plan.variant, model=setting_model(model, chosen.setting))
    return msgspec.structs.replace(plan, variant=variant)


def is_setting(plan: Plan) -> bool:
    """Whether the plan's model is a setting of another: who finds no room there is not kept waiting."""
    return setting_of(plan.variant.model) is not None


def note(run: Run) -> None:
    """Into the record: which setting answered, and what its engine told of that."""
    row, plan, answering = run.record.setting, run.plan, run.answering
    if row is None or plan is None or answering is None or own_model(plan.variant.model) != row.model:
        return
    row.by = setting_of(plan.variant.model)
    if answering.drafts is not None:
        row.drafted, row.accepted = answering.drafts


def learn(run: Run) -> None:
    """What a whole answer took for each of its tokens. One that was cut, that another had begun, or that has several
    choices says nothing."""
    row, plan, record, bound = run.record.setting, run.plan, run.record, run.bound
    if row is None or plan is None or bound is None or run.answering is None:
        return
    if own_model(plan.variant.model) != row.model:
        return
    if record.code is not None or run.cut or run.before is not None or plan.choices > 1:
        return
    last, completion = record.attempts[-1], record.tokens.completion
    if record.e2e_ms is None or last.outcome != "success" or not completion:
        return
    run.plane.governor.observe(
        row.model,
        run.configuration.catalogue.models[row.model].settings,
        bound.tenant.id,
        run.answering.beside,
        row.by,
        ms=record.e2e_ms - last.start_ms,
        tokens=completion,
        wasted=None if row.drafted is None else row.drafted - (row.accepted or 0),
    )

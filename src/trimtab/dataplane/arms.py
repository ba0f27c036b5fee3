"""Arms: what a session's place in its channel's experiment means for the cache and for the record."""

from __future__ import annotations

from trimtab.core.decision import Plan
from trimtab.core.rows import ExperimentRow
from trimtab.dataplane.ingress import Bound, Catalogue
from trimtab.dataplane.run import Run


def row_of(bound: Bound) -> ExperimentRow | None:
    """Experiment and arm, for the record; None where the channel has none that says who answers."""
    split = bound.split
    return None if split is None else ExperimentRow(name=split.split.name, arm=split.arm_name)


def scope(bound: Bound, catalogue: Catalogue) -> str | None:
    """What keeps an arm's stored answers apart; None for control, which shares those of before the experiment."""
    split = bound.split
    if split is None or split.arm is None:
        return None
    variant = catalogue.variants[split.arm.variant]
    return f"{split.split.name}/{split.arm.name}={variant.id}"


def is_stand_in(bound: Bound, plan: Plan) -> bool:
    """Whether control answers for an arm: stored, that would outlive the reason."""
    split = bound.split
    return split is not None and split.arm is not None and split.replaces(plan.variant)


def note(run: Run) -> None:
    """Who answered, arm or control, and why control did where the arm should have."""
    record, split = run.record, run.bound.split if run.bound is not None else None
    if split is None or record.experiment is None or record.variant is None:
        return
    variants = run.configuration.catalogue.variants
    answered = variants.get(record.variant.partition("@")[0])
    arm = variants[split.arm.variant] if split.arm is not None else None
    if arm is not None and arm is answered:
        record.role = "arm"
    elif answered is not None and split.replaces(answered):
        record.role = "control"
        if arm is not None:
            row = next((row for row in record.plans if row.variant == arm.id), None)
            record.experiment.instead = row.outcome if row is not None else None

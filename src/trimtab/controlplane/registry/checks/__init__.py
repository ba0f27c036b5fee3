"""Checks across documents. Each is a function that says in its docstring what must hold; all of them always run."""

from __future__ import annotations

from trimtab.controlplane.registry.checks import (
    channels,
    clouds,
    events,
    experiments,
    features,
    kept,
    lake,
    models,
    objectives,
    processes,
    storage,
    telemetry,
    tenants,
    texts,
)
from trimtab.controlplane.registry.checks.tenants import key_problems
from trimtab.controlplane.registry.checks.view import view
from trimtab.controlplane.registry.documents import Documents
from trimtab.core.money import Price
from trimtab.foundations.config import Problem

CHECKS = (
    *storage.CHECKS,
    *kept.CHECKS,
    *lake.CHECKS,
    *processes.CHECKS,
    *telemetry.CHECKS,
    *models.CHECKS,
    *clouds.CHECKS,
    *channels.CHECKS,
    *tenants.CHECKS,
    *events.CHECKS,
    *experiments.CHECKS,
    *objectives.CHECKS,
    *features.CHECKS,
    *texts.CHECKS,
)


def cross_check(documents: Documents, prices: dict[str, Price], wall_ns: int) -> list[Problem]:
    """Every finding of every check; lines are filled in by the loader. `wall_ns` tells what has ended."""
    seen = view(documents, prices, wall_ns)
    return [problem for check in CHECKS for problem in check(seen)]


__all__ = ["CHECKS", "cross_check", "key_problems"]

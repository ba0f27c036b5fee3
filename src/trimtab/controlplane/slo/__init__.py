"""Objectives, their budgets and alerts, computed from records; README.md beside this says how."""

from trimtab.controlplane.slo.counted import Counted
from trimtab.controlplane.slo.engine import Alert, Budget, Engine, EngineState, Status
from trimtab.controlplane.slo.forecast import Forecast
from trimtab.controlplane.slo.judge import KINDS
from trimtab.controlplane.slo.objectives import Objective, objectives
from trimtab.controlplane.slo.window import Window

__all__ = [
    "KINDS",
    "Alert",
    "Budget",
    "Counted",
    "Engine",
    "EngineState",
    "Forecast",
    "Objective",
    "Status",
    "Window",
    "objectives",
]

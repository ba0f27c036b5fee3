"""An arm's plan among the others: just before the first plan that it stands in for, and nowhere else.

It has passed every test that a plan passes, so an experiment never widens what is allowed. Where the plan that it would
replace is not there, it does not answer either; where money cuts it and not the other, the other answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trimtab.core.decision import Plan
from trimtab.core.experiments import Assigned

KEPT: Final = "kept for an experiment"
UNNEEDED: Final = "nothing to stand in for"
CUT: Final = "cost"


def with_arm(
    plans: Sequence[tuple[Plan, bool]], assigned: Assigned | None
) -> tuple[tuple[Plan, ...], Plan | None, str | None]:
    """Plans in their order, with the arm's in its place; or without it, then it and why. `plans`: each with whether it
    keeps its whole window and answer."""
    name = assigned.arm.variant if assigned is not None and assigned.arm is not None else None
    own = next((one for one in plans if one[0].variant.name == name), None)
    others = [one for one in plans if one is not own]
    ranked = [plan for plan, _ in others]
    if assigned is None or own is None:
        return tuple(ranked), None, None
    place = next((at for at, (plan, _) in enumerate(others) if assigned.replaces(plan.variant)), None)
    if place is None:
        return tuple(ranked), own[0], UNNEEDED
    if others[place][1] and not own[1]:
        return tuple(ranked), own[0], CUT
    return (*ranked[:place], own[0], *ranked[place:]), None, None

"""The names of the checks, in one place, so that a workspace can be refused for a name that nobody would look for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trimtab.dataplane.guard.detect import CHECKS

CHECKS_IN: Final = frozenset(CHECKS)
CHECKS_OUT: Final = CHECKS_IN | {"deny"}


def known(checks: Sequence[str], names: frozenset[str]) -> tuple[str, ...]:
    """`checks` without doubles. Raises ValueError for one that nobody would do, rather than let it pass undone."""
    unknown = [check for check in checks if check not in names]
    if unknown:
        raise ValueError(f"no guard check is named {', '.join(unknown)}; there is {', '.join(sorted(names))}")
    return tuple(dict.fromkeys(checks))

"""Routing: a ranked list of plans within what is allowed."""

from trimtab.dataplane.routing.rank import (
    BARRED,
    LEAST_OUTPUT,
    NOT_ASKED,
    Question,
    Ranked,
    as_asked,
    barred,
    bound_of,
    order,
    rank,
    row_of,
)
from trimtab.dataplane.routing.window import windowed

__all__ = [
    "BARRED",
    "LEAST_OUTPUT",
    "NOT_ASKED",
    "Question",
    "Ranked",
    "as_asked",
    "barred",
    "bound_of",
    "order",
    "rank",
    "row_of",
    "windowed",
]

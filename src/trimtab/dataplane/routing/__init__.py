"""Routing: a ranked list of plans within what is allowed."""

from trimtab.dataplane.routing.rank import LEAST_OUTPUT, Question, Ranked, bound_of, rank, row_of
from trimtab.dataplane.routing.window import windowed

__all__ = ["LEAST_OUTPUT", "Question", "Ranked", "bound_of", "rank", "row_of", "windowed"]

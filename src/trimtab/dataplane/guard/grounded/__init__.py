"""Grounded: whether an answer says what its passages say, which words of theirs to quote, whether they are about it."""

from trimtab.dataplane.guard.grounded.check import Checker, check
from trimtab.dataplane.guard.grounded.quote import best_quote
from trimtab.dataplane.guard.grounded.scope import in_scope
from trimtab.dataplane.guard.grounded.sentences import sentences
from trimtab.dataplane.guard.grounded.values import Evidence, Grounding, Quote

__all__ = ["Checker", "Evidence", "Grounding", "Quote", "best_quote", "check", "in_scope", "sentences"]

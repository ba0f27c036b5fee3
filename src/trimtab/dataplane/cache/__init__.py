"""The exact cache: one answer for the same question under the same conditions, made once."""

from trimtab.dataplane.cache.eligible import bypass_reason, storable
from trimtab.dataplane.cache.entry import Entry, usable
from trimtab.dataplane.cache.key import cache_key
from trimtab.dataplane.cache.store import AnswerCache, Flight, Stats

__all__ = [
    "AnswerCache",
    "Entry",
    "Flight",
    "Stats",
    "bypass_reason",
    "cache_key",
    "storable",
    "usable",
]

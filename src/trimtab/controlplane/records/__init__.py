"""The journal of records: written by the data plane, read by everything that learns from many requests."""

from typing import TYPE_CHECKING

from trimtab.foundations.lazy import lazily

if TYPE_CHECKING:
    from trimtab.controlplane.records.explanation import Explanation, explain
    from trimtab.controlplane.records.journal import Journal, JournalState
    from trimtab.controlplane.records.lookup import RecordNotFoundError, find, last, look_up, related
    from trimtab.controlplane.records.reader import Report, query, rows, verify
    from trimtab.controlplane.records.segment import CorruptSegment, Segment, segments

__getattr__ = lazily(
    __name__,
    {
        "CorruptSegment": "segment",
        "Explanation": "explanation",
        "Journal": "journal",
        "JournalState": "journal",
        "RecordNotFoundError": "lookup",
        "Report": "reader",
        "Segment": "segment",
        "explain": "explanation",
        "find": "lookup",
        "last": "lookup",
        "look_up": "lookup",
        "query": "reader",
        "related": "lookup",
        "rows": "reader",
        "segments": "segment",
        "verify": "reader",
    },
)

__all__ = [
    "CorruptSegment",
    "Explanation",
    "Journal",
    "JournalState",
    "RecordNotFoundError",
    "Report",
    "Segment",
    "explain",
    "find",
    "last",
    "look_up",
    "query",
    "related",
    "rows",
    "segments",
    "verify",
]

"""What came of a request that was foreseen, by its record: what forecasts are judged by and learn from.

One definition for who learns while requests end and for who computes it anew from the records: the figures are those
that the row holds, so both have the same to the last bit, and a row is learned from when it is written.
"""

from __future__ import annotations

from typing import Final

from trimtab.core.clock import NS_PER_MS
from trimtab.core.errors import Code
from trimtab.core.record import Record
from trimtab.core.rows import Figure

FIGURES: Final[tuple[Figure, ...]] = ("ttft", "itl", "e2e")
_MODEL: Final = ("direct", "rag")


def reserved_ns(record: Record) -> int:
    """When its money was reserved, which is the period that it counts in: wall nanoseconds."""
    start_ms, took_ms = record.stages.get("reserve", (0.0, 0.0))
    return record.t_wall_ns + int((start_ms + took_ms) * NS_PER_MS)


def ran_to_its_end(record: Record) -> bool:
    """A model's own answer left whole: no template in its place, not cut by a cap, a guard, a fault or the caller."""
    return (
        record.kind == "request"
        and record.status == 200
        and record.code is None
        and record.rule is None
        and record.path in _MODEL
        and record.finish_reason != "content_filter"
        and bool(record.attempts)
        and record.attempts[-1].outcome == "success"
    )


def ran_on(record: Record) -> str | None:
    """The model that was asked last, if any gate let the request in."""
    last = record.admissions[-1] if record.admissions else None
    return None if last is None or last.how == "refused" else last.model


def missed(record: Record) -> bool | None:
    """Whether somebody whom forecasts had let in missed its contract; None: it says nothing of them. Who is cut off at
    its deadline has missed it; who breaks off or meets a fault has not shown how long it would have taken."""
    last = record.admissions[-1] if record.admissions else None
    if last is None or not last.counts or record.met.latency is None:
        return None
    in_vain = record.code == Code.DEADLINE_EXCEEDED.wire and bool(record.attempts)
    return not record.met.latency if in_vain or ran_to_its_end(record) else None


def outcome_ms(record: Record, figure: Figure) -> float | None:
    """In ms from when the request was sent, as forecasts are; None: not foreseen, not come to its end, or not told:
    whole answers have no first token, and one token has no gap."""
    sent_ms = record.predicted.get("sent_ms")
    if sent_ms is None or record.e2e_ms is None or not ran_to_its_end(record):
        return None
    if figure == "e2e":
        return record.e2e_ms - sent_ms
    if record.ttft_ms is None:
        return None
    if figure == "ttft":
        return record.ttft_ms - sent_ms
    gaps = (record.tokens.completion or 0) - 1
    return (record.e2e_ms - record.ttft_ms) / gaps if gaps > 0 else None


def epoch(record: Record) -> int:
    """Of the coefficients that its forecast is by."""
    return int(record.predicted.get("epoch", 0))


def learnt_ms(record: Record, figure: Figure) -> tuple[float, float] | None:
    """The plain model's forecast and the outcome, both above 0; None: there is nothing to learn of this figure."""
    model_ms, found_ms = record.predicted.get(f"model_{figure}_ms"), outcome_ms(record, figure)
    if model_ms is None or found_ms is None or not (model_ms > 0 and found_ms > 0):
        return None
    return model_ms, found_ms

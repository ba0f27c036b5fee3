"""What the gate is worth when it is wrong, and what its word is: recovery from a wrong belief, and Retry-After."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.admission.run import Attempt

WINDOW = 200
"""Answers."""
KEPT, NEAR = 0.99, 0.95
"""Of those, and of the goodput of the run that began right, at the same time."""


class Recovery(NamedTuple):
    """Answers after which the next `WINDOW` of them are as good as they should be; None: never."""

    attainment: int | None
    both: int | None
    """And the goodput is back."""


def recovery(attempts: Sequence[Attempt], right: Sequence[Attempt]) -> Recovery:
    """Of a run, beside the one that began right."""
    answers = [one for one in attempts if one.admitted]
    times = [one.ended_s for one in right if one.kept]
    attainment = None
    kept = sum(one.kept for one in answers[:WINDOW])
    for begin in range(len(answers) - WINDOW + 1):
        since, until = answers[begin].ended_s, answers[begin + WINDOW - 1].ended_s
        if kept >= KEPT * WINDOW:
            attainment = begin if attainment is None else attainment
            if kept >= NEAR * (bisect_right(times, until) - bisect_left(times, since)):
                return Recovery(attainment, begin)
        if begin + WINDOW < len(answers):
            kept += answers[begin + WINDOW].kept - answers[begin].kept
    return Recovery(attainment, None)


class Word(NamedTuple):
    """Of those who were refused."""

    refused: int
    told: float
    """Share who were told a time; the others can't be served by any replica in time."""
    came: int
    """Of those told, who came back before the trace's end."""
    admitted: float | None
    """Share of those who came back."""


def word(attempts: Sequence[Attempt], span_s: float) -> Word:
    """Who comes after the last arrival finds room whatever was told: that does not count."""
    refused = [one for one in attempts if not one.admitted and not one.back]
    came = [one for one in attempts if one.back and one.at_s <= span_s]
    told = sum(one.retry_after_s is not None for one in refused) / len(refused) if refused else 0.0
    admitted = sum(one.admitted for one in came) / len(came) if came else None
    return Word(len(refused), told, len(came), admitted)

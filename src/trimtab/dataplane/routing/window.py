"""The context window: how a conversation is cut so that it costs less or fits, and what it costs in tokens at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trimtab.core.request import Message
from trimtab.foundations.tokens import prompt_bound

_SYSTEM_ROLES = ("system", "developer")


def droppable(messages: Sequence[Message]) -> list[int]:
    """How many of the oldest turns may go: counts at which the rest still begins with a user turn, rising.

    System messages and everything from the last user turn on always stay, and no tool result is left without the call
    that it answers.
    """
    turns = [message for message in messages if message["role"] not in _SYSTEM_ROLES]
    users = [index for index, message in enumerate(turns) if message["role"] == "user"]
    return [index for index in users if index > 0]


def windowed(messages: Sequence[Message], dropped: int) -> tuple[Message, ...]:
    """The messages without their `dropped` oldest turns."""
    if not dropped:
        return tuple(messages)
    kept = []
    for message in messages:
        if message["role"] not in _SYSTEM_ROLES and dropped:
            dropped -= 1
        else:
            kept.append(message)
    return tuple(kept)


def least_dropped(messages: Sequence[Message], fits: Callable[[int], bool], images: int | None = None) -> int | None:
    """The fewest oldest turns to drop so that the rest's token bound `fits`; None if no cut does. `images`: tokens of
    one image.

    Bisection: the bound falls with every turn that goes, so the work stays small for long conversations.
    """
    counts = droppable(messages)
    low, high = 0, len(counts)
    while low < high:
        middle = (low + high) // 2
        bound = prompt_bound(windowed(messages, counts[middle]), None, images)
        if bound is not None and fits(bound):
            high = middle
        else:
            low = middle + 1
    return counts[low] if low < len(counts) else None

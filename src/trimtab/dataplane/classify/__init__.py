"""Classify: what is known of a request before anything is spent on it.

No classifier ships yet, so every feature is None: unknown, which no policy rule takes for low risk. The stage is here
so that rules, records and `explain` already speak of it.
"""

from __future__ import annotations

from trimtab.core.decision import Features
from trimtab.core.request import Message

_UNKNOWN = Features()


def classify(messages: tuple[Message, ...]) -> Features:
    """Language, intent, complexity and risk of the last user turn, each with a confidence; None where unknown."""
    return _UNKNOWN


__all__ = ["classify"]

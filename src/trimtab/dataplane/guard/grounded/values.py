"""What is checked, and what comes of it: plain frozen values."""

from __future__ import annotations

import msgspec


class Evidence(msgspec.Struct, frozen=True):
    """One passage as the model was shown it. `source` is what a quote cites; `title`: the headings above it."""

    text: str
    source: str
    language: str | None = None
    title: str = ""


class Grounding(msgspec.Struct, frozen=True):
    """Whether an answer may leave. `score` is the least of `parts`, each 0..1.

    `reasons` are short codes that hold no text of the caller's; a number may be named.
    """

    score: float
    supported: bool
    reasons: tuple[str, ...]
    parts: dict[str, float]


class Quote(msgspec.Struct, frozen=True):
    """One to three adjoining sentences of a passage, as they are written there. `score`: for order, 0..1."""

    text: str
    source: str
    score: float

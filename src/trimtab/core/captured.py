"""The texts of a request, where its channel keeps them: redacted, and never in the record itself."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class CapturedText(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked and answered, as the channel's guard left it: placeholders stand for what was redacted."""

    record: str
    """Id of the record that it belongs to."""
    tenant: str
    subject: str
    """HMAC of whom it is about, 16 hex: of `user` where the caller sent one, else of the session."""
    messages: list[dict[str, Any]]
    """The caller's messages; of an embedding request its texts."""
    answers: list[dict[str, Any]] | None
    """The message of each choice; null: no model's answer was whole (a template, a refusal, a stream that broke)."""


class TextSink(Protocol):
    """Where texts are kept. Never blocks, never raises for a full disk."""

    def keep(self, text: CapturedText) -> None: ...


__all__ = ["CapturedText", "TextSink"]

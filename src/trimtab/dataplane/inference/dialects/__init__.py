"""Dialects of providers: one module each; those that speak as OpenAI does are in `..dialect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trimtab.core.decision import Plan
from trimtab.core.models import Variant
from trimtab.core.request import Body, Message
from trimtab.dataplane.inference import dialect
from trimtab.dataplane.inference.dialects.anthropic import Anthropic
from trimtab.dataplane.inference.dialects.base import Reader, Wire
from trimtab.dataplane.inference.dialects.bedrock import Bedrock
from trimtab.dataplane.inference.dialects.eventstream import FrameParser
from trimtab.dataplane.inference.dialects.gemini import Gemini, Vertex
from trimtab.dataplane.inference.dialects.responses import Responses

WIRES: Final[Mapping[str, Wire]] = {
    "anthropic": Anthropic(),
    "bedrock": Bedrock(),
    "gemini": Gemini(),
    "responses": Responses(),
    "vertex": Vertex(),
}
"""By `dialect`; the others are OpenAI's."""

_FREE: Final = frozenset({"openai", "azure", "responses"})
"""Those that know tools whose input is free text, and hold it to a grammar that the caller gives."""

__all__ = ["WIRES", "FrameParser", "Reader", "Wire", "encode", "kind_of", "unfit"]


def encode(plan: Plan, messages: Sequence[Message], body: Body, sentences: Sequence[str] = (), salt: str = "") -> bytes:
    """The request of one attempt, in the words of the plan's dialect."""
    wire = WIRES.get(plan.variant.dialect)
    return dialect.encode(plan, messages, body, sentences, salt) if wire is None else wire.encode(plan, messages, body)


def unfit(variant: Variant, body: Body) -> str | None:
    """What of a request this variant's endpoint has no words for, the field first; None: it can all be said."""
    if body.images and variant.images is None:
        return "messages with images"
    if variant.dialect not in _FREE and body.has_custom:
        return "tools of type custom"
    wire = WIRES.get(variant.dialect)
    return None if wire is None else wire.unfit(body)


def kind_of(headers: Mapping[str, str], event: dict[str, Any]) -> dict[str, Any]:
    """A frame's payload with what kind it is, under `:kind`."""
    if headers.get(":message-type") in ("exception", "error"):
        name = headers.get(":exception-type") or headers.get(":error-code") or "exception"
        return {**event, ":kind": f"exception:{name}"}
    return {**event, ":kind": headers.get(":event-type", "")}

"""Anthropic's messages (docs of the Messages API, version 2023-06-01; FACTS 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.core.decision import Plan
from trimtab.core.images import Image
from trimtab.core.request import Body, Message
from trimtab.dataplane.inference.dialect import AttemptFailed, fault_of_event
from trimtab.dataplane.inference.dialects import base

VERSION = "2023-06-01"
_SAID = frozenset({"tools", "tool_choice", "stop", "top_p", "parallel_tool_calls", "reasoning_effort"})
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
}
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384}
"""Tokens of thought by effort. They are part of the answer's cap, of which LEAST_ANSWER is left for what is said."""
LEAST_ANSWER = 256
_KEPT = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


class Anthropic:
    """`dialect: anthropic`; the endpoint is the base URL, e.g. https://api.anthropic.com/v1."""

    content_type = "text/event-stream"

    def unfit(self, body: Body) -> str | None:
        found = base.unsaid(body, _SAID)
        if found is not None:
            return found
        effort = body.extra.get("reasoning_effort")
        if effort is not None and effort != "none" and effort not in BUDGETS:
            return "reasoning_effort"
        if _thinks(body) and body.max_tokens is not None and body.max_tokens < 1024 + LEAST_ANSWER:
            return "reasoning_effort"  # no thought is shorter than 1,024 tokens there
        return None

    def encode(self, plan: Plan, messages: Sequence[Message], body: Body) -> bytes:
        request: dict[str, Any] = {
            **plan.variant.sampling,
        }
        own: dict[str, Any] = {
            "model": plan.variant.upstream_model,
            "max_tokens": plan.max_tokens,
            "messages": base.alternating(base.turns(messages), lambda message: _blocks(message, body.images)),
            "stream": True,
        }
        if system := base.system_of(plan, messages):
            own["system"] = "\n\n".join(system)
        if body.temperature is not None:
            request["temperature"] = min(body.temperature, 1.0)
        for name, field in (("top_p", "top_p"), ("stop", "stop_sequences")):
            if body.extra.get(name) is not None:
                request[field] = base.stops(body) if name == "stop" else body.extra[name]
        if declared := base.functions(body):
            request["tools"] = [
                {
                    "name": one["name"],
                    "description": one.get("description") or "",
                    "input_schema": one.get("parameters") or {"type": "object", "properties": {}},
                }
                for one in declared
            ]
            if choice := _choice(body):
                request["tool_choice"] = choice
        if _thinks(body) and plan.max_tokens >= 1024 + LEAST_ANSWER:
            budget = min(BUDGETS[body.extra["reasoning_effort"]], plan.max_tokens - LEAST_ANSWER)
            request["thinking"] = {"type": "enabled", "budget_tokens": budget}
        return base.decided(request, plan.variant.engine, **own)

    def path(self, base: str, name: str) -> str:
        return base + "/messages"

    def headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", secret), ("anthropic-version", VERSION))

    def reader(self, plan: Plan) -> Reader:
        return Reader()


class Reader:
    """Blocks to deltas; usage is cumulative, the last value of a field counts, and input is told without what was
    cached."""

    def __init__(self) -> None:
        self.ended = False
        self._calls: dict[int, int] = {}
        """Index of a block to that of a tool call."""
        self._usage: dict[str, int | None] = {}

    def read(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        kind = event.get("type")
        if kind == "message_start":
            return [base.chunk({"role": "assistant", "content": ""}), *self._told(base.part(event, "message"))]
        if kind == "content_block_start":
            return self._begins(event.get("index"), base.part(event, "content_block"))
        if kind == "content_block_delta":
            return self._goes_on(event.get("index"), base.part(event, "delta"))
        if kind == "message_delta":
            reason = base.part(event, "delta").get("stop_reason")
            ends = [base.chunk({}, _FINISH.get(reason, "stop"))] if isinstance(reason, str) else []
            return [*ends, *self._told(event)]
        if kind == "message_stop":
            self.ended = True
        if kind == "error":
            raise AttemptFailed(fault_of_event(event.get("error")))
        return []  # ping, content_block_stop, message_stop, and what comes later

    def _begins(self, index: Any, block: dict[str, Any]) -> list[dict[str, Any]]:
        if block.get("type") == "tool_use":
            number = self._calls[index] = len(self._calls)
            return [base.tool_delta(number, call=str(block.get("id")), name=str(block.get("name")))]
        text = block.get("text")
        return [base.chunk({"content": text})] if block.get("type") == "text" and text else []

    def _goes_on(self, index: Any, delta: dict[str, Any]) -> list[dict[str, Any]]:
        kind = delta.get("type")
        if kind == "text_delta":
            return [base.chunk({"content": delta.get("text") or ""})]
        if kind == "thinking_delta":
            return [base.chunk({"reasoning_content": delta.get("thinking") or ""})]
        if kind == "input_json_delta" and index in self._calls:
            return [base.tool_delta(self._calls[index], said=str(delta.get("partial_json") or ""))]
        return []

    def _told(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        usage = base.part(event, "usage")
        for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            count = base.whole(usage.get(name))
            self._usage[name] = count if count is not None else self._usage.get(name)
        kept = base.part(usage, "cache_creation")
        for name in _KEPT:
            count = base.whole(kept.get(name))
            self._usage[name] = count if count is not None else self._usage.get(name)
        fresh, cached = self._usage.get("input_tokens"), self._usage.get("cache_read_input_tokens")
        written, hour = self._written()
        prompt = None if fresh is None else fresh + (cached or 0) + (written or 0)
        # what message_start says of the output is of the answer's first tokens: one that is cut is counted here
        completion = self._usage.get("output_tokens") if event.get("type") == "message_delta" else None
        chunk = base.usage_chunk(prompt, completion, cached=cached, written=written, written_1h=hour)
        return [chunk] if usage else []

    def _written(self) -> tuple[int | None, int | None]:
        """All that was written to its cache, and what of it is kept for an hour."""
        written, short, hour = (self._usage.get(name) for name in ("cache_creation_input_tokens", *_KEPT))
        if short is None and hour is None:
            return written, None
        return max(written or 0, (short or 0) + (hour or 0)), hour


def _thinks(body: Body) -> bool:
    return body.extra.get("reasoning_effort") not in (None, "none")


def _choice(body: Body) -> dict[str, Any] | None:
    choice, found = base.chosen(body), dict[str, Any]()
    if choice is not None and choice.startswith("function:"):
        found = {"type": "tool", "name": choice.removeprefix("function:")}
    elif choice in _CHOICES:
        found = {"type": _CHOICES[choice]}
    if body.extra.get("parallel_tool_calls") is False and found.get("type") != "none":
        found = {"type": "auto", **found, "disable_parallel_tool_use": True}
    return found or None


def _blocks(message: Message, images: Mapping[str, Image]) -> list[dict[str, Any]]:
    said = base.pieces(message, images)
    if message["role"] in ("tool", "function"):
        result = {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id") or message.get("name") or "")}
        return [{**result, "content": [_block(one) for one in said] if base.shown(said) else base.joined(said)}]
    blocks = [_block(one) for one in said]
    blocks += [
        {"type": "tool_use", "id": call, "name": name, "input": value} for call, name, value in base.calls(message)
    ]
    return blocks


def _block(piece: str | Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    return {"type": "image", "source": {"type": "base64", "media_type": piece.kind, "data": piece.data}}

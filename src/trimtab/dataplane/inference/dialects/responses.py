"""OpenAI's responses, as an upstream (FACTS 3). Nothing is kept there: `store` is false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.core.decision import Plan
from trimtab.core.images import Image
from trimtab.core.request import Body, Message
from trimtab.dataplane.inference.dialect import AttemptFailed, fault_of_event
from trimtab.dataplane.inference.dialects import base

_SAID = frozenset({"tools", "tool_choice", "top_p", "response_format", "reasoning_effort", "parallel_tool_calls"})
_CHOICES = ("auto", "none", "required")
_CALLS = {"function_call": "function", "custom_tool_call": "custom"}
"""Types of items that are calls, with chat's types of calls."""
_CALL_DELTAS = {
    "response.function_call_arguments.delta": "function",
    "response.custom_tool_call_input.delta": "custom",
}


class Responses:
    """`dialect: responses`; the endpoint is the base URL, e.g. https://api.openai.com/v1."""

    content_type = "text/event-stream"

    def unfit(self, body: Body) -> str | None:
        return base.unsaid(body, _SAID)

    def encode(self, plan: Plan, messages: Sequence[Message], body: Body) -> bytes:
        request: dict[str, Any] = {
            **plan.variant.sampling,
        }
        own: dict[str, Any] = {
            "model": plan.variant.upstream_model,
            "input": _input(base.turns(messages), body.images),
            "max_output_tokens": plan.max_tokens,
            "stream": True,
            "store": False,
        }
        if system := base.system_of(plan, messages):
            own["instructions"] = "\n\n".join(system)
        if body.temperature is not None:
            request["temperature"] = body.temperature
        for name in ("top_p", "parallel_tool_calls"):
            if body.extra.get(name) is not None:
                request[name] = body.extra[name]
        if declared := [_tool(tool) for tool in body.extra.get("tools") or ()]:
            request["tools"] = declared
            choice = body.extra.get("tool_choice")
            if isinstance(choice, dict):
                kind = choice.get("type")
                request["tool_choice"] = {"type": kind, "name": base.part(choice, str(kind)).get("name")}
            elif choice in _CHOICES:
                request["tool_choice"] = choice
        if body.extra.get("reasoning_effort") is not None:
            request["reasoning"] = {"effort": body.extra["reasoning_effort"]}
        if (told := body.extra.get("response_format")) is not None:
            schema = told.get("json_schema") or {}
            request["text"] = {"format": {"type": told.get("type"), **schema}}
        return base.decided(request, plan.variant.engine, **own)

    def path(self, base: str, name: str) -> str:
        return base + "/responses"

    def headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {secret}"),)

    def reader(self, plan: Plan) -> Reader:
        return Reader()


class Reader:
    """Items and their deltas; the last event has the usage and why it ended."""

    def __init__(self) -> None:
        self.ended = False
        self._calls: dict[int, int] = {}
        """By their place in the output."""

    def read(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        kind = event.get("type")
        if kind == "response.created":
            return [base.chunk({"role": "assistant", "content": ""})]
        if kind == "response.output_text.delta":
            return [base.chunk({"content": event.get("delta") or ""})]
        if kind == "response.refusal.delta":
            return [base.chunk({"refusal": event.get("delta") or ""})]
        if kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            return [base.chunk({"reasoning_content": event.get("delta") or ""})]
        if kind == "response.output_item.added":
            item = base.part(event, "item")
            if (called := _CALLS.get(str(item.get("type")))) is None:
                return []
            number = self._calls[event.get("output_index", 0)] = len(self._calls)
            return [base.tool_delta(number, call=str(item.get("call_id")), name=str(item.get("name")), kind=called)]
        if (called := _CALL_DELTAS.get(str(kind))) is not None:
            place = self._calls.get(event.get("output_index", 0))
            return [] if place is None else [base.tool_delta(place, said=str(event.get("delta") or ""), kind=called)]
        if kind in ("response.completed", "response.incomplete"):
            self.ended = True
            return self._ends(base.part(event, "response"))
        if kind == "response.failed":
            raise AttemptFailed(fault_of_event(base.part(event, "response").get("error") or {}))
        if kind == "error":
            raise AttemptFailed(fault_of_event(event.get("error") or event))
        return []

    def _ends(self, response: dict[str, Any]) -> list[dict[str, Any]]:
        reason = base.part(response, "incomplete_details").get("reason")
        finish = "tool_calls" if self._calls else "stop"
        if reason is not None:
            finish = "content_filter" if reason == "content_filter" else "length"
        return [base.chunk({}, finish), *_told(base.part(response, "usage"))]


def _told(usage: dict[str, Any]) -> list[dict[str, Any]]:
    if not usage:
        return []
    read, thought = base.part(usage, "input_tokens_details"), base.part(usage, "output_tokens_details")
    return [
        base.usage_chunk(
            base.whole(usage.get("input_tokens")),
            base.whole(usage.get("output_tokens")),
            cached=base.whole(read.get("cached_tokens")),
            written=base.whole(read.get("cache_write_tokens")),
            reasoning=base.whole(thought.get("reasoning_tokens")),
            audio_in=base.whole(read.get("audio_tokens")),
            audio_out=base.whole(thought.get("audio_tokens")),
        )
    ]


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A declared tool. The format of one whose input is free text is flat here."""
    if tool.get("type") != "custom":
        return {"strict": None, **base.part(tool, "function"), "type": "function"}
    custom = base.part(tool, "custom")
    form = base.part(custom, "format")
    told = {**base.part(form, "grammar"), "type": "grammar"} if form.get("type") == "grammar" else form
    return {**custom, "type": "custom"} | ({"format": told} if told else {})


def _input(turns: Sequence[Message], images: Mapping[str, Image]) -> list[dict[str, Any]]:
    calls = [call for message in turns for call in message.get("tool_calls") or ()]
    free = frozenset(str(call.get("id")) for call in calls if call.get("type") == "custom")
    return [item for message in turns for item in _items(message, free, images)]


def _items(message: Message, free: frozenset[str], images: Mapping[str, Image]) -> list[dict[str, Any]]:
    """`free`: calls whose input was free text, by their ids."""
    said = base.pieces(message, images)
    if message["role"] in ("tool", "function"):
        call = str(message.get("tool_call_id") or message.get("name") or "")
        kind = "custom_tool_call_output" if call in free else "function_call_output"
        output = [_part(one, "input_text") for one in said] if base.shown(said) else base.joined(said)
        return [{"type": kind, "call_id": call, "output": output}]
    role = "assistant" if message["role"] == "assistant" else "user"
    kind = "output_text" if role == "assistant" else "input_text"
    items: list[dict[str, Any]] = []
    if said:
        items.append({"role": role, "content": [_part(one, kind) for one in said]})
    for call in message.get("tool_calls") or ():
        if (custom := call.get("custom")) is not None:
            told = {"call_id": call.get("id"), "name": custom.get("name"), "input": custom.get("input") or ""}
            items.append({"type": "custom_tool_call", **told})
            continue
        function = call.get("function") or {}
        told = {"call_id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments") or "{}"}
        items.append({"type": "function_call", **told})
    return items


def _part(piece: str | Image, kind: str) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"type": kind, "text": piece}
    return {"type": "input_image", "image_url": piece.address, "detail": piece.detail or "auto"}

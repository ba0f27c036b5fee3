"""Amazon Bedrock's ConverseStream, by a bearer API key or signed (`adapters/sigv4`) (FACTS 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from trimtab.core.decision import Plan
from trimtab.core.images import Image
from trimtab.core.request import Body, Message
from trimtab.dataplane.inference.dialect import AttemptFailed, fault_of_event
from trimtab.dataplane.inference.dialects import base

_SAID = frozenset({"tools", "tool_choice", "stop", "top_p"})
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


class Bedrock:
    """`dialect: bedrock`; the endpoint is e.g. https://bedrock-runtime.eu-central-1.amazonaws.com."""

    content_type = "application/vnd.amazon.eventstream"

    def unfit(self, body: Body) -> str | None:
        if base.chosen(body) == "none" and body.has_tools:
            return "tool_choice"  # it knows auto, any and one tool
        return base.unsaid(body, _SAID)

    def encode(self, plan: Plan, messages: Sequence[Message], body: Body) -> bytes:
        inference: dict[str, Any] = {}
        if body.temperature is not None:
            inference["temperature"] = min(body.temperature, 1.0)
        if body.extra.get("top_p") is not None:
            inference["topP"] = body.extra["top_p"]
        if stop := base.stops(body):
            inference["stopSequences"] = stop
        request: dict[str, Any] = {}
        own: dict[str, Any] = {
            "messages": base.alternating(base.turns(messages), lambda message: _blocks(message, body.images)),
            "inferenceConfig": {"maxTokens": plan.max_tokens},
        }
        if system := base.system_of(plan, messages):
            own["system"] = [{"text": text} for text in system]
        if declared := base.functions(body):
            request["toolConfig"] = {"tools": [_tool(one) for one in declared]}
            if (choice := _choice(body)) is not None:
                request["toolConfig"]["toolChoice"] = choice
        request = base.merged(request, plan.variant.sampling)
        request = base.merged(request, {"inferenceConfig": inference})
        return base.decided(request, plan.variant.engine, **own)

    def path(self, base: str, name: str) -> str:
        return f"{base}/model/{quote(name, safe='')}/converse-stream"

    def headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {secret}"),)

    def reader(self, plan: Plan) -> Reader:
        return Reader()


class Reader:
    """Events, each with its kind under `:kind` (`dialects.Frames` puts it there), to deltas."""

    def __init__(self) -> None:
        self.ended = False
        self._calls: dict[int, int] = {}

    def read(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        kind = event.pop(":kind", "")
        if kind.startswith("exception:"):
            name = kind.removeprefix("exception:")
            raise AttemptFailed(fault_of_event({"message": event.get("message") or name, "code": name}))
        if kind == "messageStart":
            return [base.chunk({"role": "assistant", "content": ""})]
        if kind == "contentBlockStart":
            use = base.part(base.part(event, "start"), "toolUse")
            if not use:
                return []
            number = self._calls[event.get("contentBlockIndex", 0)] = len(self._calls)
            return [base.tool_delta(number, call=str(use.get("toolUseId")), name=str(use.get("name")))]
        if kind == "contentBlockDelta":
            return self._goes_on(event.get("contentBlockIndex", 0), base.part(event, "delta"))
        if kind == "messageStop":
            return [base.chunk({}, _FINISH.get(str(event.get("stopReason")), "stop"))]
        return _told(base.part(event, "usage")) if kind == "metadata" else []

    def _goes_on(self, index: int, delta: dict[str, Any]) -> list[dict[str, Any]]:
        if isinstance(delta.get("text"), str):
            return [base.chunk({"content": delta["text"]})]
        if use := base.part(delta, "toolUse"):
            number = self._calls.get(index)
            return [] if number is None else [base.tool_delta(number, said=str(use.get("input") or ""))]
        thought = base.part(delta, "reasoningContent").get("text")
        return [base.chunk({"reasoning_content": thought})] if isinstance(thought, str) else []


def _told(usage: dict[str, Any]) -> list[dict[str, Any]]:
    if not usage:
        return []
    fresh, cached = base.whole(usage.get("inputTokens")), base.whole(usage.get("cacheReadInputTokens"))
    written = base.whole(usage.get("cacheWriteInputTokens"))
    hour = _kept_for_an_hour(usage)
    prompt = None if fresh is None else fresh + (cached or 0) + max(written or 0, hour or 0)
    said = base.whole(usage.get("outputTokens"))
    return [base.usage_chunk(prompt, said, cached=cached, written=written, written_1h=hour)]


def _kept_for_an_hour(usage: dict[str, Any]) -> int | None:
    """Of what was written to its cache, by `cacheDetails`; None: not told."""
    details = usage.get("cacheDetails")
    rows = [row for row in details if isinstance(row, dict)] if isinstance(details, list) else []
    return sum(base.whole(row.get("inputTokens")) or 0 for row in rows if row.get("ttl") == "1h") if rows else None


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    told = {"name": function["name"], "inputSchema": {"json": schema}}
    if function.get("description"):
        told["description"] = function["description"]
    return {"toolSpec": told}


def _choice(body: Body) -> dict[str, Any] | None:
    choice = base.chosen(body)
    if choice is not None and choice.startswith("function:"):
        return {"tool": {"name": choice.removeprefix("function:")}}
    return {"auto": {"auto": {}}, "required": {"any": {}}}.get(choice or "")


def _blocks(message: Message, images: Mapping[str, Image]) -> list[dict[str, Any]]:
    said = base.pieces(message, images)
    if message["role"] in ("tool", "function"):
        call = str(message.get("tool_call_id") or message.get("name") or "")
        told = [{"text": base.joined(said)}, *map(_block, base.shown(said))]
        return [{"toolResult": {"toolUseId": call, "content": told}}]
    blocks = [_block(one) for one in said]
    used = base.calls(message)
    return blocks + [{"toolUse": {"toolUseId": call, "name": name, "input": value}} for call, name, value in used]


def _block(piece: str | Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece}
    return {"image": {"format": piece.kind.removeprefix("image/"), "source": {"bytes": piece.data}}}

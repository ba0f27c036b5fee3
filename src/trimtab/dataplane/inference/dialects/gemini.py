"""Gemini's generateContent (v1beta), streamed as server-sent events (FACTS 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.core.decision import Plan
from trimtab.core.images import Image
from trimtab.core.request import Body, Message
from trimtab.dataplane.inference.dialect import AttemptFailed, content_refused, failed, fault_of_event
from trimtab.dataplane.inference.dialects import base

_SAID = frozenset(
    {"tools", "tool_choice", "stop", "top_p", "seed", "presence_penalty", "frequency_penalty", "response_format"}
    | {"reasoning_effort"}
)
_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_FILTERED = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"})
BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_GENERATION = (
    ("top_p", "topP"),
    ("seed", "seed"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)


class Gemini:
    """`dialect: gemini`; the endpoint is the base URL, e.g. https://generativelanguage.googleapis.com/v1beta. Fields of
    `sampling` and `engine` are those of the request: `generationConfig: {topK: 40}`."""

    content_type = "text/event-stream"

    def unfit(self, body: Body) -> str | None:
        effort = body.extra.get("reasoning_effort")
        if effort is not None and effort not in BUDGETS:
            return "reasoning_effort"
        return base.unsaid(body, _SAID)

    def encode(self, plan: Plan, messages: Sequence[Message], body: Body) -> bytes:
        generation: dict[str, Any] = {}
        if body.temperature is not None:
            generation["temperature"] = body.temperature
        for name, field in _GENERATION:
            if body.extra.get(name) is not None:
                generation[field] = body.extra[name]
        if stop := base.stops(body):
            generation["stopSequences"] = stop
        as_json, schema = base.schema(body)
        if as_json:
            generation["responseMimeType"] = "application/json"
            if schema is not None:
                generation["responseJsonSchema"] = schema
        if (effort := body.extra.get("reasoning_effort")) is not None:
            generation["thinkingConfig"] = {"thinkingBudget": min(BUDGETS[effort], plan.max_tokens)}
        request: dict[str, Any] = {}
        own: dict[str, Any] = {
            "contents": _contents(base.turns(messages), body.images),
            "generationConfig": {"maxOutputTokens": plan.max_tokens},
        }
        if system := base.system_of(plan, messages):
            own["systemInstruction"] = {"parts": [{"text": text} for text in system]}
        if declared := base.functions(body):
            request["tools"] = [{"functionDeclarations": [_declaration(one) for one in declared]}]
            if (choice := base.chosen(body)) is not None:
                request["toolConfig"] = {"functionCallingConfig": _calling(choice)}
        request = base.merged(request, plan.variant.sampling)
        request = base.merged(request, {"generationConfig": generation})
        return base.decided(request, plan.variant.engine, **own)

    def path(self, base: str, name: str) -> str:
        return f"{base}/models/{name}:streamGenerateContent?alt=sse"

    def headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        return (("x-goog-api-key", secret),)

    def reader(self, plan: Plan) -> Reader:
        return Reader()


class Vertex(Gemini):
    """`dialect: vertex`: the same on Google Cloud, with tokens in place of keys (`adapters/service_account`); the
    endpoint is the base URL, e.g. https://europe-west4-aiplatform.googleapis.com/v1/projects/P/locations/europe-west4
    /publishers/google."""

    def headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        return ()


class Reader:
    """Candidates to deltas. Usage is in nearly every event and cumulative; thoughts are billed beside them."""

    def __init__(self) -> None:
        self.ended = False
        self._calls = 0
        self._begun = False

    def read(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        if "error" in event:
            raise AttemptFailed(fault_of_event(event["error"]))
        chunks: list[dict[str, Any]] = []
        if not self._begun:
            self._begun = True
            chunks.append(base.chunk({"role": "assistant", "content": ""}))
        candidates = event.get("candidates") or []
        reason = base.part(event, "promptFeedback").get("blockReason")
        if reason and not candidates:
            message = f"the provider's filter refused the prompt ({reason})"
            raise AttemptFailed(content_refused({"message": message, "code": str(reason)}))
        for candidate in candidates[:1]:
            chunks += self._candidate(candidate)
        return [*chunks, *_told(base.part(event, "usageMetadata"))]

    def _candidate(self, candidate: dict[str, Any]) -> list[dict[str, Any]]:
        chunks = []
        for one in base.part(candidate, "content").get("parts") or ():
            if call := base.part(one, "functionCall"):
                said = base.encode(call.get("args") or {}).decode()
                name = str(call.get("name"))
                call_id = str(call.get("id") or f"call_{self._calls}")
                chunks.append(base.tool_delta(self._calls, call=call_id, name=name, said=said))
                self._calls += 1
            elif isinstance(one.get("text"), str) and one["text"]:
                field = "reasoning_content" if one.get("thought") else "content"
                chunks.append(base.chunk({field: one["text"]}))
        reason = candidate.get("finishReason")
        if reason is not None:
            chunks.append(base.chunk({}, self._finish(str(reason))))
        return chunks

    def _finish(self, reason: str) -> str:
        if reason in _FILTERED:
            return "content_filter"
        if reason not in _FINISH:
            raise AttemptFailed(failed("error event", f"the model's server ended its answer with {reason[:64]}"))
        return "tool_calls" if self._calls and reason == "STOP" else _FINISH[reason]


def _told(usage: dict[str, Any]) -> list[dict[str, Any]]:
    if not usage:
        return []
    said, thought = base.whole(usage.get("candidatesTokenCount")), base.whole(usage.get("thoughtsTokenCount"))
    completion = None if said is None and thought is None else (said or 0) + (thought or 0)
    cached = base.whole(usage.get("cachedContentTokenCount"))
    prompt = base.whole(usage.get("promptTokenCount"))
    if prompt is not None:
        prompt += base.whole(usage.get("toolUsePromptTokenCount")) or 0
    return [
        base.usage_chunk(
            prompt,
            completion,
            cached=cached,
            reasoning=thought,
            audio_in=_audio(usage, "promptTokensDetails", "toolUsePromptTokensDetails"),
            audio_cached=_audio(usage, "cacheTokensDetails"),
            audio_out=_audio(usage, "candidatesTokensDetails"),
        )
    ]


def _audio(usage: dict[str, Any], *names: str) -> int | None:
    """Tokens of sound, by modality; None: no part of it was."""
    found = None
    for name in names:
        details = usage.get(name)
        for row in details if isinstance(details, list) else ():
            if isinstance(row, dict) and row.get("modality") == "AUDIO":
                found = (found or 0) + (base.whole(row.get("tokenCount")) or 0)
    return found


def _declaration(function: dict[str, Any]) -> dict[str, Any]:
    found = {"name": function["name"], "description": function.get("description") or ""}
    return {**found, "parametersJsonSchema": function["parameters"]} if function.get("parameters") else found


def _calling(choice: str) -> dict[str, Any]:
    if choice.startswith("function:"):
        return {"mode": "ANY", "allowedFunctionNames": [choice.removeprefix("function:")]}
    return {"mode": _MODES.get(choice, "AUTO")}


def _contents(turns: Sequence[Message], images: Mapping[str, Image]) -> list[dict[str, Any]]:
    """A tool's result names its function, not the call: names are taken from the calls."""
    names = {call: name for message in turns for call, name, _ in base.calls(message)}
    return base.alternating(turns, lambda message: _parts(message, names, images), own="model", into="parts")


def _parts(message: Message, names: dict[str, str], images: Mapping[str, Image]) -> list[dict[str, Any]]:
    """What a tool shows stands beside its result."""
    said = base.pieces(message, images)
    if message["role"] in ("tool", "function"):
        call = str(message.get("tool_call_id") or "")
        name = names.get(call) or str(message.get("name") or call)
        result = {"functionResponse": {"name": name, "response": {"result": base.joined(said)}}}
        return [result, *map(_piece, base.shown(said))]
    parts = [_piece(one) for one in said]
    return parts + [{"functionCall": {"name": name, "args": value}} for _, name, value in base.calls(message)]


def _piece(piece: str | Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece}
    return {"inlineData": {"mimeType": piece.kind, "data": piece.data}}

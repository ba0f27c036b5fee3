"""Anthropic's messages dialect on our side of the wire: answers, streams and errors out, and the routes.

Usage is told once all is known, in `message_delta`: `input_tokens` is what was neither read from a cache nor written
to one, so that the three are the whole prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from trimtab.core.clock import NS_PER_S, instant_text
from trimtab.core.errors import Refusal
from trimtab.core.money import Usage
from trimtab.core.request import Completion, Head, Request
from trimtab.dataplane.count import count
from trimtab.dataplane.pipeline import answer
from trimtab.dataplane.plane import DataPlane, Headers
from trimtab.surfaces.server import messages, openai
from trimtab.surfaces.server.blocks import Block, Blocks, Step
from trimtab.surfaces.server.errors import error_object
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.reply import BlockReply, named_event, send_refusal

_encode = msgspec.json.Encoder().encode
_ID = "chatcmpl-"
_LIMIT = "x-ratelimit-"
_STOPS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Error types by status; of others below 500 `invalid_request_error`, else `api_error`."""


async def create(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`POST /v1/messages`."""
    shown = messages.Shown()
    request = openai.request_of(http, lambda data: messages.parse(data, shown))
    await answer(keyed(request), http.arrival, MessagesReply(reply, shown, http.arrival.wall_ns), plane)


async def count_tokens(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`POST /v1/messages/count_tokens`: what the prompt has by the counter of the model that is named."""
    request = keyed(openai.request_of(http, messages.parse_counted))
    found = await count(request, http.arrival, plane)
    if isinstance(found, Refusal):
        send_error(reply, found, [], None)
    else:
        openai.send_json(reply, 200, {"input_tokens": found})


def keyed(request: Request) -> Request:
    """The same request with its key where ours is looked for: clients of this dialect send `x-api-key`."""
    head = keyed_head(request.head)
    return request if head is request.head else Request(head, request.body)


def keyed_head(head: Head) -> Head:
    key = head.headers.get("x-api-key")
    if key is None or "authorization" in head.headers:
        return head
    return Head(head.method, head.route, {**head.headers, "authorization": f"Bearer {key}"})


class MessagesReply(BlockReply):
    """In Anthropic's words."""

    def __init__(self, reply: HttpReply, shown: messages.Shown, wall_ns: int) -> None:
        super().__init__(reply)
        self._shown = shown
        self._wall_ns = wall_ns
        """When the request came: limits are reset at a time, not after one."""
        self._begun = False
        self._written = 0
        """Blocks that the client has been told of: thoughts may be left out."""

    def _headers(self, headers: Headers) -> Headers:
        return [*headers, *_named(headers, self._wall_ns)]

    def _begin(self, top: Mapping[str, Any]) -> list[bytes]:
        if self._begun:
            return []
        self._begun = True
        message = {**_envelope(top), "content": [], "stop_reason": None, "stop_sequence": None}
        message["usage"] = {"input_tokens": 0, "output_tokens": 0}
        return [named_event("message_start", {"message": message})]

    def _step(self, step: Step) -> list[bytes]:
        what, block, text = step
        if block.kind == "thought" and not self._shown.thoughts:
            return []
        if what == "open":
            self._written += 1
        index = self._written - 1
        if what == "open":
            return [named_event("content_block_start", {"index": index, "content_block": _opened(block)})]
        if what == "more":
            return [named_event("content_block_delta", {"index": index, "delta": _delta(block, text)})]
        signed: list[bytes] = []
        if block.kind == "thought":
            signature = {"type": "signature_delta", "signature": ""}
            signed.append(named_event("content_block_delta", {"index": index, "delta": signature}))
        return [*signed, named_event("content_block_stop", {"index": index})]

    def _last(self) -> bytes:
        events = self._steps(self._blocks.end())
        delta = _stop(self._finish, self._blocks)
        events.append(named_event("message_delta", {"delta": delta, "usage": usage_of(self._usage), **self._beside}))
        events.append(named_event("message_stop", {}))
        return b"".join(events)

    def _answer(self, whole: Completion) -> bytes:
        self._take(whole)
        content = [_told(block) for block in self._blocks.all if block.kind != "thought" or self._shown.thoughts]
        message = {**_envelope(whole.data), "content": content, **_stop(self._finish, self._blocks)}
        return _encode({**message, "usage": usage_of(self._usage), **self._beside})

    def _refuse(self, refusal: Refusal, headers: Headers, record: str) -> None:
        send_error(self._reply, refusal, headers, record)

    def _broken(self, refusal: Refusal, record: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % _encode(error_of(refusal, record))


def error_of(refusal: Refusal, record: str | None) -> dict[str, Any]:
    """The body of an error answer, or of an error event: Anthropic's fields, with our reason beside them."""
    told = error_object(refusal, record)["error"]
    default = "invalid_request_error" if refusal.status < 500 else "api_error"
    error = {"type": _TYPES.get(refusal.status, default), "message": told["message"], "trimtab": told["trimtab"]}
    return {"type": "error", "error": error, "request_id": record}


def send_error(reply: HttpReply, refusal: Refusal, headers: Headers, record: str | None) -> None:
    """A refusal as the whole answer; never waits."""
    send_refusal(reply, refusal, _encode(error_of(refusal, record)), headers)


def usage_of(usage: Usage) -> dict[str, Any]:
    """Anthropic's usage object."""
    cached, written = usage.cached or 0, usage.written or 0
    known: dict[str, Any] = {}
    if usage.reasoning is not None:
        known["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.written_1h is not None:
        hour = min(usage.written_1h, written)
        split = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
        known["cache_creation"] = split
    return {
        "input_tokens": max((usage.prompt or 0) - cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion or 0,
        **known,
    }


def _named(headers: Headers, wall_ns: int) -> Iterator[tuple[str, str]]:
    """The request's id and the limits again, by the names and in the forms of this dialect."""
    for name, value in headers:
        if name == "x-request-id":
            yield "request-id", value
        elif name.startswith(_LIMIT):
            which, _, unit = name.removeprefix(_LIMIT).partition("-")
            told = _time(wall_ns // NS_PER_S + _seconds(value)) if which == "reset" else value
            yield f"anthropic-ratelimit-{unit}-{which}", told


def _seconds(duration: str) -> float:
    """Of a duration as OpenAI writes it: `6m0s`, `1.5s`, `20ms`."""
    if duration.endswith("ms"):
        return float(duration[:-2]) / 1000
    minutes, _, rest = duration.rpartition("m")
    return float(minutes or 0) * 60 + float(rest[:-1])


def _time(seconds: float) -> str:
    return instant_text(int(seconds * NS_PER_S))


def _envelope(top: Mapping[str, Any]) -> dict[str, Any]:
    name = "msg_" + str(top["id"]).removeprefix(_ID)
    return {"id": name, "type": "message", "role": "assistant", "model": top["model"]}


def _stop(choice: Mapping[str, Any], blocks: Blocks) -> dict[str, Any]:
    """Why it stopped. Where a stop sequence did, some servers say which; others say no more than of any end."""
    reason = _STOPS.get(str(choice.get("finish_reason")), "end_turn")
    sequence = choice.get("stop_reason") or choice.get("matched_stop")
    sequence = sequence if reason == "end_turn" and isinstance(sequence, str) else None
    if reason == "end_turn" and blocks.has_calls:
        reason = "tool_use"  # after a call that was demanded, OpenAI's chat says `stop`
    elif reason == "end_turn" and any(block.kind == "refusal" for block in blocks.all):
        reason = "refusal"
    elif sequence is not None:
        reason = "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": sequence if reason == "stop_sequence" else None}


def _opened(block: Block) -> dict[str, Any]:
    match block.kind:
        case "thought":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "call":
            return {"type": "tool_use", "id": _call_id(block), "name": block.name, "input": {}}
        case _:
            return {"type": "text", "text": ""}


def _delta(block: Block, text: str) -> dict[str, Any]:
    match block.kind:
        case "thought":
            return {"type": "thinking_delta", "thinking": text}
        case "call":
            return {"type": "input_json_delta", "partial_json": text}
        case _:
            return {"type": "text_delta", "text": text}


def _told(block: Block) -> dict[str, Any]:
    match block.kind:
        case "thought":
            return {"type": "thinking", "thinking": block.text, "signature": ""}
        case "call":
            return {"type": "tool_use", "id": _call_id(block), "name": block.name, "input": block.arguments}
        case _:
            return {"type": "text", "text": block.text}


def _call_id(block: Block) -> str:
    return block.call_id or f"toolu_{block.index}"

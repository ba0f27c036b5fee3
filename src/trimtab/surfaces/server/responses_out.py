"""OpenAI's responses dialect on our side of the wire: answers, streams and errors out, and the route.

Each block is an item of its own: text and refusals are messages with one part, thoughts are reasoning in clear, calls
are calls of functions or of tools of free text. Every event is numbered; the last one has the whole response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trimtab.core.errors import Refusal
from trimtab.core.money import Usage
from trimtab.core.request import Completion
from trimtab.dataplane.pipeline import answer
from trimtab.dataplane.plane import DataPlane, Headers
from trimtab.surfaces.server import openai, responses
from trimtab.surfaces.server.blocks import Block, Step
from trimtab.surfaces.server.errors import error_object
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.reply import BlockReply, named_event
from trimtab.surfaces.server.responses_tools import SEARCH

_encode = msgspec.json.Encoder().encode
_ID = "chatcmpl-"
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is not complete, by finish reason."""
_DELTAS = {
    "text": "response.output_text",
    "refusal": "response.refusal",
    "thought": "response.reasoning_text",
    "call": "response.function_call_arguments",
    "custom": "response.custom_tool_call_input",
}
_PARTS = {"text": ("output_text", "text"), "refusal": ("refusal", "refusal"), "thought": ("reasoning_text", "text")}
"""A part's type, and the field of its text."""
_PREFIXES = {"text": "msg", "refusal": "msg", "thought": "rs", "call": "fc", "custom": "ctc"}
_RATE = 429
_DEFAULTS: Mapping[str, Any] = {
    "object": "response",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}


async def create(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`POST /v1/responses`."""
    echo = responses.Echo()
    request = openai.request_of(http, lambda data: responses.parse(data, echo))
    await answer(request, http.arrival, ResponsesReply(reply, echo), plane)


class ResponsesReply(BlockReply):
    """In the words of OpenAI's responses."""

    def __init__(self, reply: HttpReply, echo: responses.Echo) -> None:
        super().__init__(reply)
        self._echo = echo
        self._head: dict[str, Any] = {}
        """The response as it stands around its output; empty before the first event."""
        self._number = 0

    def _begin(self, top: Mapping[str, Any]) -> list[bytes]:
        if self._head:
            return []
        self._head = self._around(top)
        begun = {**self._head, "status": "in_progress", "output": []}
        return [self._event(f"response.{name}", {"response": begun}) for name in ("created", "in_progress")]

    def _around(self, top: Mapping[str, Any]) -> dict[str, Any]:
        """All of a response but its output and what comes with its end."""
        name = "resp_" + str(top["id"]).removeprefix(_ID)
        own = {"id": name, "created_at": top["created"], "model": top["model"], "store": False}
        return {**_DEFAULTS, **self._echo.said, **own}

    def _step(self, step: Step) -> list[bytes]:
        what, block, text = step
        delta = _DELTAS[block.kind]
        if self._is_search(block):
            return self._searched(what, block)
        if what == "more":
            logprobs: dict[str, Any] = {"logprobs": []} if block.kind == "text" else {}
            return [self._event(f"{delta}.delta", {**self._at(block), "delta": text, **logprobs})]
        item = {"output_index": block.index}
        if what == "open":
            opened = self._event("response.output_item.added", {**item, "item": self._item(block, "in_progress")})
            if block.is_call:
                return [opened]
            part = {**self._at(block), "part": _part(block, "")}
            return [opened, self._event("response.content_part.added", part)]
        status = self._status(block)
        closed = {**item, "item": self._item(block, status)}
        done = {**self._at(block), **(self._named(block) if block.kind == "call" else {}), **_done(block)}
        events = [self._event(f"{delta}.done", done)]
        if not block.is_call:
            part = {**self._at(block), "part": _part(block, block.text)}
            events.append(self._event("response.content_part.done", part))
        return [*events, self._event("response.output_item.done", closed)]

    def _searched(self, what: str, block: Block) -> list[bytes]:
        """A search for tools comes whole: its arguments are an object."""
        if what == "more":
            return []
        name, status = ("added", "in_progress") if what == "open" else ("done", self._status(block))
        item = {"output_index": block.index, "item": self._item(block, status)}
        return [self._event(f"response.output_item.{name}", item)]

    def _is_search(self, block: Block) -> bool:
        return block.kind == "call" and block.name == SEARCH and self._echo.tools.searches

    def _at(self, block: Block) -> dict[str, Any]:
        place = {"item_id": self._item_id(block), "output_index": block.index}
        return place if block.is_call else {**place, "content_index": 0}

    def _item_id(self, block: Block) -> str:
        own = str(self._head["id"]).removeprefix("resp_")
        return f"{_PREFIXES[block.kind]}_{own}_{block.index}"

    def _status(self, block: Block) -> str:
        """An answer that was cut was cut in its last block."""
        cut = self._finish.get("finish_reason") in _REASONS and block is self._blocks.all[-1]
        return "incomplete" if cut else "completed"

    def _item(self, block: Block, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self._item_id(block), "status": status}
        if block.is_call:
            call = {"call_id": block.call_id or f"call_{block.index}", **self._named(block)}
            begun = status == "in_progress"
            if self._is_search(block):
                told = {"arguments": {} if begun else block.arguments, "execution": "client"}
                return {"type": "tool_search_call", **item, "call_id": call["call_id"], **told}
            if block.kind == "custom":
                return {"type": "custom_tool_call", **item, **call, "input": "" if begun else block.text}
            return {"type": "function_call", **item, **call, "arguments": "" if begun else _arguments(block)}
        parts = [] if status == "in_progress" else [_part(block, block.text)]
        if block.kind == "thought":
            return {"type": "reasoning", **item, "summary": [], "content": parts}
        return {"type": "message", **item, "role": "assistant", "content": parts}

    def _named(self, block: Block) -> dict[str, str]:
        """The tool that is called, as the caller declared it."""
        space = self._echo.tools.spaces.get(block.name)
        return {"name": block.name} if space is None else {"name": space[1], "namespace": space[0]}

    def _last(self) -> bytes:
        events = self._steps(self._blocks.end())
        response = {**self._ended(), **self._beside}
        events.append(self._event(f"response.{response['status']}", {"response": response}))
        return b"".join(events)

    def _ended(self) -> dict[str, Any]:
        """The response with its output and its usage."""
        reason = _REASONS.get(self._finish.get("finish_reason") or "")
        return {
            **self._head,
            "status": "completed" if reason is None else "incomplete",
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": [self._item(block, self._status(block)) for block in self._blocks.all],
            "usage": usage_of(self._usage),
        }

    def _answer(self, whole: Completion) -> bytes:
        self._head = self._around(whole.data)
        self._take(whole)
        return _encode({**self._ended(), **self._beside})

    def _refuse(self, refusal: Refusal, headers: Headers, record: str) -> None:
        openai.send_error(self._reply, refusal, headers, record)

    def _broken(self, refusal: Refusal, record: str) -> bytes:
        error = error_object(refusal, record)["error"]
        told = {name: error[name] for name in ("code", "message", "param", "trimtab")}
        code = "rate_limit_exceeded" if refusal.status == _RATE else "server_error"
        failed = {**self._head, "status": "failed", "error": {"code": code, "message": error["message"]}}
        told_of = [block for block in self._blocks.all if block.is_open]
        failed["output"] = [self._item(one, "completed" if one.is_closed else "incomplete") for one in told_of]
        return self._event("error", told) + self._event("response.failed", {"response": failed})

    def _event(self, name: str, fields: Mapping[str, Any]) -> bytes:
        event = named_event(name, {"sequence_number": self._number, **fields})
        self._number += 1
        return event


def usage_of(usage: Usage) -> dict[str, Any]:
    """Usage in the fields of a response; what is not known is told as 0, since clients take numbers only."""
    prompt, completion = usage.prompt or 0, usage.completion or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": usage.written or 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": prompt + completion,
    }


def _part(block: Block, text: str) -> dict[str, Any]:
    kind, name = _PARTS[block.kind]
    part: dict[str, Any] = {"type": kind, name: text}
    return {**part, "annotations": [], "logprobs": []} if block.kind == "text" else part


def _arguments(block: Block) -> str:
    """Some servers say nothing where a call has no arguments; clients want JSON."""
    return block.text or "{}"


def _done(block: Block) -> dict[str, Any]:
    """What the event that ends a run of deltas says of it."""
    if block.kind == "call":
        return {"arguments": _arguments(block)}
    if block.kind == "custom":
        return {"input": block.text}
    done = {_PARTS[block.kind][1]: block.text}
    return {**done, "logprobs": []} if block.kind == "text" else done

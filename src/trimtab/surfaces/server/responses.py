"""OpenAI's responses dialect on our side of the wire: a body in. What goes out is in `responses_out`.

    instructions, input     chat messages: calls join the assistant's turn, their outputs are messages of their own
    tools, tool_choice      `responses_tools`
    text, reasoning         `response_format`, `verbosity`, `reasoning_effort`
    max_output_tokens       `max_completion_tokens`

Nothing is kept of a response, so what refers to an earlier one is refused as `unsupported`, as is all that would change
an answer and can't be honoured. `store` is taken whatever it says, since clients send it without being asked; that
nothing was stored stands in the answer. Passed over: hints to a cache, earlier reasoning, metadata.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.core.errors import Refusal
from trimtab.core.images import PART
from trimtab.core.request import CALL_PARTS, Body, Message
from trimtab.surfaces.server import fields, translate
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.responses_tools import SEARCH, Tools, chosen, executed_here, known_as
from trimtab.surfaces.server.translate import unsupported

_HARMLESS = frozenset(
    {
        "client_metadata",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
    }
)
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
)
"""What an answer repeats of its request."""
_ITEM_HARMLESS = frozenset({"id", "status", "phase"})
_CALLS = {"function_call": CALL_PARTS[0], "custom_tool_call": CALL_PARTS[1]}
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_TEXTS = frozenset({"input_text", "output_text", "text"})
_encode = msgspec.json.Encoder().encode
_INCLUDED = frozenset({"reasoning.encrypted_content"})
"""May be asked for: reasoning comes in clear, so there is nothing encrypted to include."""


class Echo(msgspec.Struct):
    """What an answer repeats of its request, field by field as it was sent."""

    said: dict[str, Any] = msgspec.field(default_factory=dict)
    tools: Tools = msgspec.field(default_factory=Tools)


def parse(data: bytes, echo: Echo | None = None) -> Body | Refusal:
    """A responses body as chat. `echo` is told what the answer's writer repeats."""
    return fields.read(data, lambda raw, size: _body(raw, size, echo or Echo()))


def _body(raw: dict[str, Any], size: int, echo: Echo) -> Body:
    asked = fields.terms(raw)
    echo.said = {name: raw[name] for name in _ECHOED if raw.get(name) is not None}
    messages = _input(raw.pop("input", None), echo.tools)
    if (instructions := fields.text(raw.pop("instructions", None), "instructions", 1 << 31)) is not None:
        messages.insert(0, {"role": "system", "content": instructions})
    extra: dict[str, Any] = {}
    if (top_p := fields.number(raw.pop("top_p", None), "top_p", 0, 1)) is not None:
        extra["top_p"] = top_p
    parallel = raw.pop("parallel_tool_calls", None)
    if tools := echo.tools.declared(raw.pop("tools", None)):
        extra["tools"] = tools
        if parallel is not None:
            extra["parallel_tool_calls"] = fields.flag(parallel, "parallel_tool_calls")
    extra |= translate.chosen(chosen(raw.pop("tool_choice", None)), tools)
    extra |= _text(raw.pop("text", None))
    extra |= _reasoning(raw.pop("reasoning", None))
    stream = fields.flag(raw.pop("stream", None), "stream")
    _refused(raw)
    body = Body(
        kind="chat",
        model=fields.text(raw.pop("model", None), "model", 256),
        messages=translate.joined(messages),
        stream=stream,
        include_usage=True,  # every answer of this dialect tells it
        max_tokens=fields.whole(raw.pop("max_output_tokens", None), "max_output_tokens", 1 << 31),
        cap_field="max_completion_tokens",
        n=1,
        temperature=fields.number(raw.pop("temperature", None), "temperature", 0, 2),
        extra=extra,
        asked=asked,
        user=fields.text(raw.pop("user", None), "user", 4096),
        size=size,
    )
    translate.nothing_left(raw, harmless=_HARMLESS)
    return body


def _refused(raw: dict[str, Any]) -> None:
    """Take out what says no more than is so anyway; refuse what leans on a state that is not here."""
    for name in ("previous_response_id", "conversation"):
        if raw.get(name) is not None:
            raise unsupported(name, "is not supported: nothing is stored here; send the whole conversation as input")
    if fields.flag(raw.pop("background", None), "background"):
        raise unsupported("background", "is not supported: the answer comes on this connection")
    translate.one_of(raw.get("truncation"), "truncation", ("auto", "disabled"))
    if raw.pop("truncation", None) == "auto":
        raise unsupported("truncation", "is not supported: the contract says how a prompt is cut")
    for one in translate.a_list(raw.pop("include", None) or [], "include"):
        if one not in _INCLUDED:
            raise unsupported("include", f"of {str(one)[:64]!r} is not supported")
    if raw.pop("service_tier", None) not in (None, "auto", "default"):
        raise unsupported("service_tier", "is not supported: the contract's priority decides")
    if raw.get("top_logprobs") == 0:
        del raw["top_logprobs"]
    options = raw.pop("stream_options", None)
    if options is not None:
        left = translate.an_object(options, "stream_options")
        translate.nothing_left(left, "stream_options.", {"include_obfuscation"})  # nothing is padded here


# --- input ----------------------------------------------------------------------------------------------------------


def _input(value: Any, tools: Tools) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    found: list[Message] = []
    for index, given in enumerate(translate.a_list(value, "input")):
        where = f"input[{index}]"
        item = translate.an_object(given, where)
        kind = item.pop("type", "message")
        if kind == "message":
            found.append(_message(item, where))
        elif kind in _CALLS:
            found.append(_call(item, kind, where))
        elif kind in _OUTPUTS:
            found.append(_output(item, where))
        elif kind == "tool_search_call":
            found.append(_search(item, where))
        elif kind == "tool_search_output":
            found.append(_found(item, tools, where))
        elif kind != "reasoning":  # earlier reasoning is passed over
            raise unsupported(where, f"is an item of type {str(kind)[:64]!r}, which is not supported")
    if not found:
        raise InvalidError("input", "takes a text, or a list with at least one item")
    return found


def _message(item: dict[str, Any], where: str) -> Message:
    role = translate.one_of(item.pop("role", None), f"{where}.role", ("user", "assistant", "system", "developer"))
    if role is None:
        raise InvalidError(f"{where}.role", "is required")
    parts = _parts(item.pop("content", None), f"{where}.content")
    translate.nothing_left(item, f"{where}.", _ITEM_HARMLESS)
    if role in ("system", "developer"):  # one kind of turn to the models that are asked here
        return {"role": "system", "content": _only_text(parts, f"{where}.content")}
    return {"role": role, "content": translate.content(parts)}


def _call(item: dict[str, Any], item_kind: str, where: str) -> Message:
    kind, field = _CALLS[item_kind]
    said = translate.a_text(item.pop(field, None), f"{where}.{field}")
    name = known_as(item, where)
    call = translate.call(item.pop("call_id", None), name, said, where, kind)
    translate.nothing_left(item, f"{where}.", _ITEM_HARMLESS)
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _search(item: dict[str, Any], where: str) -> Message:
    """A search for tools, which is a function of the caller's to the model."""
    arguments = _encode(translate.an_object(item.pop("arguments", None) or {}, f"{where}.arguments")).decode()
    call = translate.call(item.pop("call_id", None), SEARCH, arguments, where)
    executed_here(item.pop("execution", None), where)
    translate.nothing_left(item, f"{where}.", _ITEM_HARMLESS)
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _found(item: dict[str, Any], tools: Tools, where: str) -> Message:
    """What it found: the model may call these from now on, and is told what they are."""
    call_id = translate.a_name(item.pop("call_id", None), f"{where}.call_id")
    executed_here(item.pop("execution", None), where)
    told = tools.loaded(item.pop("tools", None), f"{where}.tools")
    translate.nothing_left(item, f"{where}.", _ITEM_HARMLESS)
    return {"role": "tool", "tool_call_id": call_id, "content": told}


def _output(item: dict[str, Any], where: str) -> Message:
    call_id = translate.a_name(item.pop("call_id", None), f"{where}.call_id")
    parts = _parts(item.pop("output", None), f"{where}.output")
    translate.nothing_left(item, f"{where}.", _ITEM_HARMLESS)
    return {"role": "tool", "tool_call_id": call_id, "content": translate.content(parts)}


def _parts(value: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    places = [(one, f"{where}[{index}]") for index, one in enumerate(translate.a_list(value, where))]
    return [_part(translate.an_object(one, at), at) for one, at in places]


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": translate.a_text(part.get("text"), f"{where}.text")}
    if kind == "refusal":
        return {"type": "text", "text": translate.a_text(part.get("refusal"), f"{where}.refusal")}
    if kind == "input_image":
        if part.get("image_url") is None:
            raise unsupported(where, "is not supported: send the image as a data: address in image_url")
        shown = {"url": fields.image(part["image_url"], f"{where}.image_url")}
        detail = translate.one_of(part.get("detail"), f"{where}.detail", ("low", "high", "auto", "original"))
        return {"type": PART, PART: shown if detail is None else {**shown, "detail": detail}}
    if not isinstance(kind, str):
        raise InvalidError(f"{where}.type", "takes a text")
    raise unsupported(where, f"is a part of type {kind[:64]!r}, which is not supported")


def _only_text(parts: list[dict[str, Any]], where: str) -> str:
    for index, part in enumerate(parts):
        if part["type"] != "text":
            raise InvalidError(f"{where}[{index}]", "must be text")
    return "\n\n".join(part["text"] for part in parts)


# --- options --------------------------------------------------------------------------------------------------------


def _text(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    config = translate.an_object(value, "text")
    found: dict[str, Any] = {}
    form = translate.an_object(config.pop("format", None) or {"type": "text"}, "text.format")
    kind = translate.one_of(form.get("type"), "text.format.type", ("text", "json_schema", "json_object"))
    if kind == "json_schema":
        about = (form.get("name"), form.get("strict"), form.get("description"))
        found["response_format"] = translate.schema_format(form.get("schema"), "text.format", *about)
    elif kind == "json_object":
        found["response_format"] = {"type": "json_object"}
    if verbosity := translate.one_of(config.pop("verbosity", None), "text.verbosity", ("low", "medium", "high")):
        found["verbosity"] = verbosity
    translate.nothing_left(config, "text.")
    return found


def _reasoning(value: Any) -> dict[str, Any]:
    """An effort. Summaries may be asked for: reasoning comes as the model wrote it, which nobody sums up."""
    if value is None:
        return {}
    config = translate.an_object(value, "reasoning")
    effort = translate.one_of(config.pop("effort", None), "reasoning.effort", translate.EFFORTS)
    for name in ("summary", "generate_summary"):
        translate.one_of(config.pop(name, None), f"reasoning.{name}", ("auto", "concise", "detailed", "none"))
    translate.nothing_left(config, "reasoning.")
    return {} if effort is None else {"reasoning_effort": effort}

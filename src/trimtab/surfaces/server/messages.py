"""Anthropic's messages dialect on our side of the wire: a body in. What goes out is in `messages_out`.

    system, messages        chat messages: tool results are messages of their own, before what the user says with them
    tools, tool_choice      functions; tools that a provider runs, or whose schema only it knows, are refused
    thinking, output_config `reasoning_effort` and `response_format`
    stop_sequences, top_p   `stop`, `top_p`

Refused as `unsupported`: all that would change an answer and can't be honoured. Passed over: `cache_control` (engines
find prefixes themselves), earlier thoughts (a provider drops them, too), metadata.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.core.errors import Code, Refusal
from trimtab.core.request import Body, Message
from trimtab.surfaces.server import fields, translate
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.translate import unsupported

_HARMLESS = frozenset({"cache_control", "diagnostics", "service_tier"})
_TOOL_HARMLESS = frozenset({"cache_control", "eager_input_streaming"})
_BLOCK_HARMLESS = frozenset({"cache_control", "citations"})
"""`citations` of a text are where an earlier answer had it from."""
_DROPPED = frozenset({"thinking", "redacted_thinking"})
_BUDGETS = ((4096, "low"), (16384, "medium"))
"""Thinking budgets in tokens up to which an effort is meant; above: high."""
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_ERROR = "Error: "
_object = translate.an_object
_encode = msgspec.json.Encoder().encode


class Shown(msgspec.Struct):
    """What a body says of how its answer is written."""

    thoughts: bool = True
    """False: `thinking.display` is `omitted`."""


def parse(data: bytes, shown: Shown | None = None) -> Body | Refusal:
    """A messages body as chat. `shown` is told what only the answer's writer needs."""
    return fields.read(data, lambda raw, size: _body(raw, size, shown or Shown(), counted=False))


def parse_counted(data: bytes) -> Body | Refusal:
    """A body of which only the tokens are wanted: no cap is needed."""
    return fields.read(data, lambda raw, size: _body(raw, size, Shown(), counted=True))


def _body(raw: dict[str, Any], size: int, shown: Shown, *, counted: bool) -> Body:
    asked = fields.terms(raw)
    messages = translate.joined([*_system(raw.pop("system", None)), *_messages(raw.pop("messages", None))])
    extra: dict[str, Any] = {}
    max_tokens = fields.whole(raw.pop("max_tokens", None), "max_tokens", 1 << 31)
    if max_tokens is None and not counted:
        raise InvalidError("max_tokens", "is required")
    stream = fields.flag(raw.pop("stream", None), "stream")
    if stop := translate.a_list(raw.pop("stop_sequences", None) or [], "stop_sequences", 64):
        extra["stop"] = [translate.a_text(one, "stop_sequences") for one in stop]
    if (top_p := fields.number(raw.pop("top_p", None), "top_p", 0, 1)) is not None:
        extra["top_p"] = top_p
    if (top_k := fields.whole(raw.pop("top_k", None), "top_k", 1 << 31)) is not None:
        extra["top_k"] = top_k
    tools = _tools(raw.pop("tools", None))
    if tools:
        extra["tools"] = tools
    extra |= _tool_choice(raw.pop("tool_choice", None), tools)
    extra |= _thinking(raw.pop("thinking", None), shown)
    extra |= _output(raw.pop("output_config", None), raw.pop("output_format", None))
    _context(raw.pop("context_management", None))
    body = Body(
        kind="chat",
        model=fields.text(raw.pop("model", None), "model", 256),
        messages=messages,
        stream=stream,
        include_usage=True,  # every answer of this dialect tells it
        max_tokens=max_tokens,
        n=1,
        temperature=fields.number(raw.pop("temperature", None), "temperature", 0, 1),
        extra=extra,
        asked=asked,
        user=_user(raw.pop("metadata", None)),
        size=size,
    )
    translate.nothing_left(raw, harmless=_HARMLESS)
    return body


def _user(metadata: Any) -> str | None:
    if metadata is None:
        return None
    return fields.text(_object(metadata, "metadata").get("user_id"), "metadata.user_id", 4096)


# --- messages -------------------------------------------------------------------------------------------------------


def _system(value: Any) -> list[Message]:
    if value is None or value == [] or value == "":
        return []
    return [{"role": "system", "content": _plain(value, "system")}]


def _plain(value: Any, where: str) -> str:
    """Text blocks as one text."""
    parts = _texts(value, where)
    for index, part in enumerate(parts):
        if part["type"] != "text":
            raise InvalidError(f"{where}[{index}]", "must be text")
    return "\n\n".join(part["text"] for part in parts)


def _messages(value: Any) -> list[Message]:
    turns = translate.a_list(value, "messages")
    if not turns:
        raise InvalidError("messages", "takes a list with at least one message")
    found: list[Message] = []
    for index, given in enumerate(turns):
        where = f"messages[{index}]"
        turn = _object(given, where)
        role = translate.one_of(turn.pop("role", None), f"{where}.role", ("user", "assistant", "system"))
        content = turn.pop("content", None)
        translate.nothing_left(turn, f"{where}.")
        if role == "user":
            found += _user_turn(content, f"{where}.content")
        elif role == "assistant":
            found += _assistant_turn(content, f"{where}.content")
        elif role == "system":
            found.append({"role": "system", "content": _plain(content, f"{where}.content")})
        else:
            raise InvalidError(f"{where}.role", "is required")
    return found


def _user_turn(content: Any, where: str) -> list[Message]:
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    results: list[Message] = []
    said: list[dict[str, Any]] = []
    for index, given in enumerate(translate.a_list(content, where)):
        at = f"{where}[{index}]"
        block = _object(given, at)
        if block.get("type") == "tool_result":
            results.append(_result(block, at))
        else:
            said.append(_part(block, at))
    if said:
        results.append({"role": "user", "content": translate.content(said)})
    if not results:
        raise InvalidError(where, "takes at least one block")
    return results


def _result(block: dict[str, Any], where: str) -> Message:
    content = block.get("content")
    parts = [] if content is None else _texts(content, f"{where}.content")
    if fields.flag(block.get("is_error"), f"{where}.is_error"):  # chat has no field for it
        parts.insert(0, {"type": "text", "text": _ERROR})
    if all(part["type"] == "text" for part in parts):
        parts = [{"type": "text", "text": "".join(part["text"] for part in parts)}]
    call_id = translate.a_name(block.get("tool_use_id"), f"{where}.tool_use_id")
    return {"role": "tool", "tool_call_id": call_id, "content": translate.content(parts)}


def _assistant_turn(content: Any, where: str) -> list[Message]:
    if isinstance(content, str):
        return [{"role": "assistant", "content": content}]
    texts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for index, given in enumerate(translate.a_list(content, where)):
        at = f"{where}[{index}]"
        block = _object(given, at)
        kind = block.get("type")
        if kind == "tool_use":
            arguments = _encode(_object(block.get("input", {}), f"{at}.input")).decode()
            calls.append(translate.call(block.get("id"), block.get("name"), arguments, at))
        elif kind not in _DROPPED:
            texts.append(_part(block, at))
    if not texts and not calls:
        return []  # a turn of thoughts alone
    message: Message = {"role": "assistant", "content": translate.content(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    return [message]


def _texts(value: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    places = [(one, f"{where}[{index}]") for index, one in enumerate(translate.a_list(value, where))]
    return [_part(_object(one, at), at) for one, at in places]


def _part(block: dict[str, Any], where: str) -> dict[str, Any]:
    """A block of text or an image as a part of a chat message."""
    kind = block.pop("type", None)
    if kind == "text":
        text = translate.a_text(block.pop("text", None), f"{where}.text")
        translate.nothing_left(block, f"{where}.", _BLOCK_HARMLESS)
        return {"type": "text", "text": text}
    if kind == "image":
        address = _image(_object(block.get("source"), f"{where}.source"), where)
        return {"type": "image_url", "image_url": {"url": address}}
    if not isinstance(kind, str):
        raise InvalidError(f"{where}.type", "takes a text")
    raise unsupported(where, f"is a block of type {kind[:64]!r}, which is not supported")


def _image(source: dict[str, Any], where: str) -> str:
    if source.get("type") == "base64":
        kind = translate.a_text(source.get("media_type"), f"{where}.source.media_type")
        data = translate.a_text(source.get("data"), f"{where}.source.data")
        return fields.image(f"data:{kind};base64,{data}", f"{where}.source")
    if source.get("type") == "url":
        raise InvalidError(f"{where}.source.url", "is an address to fetch from", Code.FIELD_NOT_ALLOWED)
    raise unsupported(f"{where}.source", "is not supported: send type: base64")


# --- options --------------------------------------------------------------------------------------------------------


def _tools(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    found = []
    for index, given in enumerate(translate.a_list(value, "tools", 1024)):
        where = f"tools[{index}]"
        tool = _object(given, where)
        kind = tool.pop("type", None)
        if kind not in (None, "custom"):
            raise unsupported(where, f"is of type {str(kind)[:64]!r}: only tools with an input_schema are supported")
        name = translate.a_name(tool.pop("name", None), f"{where}.name")
        schema = _object(tool.pop("input_schema", None), f"{where}.input_schema")
        found.append(
            translate.function(name, tool.pop("description", None), schema, tool.pop("strict", None), where),
        )
        if tool.get("defer_loading") is False:
            del tool["defer_loading"]
        if tool.get("allowed_callers") == ["direct"]:
            del tool["allowed_callers"]
        translate.nothing_left(tool, f"{where}.", _TOOL_HARMLESS)
    return found


def _tool_choice(value: Any, tools: list[dict[str, Any]]) -> dict[str, Any]:
    if value is None:
        return {}
    choice = _object(value, "tool_choice")
    kind = translate.one_of(choice.pop("type", None), "tool_choice.type", (*_CHOICES, "tool"))
    said: Any = None if kind is None else _CHOICES.get(kind)
    if kind == "tool":
        name = translate.a_name(choice.pop("name", None), "tool_choice.name")
        said = {"type": "function", "function": {"name": name}}
    found = translate.chosen(said, tools)
    if fields.flag(choice.pop("disable_parallel_tool_use", None), "tool_choice.disable_parallel_tool_use") and tools:
        found["parallel_tool_calls"] = False
    translate.nothing_left(choice, "tool_choice.")
    return found


def _thinking(value: Any, shown: Shown) -> dict[str, Any]:
    """`adaptive` and `disabled` leave it to the model, as no word of it does; a budget becomes an effort."""
    if value is None:
        return {}
    thinking = _object(value, "thinking")
    kind = translate.one_of(thinking.pop("type", None), "thinking.type", ("enabled", "adaptive", "disabled"))
    display = translate.one_of(thinking.pop("display", None), "thinking.display", ("summarized", "omitted"))
    shown.thoughts = display != "omitted"
    budget = fields.whole(thinking.pop("budget_tokens", None), "thinking.budget_tokens", 1 << 31)
    translate.nothing_left(thinking, "thinking.")
    if kind != "enabled":
        return {}
    if budget is None:
        raise InvalidError("thinking.budget_tokens", "is required")
    return {"reasoning_effort": next((effort for most, effort in _BUDGETS if budget <= most), "high")}


def _output(config: Any, older: Any) -> dict[str, Any]:
    """`output_config`, and the format by its name of before."""
    given = {} if config is None else _object(config, "output_config")
    found: dict[str, Any] = {}
    if effort := translate.one_of(given.pop("effort", None), "output_config.effort", translate.EFFORTS):
        found["reasoning_effort"] = effort
    form = given.pop("format", None)
    if form is None:
        form = older
    if form is not None:
        form = _object(form, "output_config.format")
        if form.get("type") != "json_schema":
            raise InvalidError("output_config.format.type", "takes json_schema")
        found["response_format"] = translate.schema_format(form.get("schema"), "output_config.format")
    translate.nothing_left(given, "output_config.")
    return found


def _context(value: Any) -> None:
    """Only what is so already may be asked for: earlier thoughts are dropped."""
    if value is None:
        return
    context = _object(value, "context_management")
    for index, given in enumerate(translate.a_list(context.pop("edits", []), "context_management.edits")):
        where = f"context_management.edits[{index}]"
        if not str(_object(given, where).get("type")).startswith("clear_thinking_"):
            raise unsupported(where, "is not supported: the contract says how a prompt is cut")
    translate.nothing_left(context, "context_management.")

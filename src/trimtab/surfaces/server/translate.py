"""What the parsers of other dialects share: they read a body whole, so that nothing in it is passed over in silence.

A field is taken out of the body by who understands it. What is left is refused as `unsupported`, unless it is null.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from trimtab.core.errors import Code
from trimtab.core.request import CALL_PARTS, Message
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.openai import MOST_MESSAGES

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""How hard a model is to think, as OpenAI's `reasoning_effort` says it and upstreams know it."""


def unsupported(param: str, why: str) -> InvalidError:
    """What to raise where a field is right and can't be honoured here."""
    return InvalidError(param, why, Code.UNSUPPORTED)


def nothing_left(raw: dict[str, Any], where: str = "", harmless: Collection[str] = ()) -> None:
    """Raises InvalidError for a field that nobody took; `harmless` ones change no answer."""
    for name, value in raw.items():
        if value is not None and name not in harmless:
            raise unsupported(f"{where}{name[:64]}", "is not supported on this route")


def one_of(value: Any, param: str, known: Collection[str]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in known:
        raise InvalidError(param, f"takes one of {', '.join(known)}")
    return value


def an_object(value: Any, param: str) -> dict[str, Any]:
    """A copy, so that its fields can be taken out."""
    if not isinstance(value, dict):
        raise InvalidError(param, "must be an object")
    return dict(value)


def a_list(value: Any, param: str, most: int = MOST_MESSAGES) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidError(param, "takes a list")
    if len(value) > most:
        raise InvalidError(param, f"takes at most {most} entries")
    return value


def a_text(value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise InvalidError(param, "takes a text")
    return value


def a_name(value: Any, param: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        raise InvalidError(param, "takes a text of 1 to 256 characters")
    return value


def function(name: str, description: Any, parameters: Any, strict: Any, where: str) -> dict[str, Any]:
    """A tool as OpenAI's chat declares it."""
    declared: dict[str, Any] = {"name": name}
    if description is not None:
        declared["description"] = a_text(description, f"{where}.description")
    if parameters is not None:
        declared["parameters"] = an_object(parameters, f"{where}.parameters")
    if strict is not None:
        if not isinstance(strict, bool):
            raise InvalidError(f"{where}.strict", "takes true or false")
        declared["strict"] = strict
    return {"type": "function", "function": declared}


def custom(name: str, description: Any, form: Any, where: str) -> dict[str, Any]:
    """A tool whose input is free text, or text by a grammar, as OpenAI's chat declares it."""
    declared: dict[str, Any] = {"name": name}
    if description is not None:
        declared["description"] = a_text(description, f"{where}.description")
    if form is not None:
        said = an_object(form, f"{where}.format")
        kind = one_of(said.pop("type", None) or "text", f"{where}.format.type", ("text", "grammar"))
        declared["format"] = {"type": kind}
        if kind == "grammar":
            declared["format"]["grammar"] = {
                "syntax": one_of(said.pop("syntax", None) or "lark", f"{where}.format.syntax", ("lark", "regex")),
                "definition": a_text(said.pop("definition", None), f"{where}.format.definition"),
            }
        nothing_left(said, f"{where}.format.")
    return {"type": "custom", "custom": declared}


def schema_format(schema: Any, where: str, name: Any = None, strict: Any = True, description: Any = None) -> Any:
    """`response_format` for an answer that follows this JSON schema."""
    said: dict[str, Any] = {"name": "answer" if name is None else a_name(name, f"{where}.name")}
    if description is not None:
        said["description"] = a_text(description, f"{where}.description")
    said["schema"] = an_object(schema, f"{where}.schema")
    if strict is not None:
        said["strict"] = bool(strict)
    return {"type": "json_schema", "json_schema": said}


def chosen(choice: Any, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """`tool_choice` as chat says it: a choice among no tools says nothing, and can't demand one."""
    if tools or choice is None:
        return {} if choice is None else {"tool_choice": choice}
    if choice not in ("auto", "none"):
        raise InvalidError("tool_choice", "demands a tool, and tools has none")
    return {}


def call(call_id: Any, name: Any, said: str, where: str, kind: str = "function") -> dict[str, Any]:
    """A call that the model made earlier. `kind`: one of CALL_PARTS."""
    made = {"name": a_name(name, f"{where}.name"), dict(CALL_PARTS)[kind]: said}
    return {"id": a_name(call_id, f"{where}.id"), "type": kind, kind: made}


def content(texts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Parts as a message's content: a single text as what it is."""
    if len(texts) == 1 and texts[0]["type"] == "text":
        return str(texts[0]["text"])
    return texts


def joined(messages: list[Message]) -> tuple[Message, ...]:
    """The same with neighbours joined that OpenAI's chat says in one: system texts (many models' templates take one
    only), and an assistant's text and calls."""
    whole: list[Message] = []
    for message in messages:
        last = whole[-1] if whole else None
        if last is None or last["role"] != message["role"] or message["role"] not in ("system", "assistant"):
            whole.append(message)
        elif message["role"] == "system":
            whole[-1] = {**last, "content": f"{last['content']}\n\n{message['content']}"}
        elif "tool_calls" not in last or message.get("content") is None:
            whole[-1] = _together(last, message)
        else:
            whole.append(message)
    return tuple(whole)


def _together(one: Message, other: Message) -> Message:
    message = {**one, **{name: value for name, value in other.items() if value is not None}}
    texts = [text for text in (one.get("content"), other.get("content")) if text is not None]
    if len(texts) == 2:
        message["content"] = [part for text in texts for part in _parts(text)]
    if calls := [*(one.get("tool_calls") or ()), *(other.get("tool_calls") or ())]:
        message["tool_calls"] = calls
    return message


def _parts(text: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if isinstance(text, str) else list(text)

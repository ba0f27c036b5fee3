"""What a dialect is: a request in a provider's words, and its events as chunks of OpenAI's chat, which is the common
tongue of the house. OpenAI's own (and llama.cpp's, vLLM's, SGLang's, Azure's) needs no translation: see `..dialect`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.images import PART, Image, address_of
from trimtab.core.request import CALL_PARTS, Body, Message
from trimtab.dataplane.inference.dialer import MalformedAnswer

HARMLESS = frozenset({"user", "metadata", "store", "stream_options", "service_tier", "parallel_tool_calls"})
"""Fields that change nothing of the answer where a provider has no word for them; the last one is looked at apart."""
_NEUTRAL = {
    "presence_penalty": (0, None),
    "frequency_penalty": (0, None),
    "logprobs": (False, None),
    "top_logprobs": (0, None),
    "logit_bias": ({}, None),
    "seed": (None,),
    "stop": (None, []),
    "top_p": (None,),
    "tools": (None, []),
    "tool_choice": (None,),
    "response_format": (None, {"type": "text"}),
    "reasoning_effort": (None,),
    "modalities": (None, ["text"]),
}
"""Values that say nothing."""
_SAID_IN = dict(CALL_PARTS)


class Reader(Protocol):
    """One answer's events, in order."""

    ended: bool
    """The provider has said that this was all."""

    def read(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunks that this event makes: OpenAI's shape, usage in a chunk of its own. Raises AttemptFailed for an
        error that the provider tells in its stream, MalformedAnswer for what it could not have meant."""
        ...


class Wire(Protocol):
    """See the module."""

    content_type: str
    """Of its streams."""

    def unfit(self, body: Body) -> str | None:
        """What of a request this provider has no words for; None: it can be asked."""
        ...

    def encode(self, plan: Plan, messages: Sequence[Message], body: Body) -> bytes:
        """The request of one attempt, streamed."""
        ...

    def path(self, base: str, name: str) -> str:
        """Where it is sent: below the endpoint's path, for the provider's name of the model."""
        ...

    def headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        """The credential, and what else each request carries."""
        ...

    def reader(self, plan: Plan) -> Reader: ...


def unsaid(body: Body, said: frozenset[str]) -> str | None:
    """The first field of a request that is not among those a dialect can say, and that would change the answer."""
    if body.n > 1 and "n" not in said:
        return "n"
    for name, value in body.extra.items():
        if name in said or name in HARMLESS or value in _NEUTRAL.get(name, ()):
            continue
        return name
    return None


def texts(content: Any) -> list[str]:
    """The texts of a message's content: a text, a list of parts, or nothing."""
    if isinstance(content, str):
        return [content] if content else []
    parts = content if isinstance(content, list) else []
    return [str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text")]


def pieces(message: Message, images: Mapping[str, Image]) -> list[str | Image]:
    """Texts and images of a message's content, in order; empty texts are left out."""
    content = message.get("content")
    if not isinstance(content, list):
        return list(texts(content))
    found: list[str | Image] = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == PART:
            shown = part[PART]
            detail = shown.get("detail") if isinstance(shown, dict) else None
            found.append(msgspec.structs.replace(images[address_of(part)], detail=detail))
        else:
            found += texts([part])
    return found


def joined(said: Sequence[str | Image]) -> str:
    """The texts of a tool's result as one."""
    return "\n".join(one for one in said if isinstance(one, str))


def shown(said: Sequence[str | Image]) -> list[Image]:
    return [one for one in said if isinstance(one, Image)]


def system_of(plan: Plan, messages: Sequence[Message]) -> list[str]:
    """What instructs the model: the variant's prompt, then system and developer messages, in order."""
    instructs = [message for message in messages if message["role"] in ("system", "developer")]
    told = [text for message in instructs for text in texts(message.get("content"))]
    return [plan.variant.system, *told] if plan.variant.system else told


def turns(messages: Sequence[Message]) -> list[Message]:
    """The conversation without its instructions."""
    return [message for message in messages if message["role"] not in ("system", "developer")]


def alternating(
    turns: Sequence[Message],
    parts: Callable[[Message], list[dict[str, Any]]],
    *,
    own: str = "assistant",
    into: str = "content",
) -> list[dict[str, Any]]:
    """Roles in turn, as providers want them: what follows under the same role is one message of several parts. `own`:
    the model's role, everybody else is the user; `into`: the field of the parts."""
    found: list[dict[str, Any]] = []
    for message in turns:
        role = own if message["role"] == "assistant" else "user"
        if found and found[-1]["role"] == role:
            found[-1][into] += parts(message)
        elif blocks := parts(message):
            found.append({"role": role, into: blocks})
    return found


def arguments(call: Mapping[str, Any]) -> Any:
    """A tool call's arguments as a value; an object in any case."""
    try:
        value = msgspec.json.decode(str(call.get("arguments") or "{}"))
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def calls(message: Message) -> list[tuple[str, str, Any]]:
    """Tool calls of an assistant's message: id, name, arguments."""
    found = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        found.append((str(call.get("id") or ""), str(function.get("name") or ""), arguments(function)))
    return found


def functions(body: Body) -> list[dict[str, Any]]:
    """Declared functions: name, description, parameters."""
    return [tool["function"] for tool in body.extra.get("tools") or () if isinstance(tool.get("function"), dict)]


def chosen(body: Body) -> str | None:
    """`auto`, `none`, `required`, or `function:NAME`; None: not said."""
    choice = body.extra.get("tool_choice")
    if isinstance(choice, dict):
        return f"function:{(choice.get('function') or {}).get('name')}"
    return choice if isinstance(choice, str) else None


def stops(body: Body) -> list[str]:
    stop = body.extra.get("stop")
    return [stop] if isinstance(stop, str) else list(stop or ())


def schema(body: Body) -> tuple[bool, Any]:
    """Whether JSON is asked for, and its schema if there is one."""
    told = body.extra.get("response_format") or {}
    kind = told.get("type") if isinstance(told, dict) else None
    if kind == "json_schema":
        return True, (told.get("json_schema") or {}).get("schema")
    return kind == "json_object", None


def decided(request: dict[str, Any], engine: Mapping[str, Any], **own: Any) -> bytes:
    """The request's bytes: the variant's engine options over what the caller said, and what the plan decides over both
    (caps, prompt, model), whatever an option says."""
    return encode(merged(merged(request, engine), own))


def merged(request: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields written into a request, objects into objects."""
    for name, value in fields.items():
        own = request.get(name)
        request[name] = merged(dict(own), value) if isinstance(own, dict) and isinstance(value, dict) else value
    return request


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def tool_delta(
    index: int, *, call: str | None = None, name: str | None = None, said: str = "", kind: str = "function"
) -> dict[str, Any]:
    """A piece of a tool call; its beginning names it. `kind`: one of CALL_PARTS."""
    part: dict[str, Any] = {_SAID_IN[kind]: said} if name is None else {"name": name, _SAID_IN[kind]: said}
    told: dict[str, Any] = {"index": index, kind: part}
    return chunk({"tool_calls": [told if name is None else {**told, "id": call, "type": kind}]})


def usage_chunk(
    prompt: int | None,
    completion: int | None,
    *,
    cached: int | None = None,
    written: int | None = None,
    written_1h: int | None = None,
    reasoning: int | None = None,
    audio_in: int | None = None,
    audio_cached: int | None = None,
    audio_out: int | None = None,
) -> dict[str, Any]:
    """Usage in OpenAI's words: `prompt` and `completion` are totals, the others parts of them; None: not told."""
    told: dict[str, Any] = {}
    if prompt is not None:
        told["prompt_tokens"] = prompt
    if completion is not None:
        told["completion_tokens"] = completion
    read: dict[str, Any] = {
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": written_1h,
        "audio_tokens": audio_in,
        "cached_tokens_details": None if audio_cached is None else {"audio_tokens": audio_cached},
    }
    said = {"reasoning_tokens": reasoning, "audio_tokens": audio_out}
    for name, parts in (("prompt_tokens_details", read), ("completion_tokens_details", said)):
        if known := {part: value for part, value in parts.items() if value is not None}:
            told[name] = known
    return {"choices": [], "usage": told}


def whole(value: Any) -> int | None:
    """A count, as far as it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def part(value: Any, name: str) -> dict[str, Any]:
    """A member that is an object; an empty one where it is absent. Raises MalformedAnswer for anything else."""
    found = value.get(name) if isinstance(value, dict) else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedAnswer(f"{name} is no object")
    return found


encode = msgspec.json.Encoder().encode

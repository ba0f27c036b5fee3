"""OpenAI's chat dialect on our side of the wire: a body in, chunks and errors out.

The way in of a request: `chat_completions` here, `pipeline.answer`, a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from trimtab.core import images
from trimtab.core.errors import Code, Refusal
from trimtab.core.request import Body, Chunk, Completion, Head, Request, Text
from trimtab.dataplane.inference import NOT_ALLOWED
from trimtab.dataplane.ingress import authenticate, channel_of, sendable
from trimtab.dataplane.pipeline import answer
from trimtab.dataplane.plane import DataPlane, Headers
from trimtab.foundations.config import did_you_mean
from trimtab.surfaces.server import fields
from trimtab.surfaces.server.errors import error_object
from trimtab.surfaces.server.exchange import HttpError, HttpReply, HttpRequest
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.reply import DialectReply, json_of, send_refusal

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
MOST_CHOICES = 128
MOST_MESSAGES = 20_000
_encode = msgspec.json.Encoder().encode
_FORBIDDEN = frozenset().union(*NOT_ALLOWED.values())


async def chat_completions(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`POST /v1/chat/completions`."""
    await answer(request_of(http, parse), http.arrival, OpenAIReply(reply), plane)


def request_of(http: HttpRequest, parse: Callable[[bytes], Body | Refusal]) -> Request:
    """The head at once; the body is read and parsed when it is asked for."""

    async def read() -> Body | Refusal:
        try:
            data = await http.body()
        except HttpError as error:
            return Refusal(code=error.code, message=error.message, retry_after_s=error.retry_after_s)
        return parse(data)

    return Request(Head(http.method, http.path, http.headers), read)


async def models(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`GET /v1/models`: the names that this key may send as `model`, the embedder's for `/v1/embeddings` last;
    `GET /v1/models/NAME`: one of them."""
    configuration = plane.configuration
    head = Head(http.method, http.path, http.headers)
    entry = authenticate(head, http.arrival, configuration.snapshot.tenancy, plane.clock.wall_ns())
    if isinstance(entry, Refusal):
        send_error(reply, entry, [], None)
        return
    place = channel_of(http.headers.get("trimtab-channel"), entry)
    if isinstance(place, Refusal):
        send_error(reply, place, [], None)
        return
    names = list(dict.fromkeys([*sendable(configuration.catalogue, place[1]), plane.embedder.name]))
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "trimtab"} for name in names]
    wanted = http.path.removeprefix("/v1/models").removeprefix("/")
    if not wanted:
        send_json(reply, 200, {"object": "list", "data": rows})
        return
    found = next((row for row in rows if row["id"] == wanted), None)
    if found is None:
        message = f"there is no model {wanted[:128]!r}. {did_you_mean(wanted, names)}"
        missing = Refusal(code=Code.MODEL_NOT_FOUND, message=message, param="model")
        send_error(reply, missing, [], None)
    else:
        send_json(reply, 200, found)


_AFTER = (b'},"finish_reason":null}]}\n\n', b'},"logprobs":null,"finish_reason":null}]}\n\n')


class OpenAIReply(DialectReply):
    """In OpenAI's words."""

    def __init__(self, reply: HttpReply) -> None:
        super().__init__(reply)
        self._top: object = None
        self._index = -1
        self._before = b""
        """What stands before the content of a text event, for these two."""

    def _events(self, items: Sequence[Chunk | Text | Completion]) -> bytes:
        events: list[bytes] = []
        for item in items:
            if isinstance(item, Text):
                if item.top is not self._top or item.index != self._index:
                    self._top, self._index = item.top, item.index
                    fields = _encode(item.top)[:-1]
                    self._before = b'data: %b,"choices":[{"index":%d,"delta":{"content":' % (fields, item.index)
                events += (self._before, _encode(item.content), _AFTER[item.logprobs])
            else:
                events += (b"data: ", _encode(item.data), b"\n\n")
        return b"".join(events)

    def _last(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _answer(self, whole: Completion) -> bytes:
        return _encode(whole.data)

    def _refuse(self, refusal: Refusal, headers: Headers, record: str) -> None:
        send_error(self._reply, refusal, headers, record)

    def _broken(self, refusal: Refusal, record: str) -> bytes:
        return b"data: %b\n\n" % _encode(error_object(refusal, record))


def parse(data: bytes) -> Body | Refusal:
    """A chat body, checked as far as we use it; what we don't know goes through unchanged."""
    return fields.read(data, _body)


def _body(raw: dict[str, Any], size: int) -> Body:
    for name in _FORBIDDEN & raw.keys():
        raise InvalidError(name, "is not allowed: the contract and the gateway decide it", Code.FIELD_NOT_ALLOWED)
    messages = _messages(raw.pop("messages", None))
    asked = fields.terms(raw)
    cap_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_tokens = fields.whole(raw.pop("max_tokens", None), "max_tokens", 1 << 31)
    completion_tokens = fields.whole(raw.pop("max_completion_tokens", None), "max_completion_tokens", 1 << 31)
    if completion_tokens is not None:
        cap_field = "max_completion_tokens"
        max_tokens = completion_tokens if max_tokens is None else min(max_tokens, completion_tokens)
    stream = fields.flag(raw.pop("stream", None), "stream")
    options = raw.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidError("stream_options", "takes an object")
    if options is not None and not stream:
        raise InvalidError("stream_options", "is only for stream: true")
    return Body(
        kind="chat",
        model=fields.text(raw.pop("model", None), "model", 256),
        messages=messages,
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        max_tokens=max_tokens,
        cap_field=cap_field,
        n=fields.whole(raw.pop("n", None), "n", MOST_CHOICES) or 1,
        temperature=fields.number(raw.pop("temperature", None), "temperature", 0, 2),
        extra=raw,
        asked=asked,
        user=fields.text(raw.get("user"), "user", 4096),
        size=size,
    )


def _messages(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not value:
        raise InvalidError("messages", "takes a list with at least one message")
    if len(value) > MOST_MESSAGES:
        raise InvalidError("messages", f"takes at most {MOST_MESSAGES} messages")
    for index, message in enumerate(value):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidError(where, "must be an object")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise InvalidError(f"{where}.role", f"takes one of {', '.join(sorted(ROLES))}")
        _content(message.get("content"), f"{where}.content")
        calls = message.get("tool_calls")
        if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
            raise InvalidError(f"{where}.tool_calls", "takes a list of objects")
    return tuple(value)


def _content(value: Any, where: str) -> None:
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, list):
        raise InvalidError(where, "takes a text, a list of parts, or null")
    for index, part in enumerate(value):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidError(f"{where}[{index}]", "must be an object with a type")
        if images.PART in (part["type"], *part):
            fields.image(images.address_of(part), f"{where}[{index}].{images.PART}")
        if part["type"] in ("text", "input_text") and not isinstance(part.get("text"), str):
            raise InvalidError(f"{where}[{index}].text", "takes a text")


def send_error(reply: HttpReply, refusal: Refusal, headers: Headers, record: str | None) -> None:
    """A refusal as the whole answer; never waits."""
    send_refusal(reply, refusal, _encode(error_object(refusal, record)), headers)


def send_json(reply: HttpReply, status: int, value: Any) -> None:
    """A small JSON answer; never waits."""
    body = _encode(value)
    reply.start(status, json_of(body))
    reply.finish(body)

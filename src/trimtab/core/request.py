"""What comes in and what goes out, free of any dialect: OpenAI's chat shapes are the common tongue of the house."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from trimtab.core.contract import Asked
from trimtab.core.errors import Refusal
from trimtab.core.images import Image
from trimtab.core.money import Usage

Message: TypeAlias = dict[str, Any]
"""One chat message in OpenAI's shape. Treated as immutable: who changes one makes a new dict."""

Kind = Literal["chat", "embeddings"]

CALL_PARTS: Final = (("function", "arguments"), ("custom", "input"))
"""What a tool call says, by its type: arguments as JSON, or free text. The part is named as the type is."""


class Arrival(msgspec.Struct, frozen=True):
    """When the request reached us, on the clock of `now_ns`; `queued_ns` of it passed before our handler ran."""

    at_ns: int
    wall_ns: int
    queued_ns: int = 0
    loopback: bool = False


class Head(msgspec.Struct, frozen=True):
    """The request line and headers (names in lower case, repeated ones joined by a comma)."""

    method: str
    route: str
    headers: Mapping[str, str]


class EmbeddingTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a request for vectors asks beside its texts."""

    input_type: Literal["query", "passage"] = "query"
    """What the texts are to a search: its questions, or what is searched in."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or the bytes of little-endian float32."""
    dimensions: int | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed and validated body."""

    kind: Kind
    model: str | None
    messages: tuple[Message, ...]
    """Of an embedding request: its texts, each as a user's message, so that one guard and one bound serve both."""
    stream: bool
    include_usage: bool
    max_tokens: int | None
    """Of each choice."""
    cap_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name that the caller gave the cap, and its upstream knows it by."""
    n: int
    temperature: float | None
    extra: dict[str, Any]
    """Every other field of the body, unknown ones included, unchanged on its way to the upstream."""
    asked: Asked
    """Contract terms found in the body."""
    user: str | None
    size: int
    """Bytes of the body as it came."""
    embedding: EmbeddingTerms | None = None
    """Vectors are wanted, not an answer."""
    images: Mapping[str, Image] = MappingProxyType({})
    """By the names that messages have in their place."""
    has_custom: bool = False
    """A tool is declared, or was called, whose input is free text."""

    @property
    def has_tools(self) -> bool:
        return bool(self.extra.get("tools") or self.extra.get("functions"))

    @property
    def has_format(self) -> bool:
        return self.extra.get("response_format") is not None


class Request:
    """Head at once, body on demand: a bad key or an overload costs no body."""

    __slots__ = ("_read", "head")

    def __init__(self, head: Head, read: Callable[[], Awaitable[Body | Refusal]]) -> None:
        self.head = head
        self._read = read

    async def body(self) -> Body | Refusal:
        """Read (bounded) and translate; called once, between ingress and bind."""
        return await self._read()


class Chunk(msgspec.Struct):
    """One event of an answer: an OpenAI `chat.completion.chunk` as a dict, and usage where the upstream told it.

    `data` keeps unknown fields; `usage` is already normalised and taken out of `data`.
    """

    data: dict[str, Any]
    usage: Usage | None = None

    @property
    def choices(self) -> list[dict[str, Any]]:
        return self.data.get("choices") or []


class Text(msgspec.Struct):
    """What nearly every event of an answer is: more of one choice's content and nothing else. Kept apart from `Chunk`,
    since reading, screening and writing such an event as JSON costs four times as much.

    `top`: the fields beside the choices, the upstream's until who delivers puts ours in their place; one and the same
    object for as long as they don't change.
    """

    index: int
    content: str
    top: Mapping[str, Any]
    logprobs: bool = False
    """The choice says `"logprobs": null`, as some servers' do and others' don't."""

    def chunk(self) -> Chunk:
        """The same as any other event."""
        null = {"logprobs": None} if self.logprobs else {}
        choice = {"index": self.index, "delta": {"content": self.content}, **null, "finish_reason": None}
        return Chunk({**self.top, "choices": [choice]})


class Completion(msgspec.Struct):
    """A whole answer: an OpenAI `chat.completion` as a dict."""

    data: dict[str, Any]
    usage: Usage | None = None

"""OpenAI's embeddings dialect: a body in; the answer leaves as a chat answer does, and so do errors."""

from __future__ import annotations

from typing import Any, Literal, TypeVar, get_args

from trimtab.core.errors import Refusal
from trimtab.core.request import Body, EmbeddingTerms
from trimtab.dataplane.pipeline import answer
from trimtab.dataplane.plane import DataPlane
from trimtab.surfaces.server import fields
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.openai import OpenAIReply, request_of

MOST_INPUTS = 2048
"""As many as OpenAI takes."""
MOST_CHARACTERS = 300_000
"""Of all inputs together: two minutes of the engine's work, longer than most contracts would let it run."""
_FIELDS = frozenset({"input", "model", "encoding_format", "dimensions", "user", "input_type", "metadata", "trimtab"})
_Name = TypeVar("_Name", bound=str)
_Format = Literal["float", "base64"]
_InputType = Literal["query", "passage"]


async def embeddings(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`POST /v1/embeddings`."""
    await answer(request_of(http, parse), http.arrival, OpenAIReply(reply), plane)


def parse(data: bytes) -> Body | Refusal:
    """An embeddings body. A field that we don't know is refused: no upstream is there that might know it."""
    return fields.read(data, _body)


def _body(raw: dict[str, Any], size: int) -> Body:
    if unknown := sorted(raw.keys() - _FIELDS):
        raise InvalidError(unknown[0][:64], f"is not known here: send {', '.join(sorted(_FIELDS))}")
    asked = fields.terms(raw)
    terms = EmbeddingTerms(
        input_type=_one_of(raw.get("input_type"), "input_type", get_args(_InputType)),
        encoding_format=_one_of(raw.get("encoding_format"), "encoding_format", get_args(_Format)),
        dimensions=fields.whole(raw.get("dimensions"), "dimensions", 1 << 31),
    )
    return Body(
        kind="embeddings",
        model=fields.text(raw.get("model"), "model", 256),
        messages=tuple([{"role": "user", "content": text} for text in _inputs(raw.get("input"))]),
        stream=False,
        include_usage=False,
        max_tokens=None,
        n=1,
        temperature=None,
        extra={},
        asked=asked,
        user=fields.text(raw.get("user"), "user", 4096),
        size=size,
        embedding=terms,
    )


def _inputs(value: Any) -> list[str]:
    inputs = [value] if isinstance(value, str) else value
    if not isinstance(inputs, list) or not inputs:
        raise InvalidError("input", "takes a text, or a list with at least one text")
    if len(inputs) > MOST_INPUTS:
        raise InvalidError("input", f"takes at most {MOST_INPUTS} texts")
    for index, text in enumerate(inputs):
        if isinstance(text, (int, list)):
            # LangChain sends these unless told otherwise, so it is worth a word
            message = "takes texts: token ids are numbers of another model's vocabulary, and are not read here"
            raise InvalidError("input", f"{message} (LangChain: check_embedding_ctx_length=False)")
        if not isinstance(text, str) or not text:
            where = "input" if inputs is not value else f"input[{index}]"
            raise InvalidError(where, "takes a text that is not empty")
    if sum(map(len, inputs)) > MOST_CHARACTERS:
        raise InvalidError("input", f"takes at most {MOST_CHARACTERS} characters in all: send it in parts")
    return inputs


def _one_of(value: Any, param: str, known: tuple[_Name, ...]) -> _Name:
    """The first is the default."""
    if value is None:
        return known[0]
    for name in known:
        if value == name:
            return name
    raise InvalidError(param, f"takes {' or '.join(known)}")

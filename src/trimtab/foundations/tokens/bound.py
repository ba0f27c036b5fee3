"""An upper bound of a prompt's tokens, without a tokenizer: UTF-8 bytes of all text plus constants (INTERFACES 7).

A byte-level BPE starts from one token a byte and only ever merges, so a text never has more tokens than bytes. A
SentencePiece vocabulary with byte fallback keeps to the same bound but for one leading space a segment, which the
constants hold. A tokenizer that normalises to NFC may lengthen a few composition-excluded characters; llama.cpp does
not, and servers that do are met by the constants in practice.

Why not the exact count: it needs every model's vocabulary and template, and costs a hundred times more. The bound is
what money is reserved by; the true count replaces it at settle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from trimtab.core.images import PART

PER_REQUEST: Final = 128
"""Tokens: BOS, the assistant's opening, and the default system text that templates add by themselves (SmolLM2 25,
Llama 3.1 30, gpt-oss about 80)."""
PER_MESSAGE: Final = 8
"""Tokens around one message, its role not counted: `<|im_start|>`, newline, `<|im_end|>`, newline and their like."""
PER_TOOLS: Final = 512
"""Tokens of the instructions that servers write around tools or a response format."""

_NEVER_IN_PROMPT = frozenset(
    {
        "audio",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
        "trimtab",
        "user",
        "verbosity",
    }
)
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})
_encode = msgspec.json.Encoder().encode


def prompt_bound(
    messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any] | None = None, images: int | None = None
) -> int | None:
    """Tokens that these messages and body fields can't exceed once rendered.

    `extra`: the other fields of the body; all that are not known to stay out of prompts are counted, so a field that
    we have never heard of can't carry text past a budget. `images`: what an endpoint declares that it makes of an image
    at most. None: a part is neither text nor such an image (audio, a file), so nothing bounds it, and the caller
    refuses.
    """
    total = PER_REQUEST
    for message in messages:
        size = _message(message, images)
        if size is None:
            return None
        total += size
    return total + _fields(extra) if extra else total


def text_bytes(text: str) -> int:
    """UTF-8 bytes of a text; a lone surrogate counts the three bytes of its replacement."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _message(message: Mapping[str, Any], images: int | None) -> int | None:
    total = PER_MESSAGE
    for name, value in message.items():
        if value is None:
            continue
        if isinstance(value, str):
            total += text_bytes(value)
        elif name == "content":
            size = _content(value, images)
            if size is None:
                return None
            total += size
        elif name == "audio":
            return None
        else:
            total += _structure(value)
    return total


def _content(content: Any, images: int | None) -> int | None:
    """A list of parts; templates join them with a newline."""
    if not isinstance(content, list):
        return _structure(content)
    total = 0
    for part in content:
        size = _part(part, images)
        if size is None:
            return None
        total += size + 1
    return total


def _part(part: Any, images: int | None) -> int | None:
    if isinstance(part, str):
        return text_bytes(part)
    if not isinstance(part, Mapping):
        return None
    kind = part.get("type", "text")
    if kind == PART:
        return images
    if kind not in _TEXT_PARTS:
        return None
    return sum(text_bytes(value) if isinstance(value, str) else _structure(value) for value in part.values())


def _fields(extra: Mapping[str, Any]) -> int:
    total = 0
    for name, value in extra.items():
        if name not in _NEVER_IN_PROMPT and value is not None:
            total += _structure(value)
            if isinstance(value, (dict, list)) and value:
                total += PER_TOOLS
    return total


def _structure(value: Any) -> int:
    """Servers print structures with their own spacing, indented at worst, and quote strings that were JSON before."""
    try:
        encoded = _encode(value)
    except (msgspec.EncodeError, UnicodeEncodeError, TypeError, OverflowError):
        return 2 * text_bytes(repr(value))
    return 2 * len(encoded) if encoded.count(b'\\"') else len(msgspec.json.format(encoded, indent=2))

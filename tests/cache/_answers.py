"""Answers to keep."""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.core.models import Variant
from trimtab.core.money import Usage
from trimtab.dataplane.cache import Entry

VARIANT = Variant(
    id="small@00000000",
    name="small",
    tier="S",
    model="small",
    upstream_model="small",
    dialect="openai",
    region=None,
    context=2048,
    prefill=False,
    system=None,
    sampling={},
    engine={},
    max_tokens=128,
    quality_lower=0.0,
    price=None,
)
NEVER_NS = 1 << 62


def completion(text: str | None, **message: Any) -> dict[str, Any]:
    """A completion of one choice."""
    whole = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return {"id": "up-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [whole]}


def entry(text: str = "hello", *, expires_ns: int = NEVER_NS, size: int | None = None) -> Entry:
    """An entry; `size` in place of what it would be."""
    made = Entry.of(data=completion(text), usage=Usage(prompt=1), variant=VARIANT, expires_ns=expires_ns)
    return made if size is None else msgspec.structs.replace(made, size=size)


def text_of(kept: Entry) -> str:
    """What the entry answers."""
    content = kept.data["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content

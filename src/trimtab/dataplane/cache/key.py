"""The key of an exact answer: whatever could change the answer is in it, so a difference is a miss by construction.

blake2b-256 over the canonical JSON of a list: version of this layout, tenant, messages after redaction, HMAC of the
redacted values, the body's other fields, and the scope that the caller names. JSON keeps the parts apart (nothing said
in one can be taken for another), sorted keys make the order of fields mean nothing. The tenant is a part and its secret
keys the values: no tenant can meet another's answer, nor try values out on a key that it has seen.

Texts that people write (user, system, developer) are compared in NFC, without white space at the ends, and, where they
are one line, with runs of spaces and tabs as one space. Why no more: case tells `US` from `us`, punctuation a question
from an order, NFKC `2²` from `22`, a greeting may be what is to be translated, and spacing over several lines is code,
tables or verse. What models and tools wrote, arguments, names and schemas are compared as they stand.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final
from unicodedata import normalize

from trimtab.core.canonical import canonical
from trimtab.core.request import Message
from trimtab.core.tenancy import CacheTerms

VERSION: Final = 1
NOT_IN_KEY: Final = frozenset({"stream", "stream_options", "user", "metadata", "trimtab"})
"""Fields that say who asks and how the answer travels, never what is asked."""

_WRITTEN: Final = frozenset({"user", "system", "developer"})
_spacing = re.compile(r"[ \t]{2,}|\t")


def cache_key(
    *,
    tenant: str,
    tenant_secret: bytes,
    messages: Iterable[Message],
    values: tuple[tuple[str, str], ...],
    fields: dict[str, Any],
    terms: CacheTerms,
    scope: Sequence[str | None],
) -> bytes:
    """32 bytes. `values`: placeholders with what they stand for; `fields`: the body's other fields; `scope`: what else
    the answer depends on (residency, arm, release, epochs, language), in an order that the caller keeps."""
    layout = [
        VERSION,
        tenant,
        [_normalised(message) for message in messages],
        None if terms.ids == "ignore" else hmac.digest(tenant_secret, canonical(values), "sha256").hex(),
        {name: value for name, value in fields.items() if name not in NOT_IN_KEY},
        scope,
    ]
    return blake2b(canonical(layout), digest_size=32).digest()


def normalised(text: str) -> str:
    """A text as it is compared."""
    text = text if text.isascii() else normalize("NFC", text)
    text = text.strip()
    if ("  " not in text and "\t" not in text) or "\n" in text or "\r" in text:
        return text
    return _spacing.sub(" ", text)


def _normalised(message: Message) -> Message:
    content = message.get("content")
    if message.get("role") not in _WRITTEN or not content:
        return message
    if isinstance(content, str):
        return {**message, "content": normalised(content)}
    if isinstance(content, list):
        return {**message, "content": [_normalised_part(part) for part in content]}
    return message


def _normalised_part(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return {**part, "text": normalised(part["text"])}
    return part

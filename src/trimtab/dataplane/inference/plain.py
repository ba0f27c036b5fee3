"""Events that only say more of one choice's content, told apart from all others by their type, in one decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from trimtab.core.request import Text

_MISSES: Final = 4
"""In a row, after which no more events of a stream are tried: a try that fails costs as much as one that does not."""


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    content: Annotated[str, Meta(min_length=1)]


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _Delta
    index: int = 0
    finish_reason: None = None
    logprobs: UnsetType | None = UNSET


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    choices: tuple[_Choice]
    id: str | None = None
    object: Literal["chat.completion.chunk"] | None = None
    created: int | None = None
    model: str | None = None
    usage: None = None
    system_fingerprint: str | UnsetType | None = UNSET
    service_tier: str | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(_Event).decode


class PlainText:
    """Of one stream."""

    __slots__ = ("_beside", "_misses", "_top")

    def __init__(self) -> None:
        self._misses = 0
        self._top: Mapping[str, Any] = {}
        self._beside: tuple[Any, Any] = (UNSET, UNSET)

    def read(self, event: bytes) -> Text | None:
        """The event if it is of this kind; None: it needs a closer look. What is no JSON at all is None too."""
        if self._misses >= _MISSES:
            return None
        try:
            found = _decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._misses += 1
            return None
        self._misses = 0
        beside = (found.system_fingerprint, found.service_tier)
        if beside != self._beside:
            self._beside = beside
            named = zip(("system_fingerprint", "service_tier"), beside, strict=True)
            self._top = {name: value for name, value in named if value is not UNSET}
        choice = found.choices[0]
        return Text(choice.index, choice.delta.content, self._top, choice.logprobs is None)

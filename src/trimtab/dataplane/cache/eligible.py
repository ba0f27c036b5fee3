"""Which requests may be answered from the cache, and which answers may be kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trimtab.core.tenancy import CacheTerms

_WHOLE: Final = frozenset({"stop", "tool_calls"})


def bypass_reason(
    *, temperature: float | None, n: int, logprobs: bool, has_tools: bool, terms: CacheTerms
) -> str | None:
    """Why this request goes past the cache; None: it may use it.

    An explicit temperature of 0 asks for the same answer again; none at all leaves it to the channel's `reuse`.
    """
    if n > 1:
        return "n"
    if logprobs:
        return "logprobs"
    if has_tools:
        return "tools"
    if temperature is None:
        return None if terms.reuse else "reuse"
    return "temperature" if temperature > 0 else None


def storable(finish_reasons: Iterable[str | None]) -> bool:
    """Whether every choice came to its own end: nothing cut by length, filter or fault is kept."""
    reasons = list(finish_reasons)
    return bool(reasons) and _WHOLE.issuperset(reasons)

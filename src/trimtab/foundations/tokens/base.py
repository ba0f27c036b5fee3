"""The port of everything that counts tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol


class TokenCounter(Protocol):
    """Tokens of a text, and a bound for a whole prompt. Pure and quick: both run on the request path."""

    @property
    def source(self) -> Literal["counted", "estimated"]:
        """What a record says of figures that come from here (`tokens.source`)."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text` as the model would see it, special tokens written out in it included."""
        ...

    def written(self, text: str, pieces: int) -> int:
        """Tokens of an answer that came in so many pieces."""
        ...

    def upper_bound(self, messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any] | None = None) -> int | None:
        """Tokens that the rendered prompt can't exceed; None where it can't be bounded (media)."""
        ...

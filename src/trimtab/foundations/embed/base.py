"""The port of everything that turns texts into vectors, and what is done to a text before any of them sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
Kind = Literal["query", "passage"]

MAX_CHARACTERS: Final = 2000
"""Of a text, the rest is not read: about what multilingual-e5-small attends to at once (512 tokens of English)."""


class Embedder(Protocol):
    """Texts to points on the unit sphere, near where they mean the same.

    - One row a text, in order, each of length 1; no texts give an array of shape (0, dim).
    - The same text gives the same vector, however it was batched and whoever asked; rows are read-only.
    - Any text is taken: NUL counts as a space, half a surrogate pair as `?`, and what lies beyond the embedder's bound
      of characters is not read (`cleaned`). The empty text has a vector too.
    - It never blocks the event loop. Who is cancelled while waiting leaves nothing behind.
    - It raises what its engine raises when it can't be loaded, to each that waits; the next call tries again.
    """

    @property
    def name(self) -> str:
        """Of model and precision: vectors of two names can't be compared."""
        ...

    @property
    def dim(self) -> int: ...

    async def queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what is asked; also the ones to compare texts of one kind with each other."""
        ...

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of what is searched in."""
        ...

    async def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of each text were read, without what the model adds: what usage counts."""
        ...


def cleaned(text: str, most: int = MAX_CHARACTERS) -> str:
    """The text as an engine in C takes it: no NUL (the text would end there), no lone surrogate, bounded."""
    text = text[:most].replace("\0", " ")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

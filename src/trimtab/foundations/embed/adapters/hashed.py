"""Hashed character n-grams as an embedder: no model, no thread, the same everywhere. For tests and simulation.

Near is what is spelled alike; it knows no meaning and no second language.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from trimtab.foundations.embed.base import MAX_CHARACTERS, Vectors, cleaned
from trimtab.foundations.embed.ngrams import ngram_hashes

_LEAST, _MOST = 3, 5
_SIGN: Final = np.uint64(1 << 30)


class HashEmbedder:
    """An `Embedder` on the spot: its awaits never give way to others."""

    def __init__(self, dim: int = 256, *, max_characters: int = MAX_CHARACTERS) -> None:
        if dim < 2:
            raise ValueError(f"an embedder has two dimensions or more, got {dim}")
        self._dim, self._most = dim, max_characters

    def __repr__(self) -> str:
        return f"<HashEmbedder {self._dim}>"

    @property
    def name(self) -> str:
        return f"hash-{self._dim}"

    @property
    def dim(self) -> int:
        return self._dim

    async def queries(self, texts: Sequence[str]) -> Vectors:
        return self._rows(texts)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        return self._rows(texts)

    async def tokens(self, texts: Sequence[str]) -> list[int]:
        """Words."""
        return [len(cleaned(text, self._most).split()) for text in texts]

    def _rows(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self._dim), np.float32)
        for number, text in enumerate(texts):
            hashes = ngram_hashes(cleaned(text, self._most), _LEAST, _MOST)
            signs = np.where(hashes & _SIGN, 1.0, -1.0)
            row = np.bincount((hashes % np.uint64(self._dim)).astype(np.intp), signs, self._dim)
            length = float(np.linalg.norm(row))
            rows[number] = row / length if length else np.eye(1, self._dim)[0]
        rows.flags.writeable = False
        return rows

"""A corpus ready to be searched: passages, their vectors, and two lexical indexes, fused by reciprocal rank.

Reciprocal rank fusion (Cormack, Clarke & Buettcher 2009): score = sum of 1 / (60 + rank) over the lists. It needs no
scores that compare, which cosine and BM25 don't.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.dataplane.retrieval.base import VectorIndex
from trimtab.dataplane.retrieval.lexical import Bm25
from trimtab.dataplane.retrieval.passages import Passage

FUSION: Final = 60
DEPTH: Final = 30
"""How far down each list is looked at."""


class Hit(msgspec.Struct, frozen=True):
    """A passage found: its fused score (for order only), and its cosine where the vector search saw it."""

    passage: Passage
    score: float
    cosine: float | None


class Corpus:
    """Immutable; swapped whole. `id` names its content: passages and embedder."""

    def __init__(self, name: str, id: str, passages: Sequence[Passage], vectors: VectorIndex | None) -> None:
        self.name, self.id, self.passages = name, id, tuple(passages)
        self._vectors = vectors
        texts = [passage.whole for passage in passages]
        self._words, self._grams = Bm25(texts, "words"), Bm25(texts, "grams")

    def __len__(self) -> int:
        return len(self.passages)

    def search(self, text: str, vector: NDArray[np.float32] | None, k: int) -> list[Hit]:
        """The best `k`. Without a vector (no embedder, or no time) the lexical lists alone decide."""
        fused: dict[int, float] = {}
        cosines: dict[int, float] = {}
        if vector is not None and self._vectors is not None:
            found = self._vectors.search(vector, DEPTH)
            cosines = dict(found)
            _add(fused, [number for number, _ in found])
        for index in (self._words, self._grams):
            _add(fused, _best(index.scores(text)))
        order = sorted(fused, key=lambda number: (-fused[number], number))[:k]
        return [Hit(self.passages[number], fused[number], cosines.get(number)) for number in order]


def _best(scores: NDArray[np.float32]) -> list[int]:
    """Numbers of the best scores above 0, best first, ties by number."""
    count = min(DEPTH, int(np.count_nonzero(scores > 0)))
    if not count:
        return []
    top = np.argpartition(-scores, count - 1)[:count] if count < len(scores) else np.arange(len(scores))
    chosen = sorted(top.tolist(), key=lambda number: (-float(scores[number]), number))
    return [number for number in chosen if scores[number] > 0][:DEPTH]


def _add(fused: dict[int, float], ranked: Sequence[int]) -> None:
    for rank, number in enumerate(ranked, 1):
        fused[number] = fused.get(number, 0.0) + 1 / (FUSION + rank)

"""A corpus ready to be searched: passages, their vectors, and two lexical indexes, fused by a convex combination.

    score = cosine + LEXICAL * (share of the question's words found + share of its four-grams found) / 2

A share is weighed by rarity (BM25), and words that no passage has count in what could have been found: a question in
other words than the passages' has a low share everywhere, so its few chance matches (`my`, `to`) can't outvote the
vectors. Ranks can't say that, which is why rank fusion does worse (Bruch, Gai & Ingber 2023; our figures:
benchmarks/retrieval/README.md).
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

LEXICAL: Final = 0.1
"""Cosines of one embedder lie within about 0.15 of each other; so much is what all words found are worth."""
DEPTH: Final = 30
"""How far down each list is looked at."""


class Hit(msgspec.Struct, frozen=True):
    """A passage found: its fused score (for order only), its cosine where the vector search saw it."""

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
        """The best `k`. Without a vector (no embedder, or no time) the words alone decide."""
        found = self._vectors.search(vector, DEPTH) if vector is not None and self._vectors is not None else []
        cosines = dict(found)
        shares = (self._words.shares(text) + self._grams.shares(text)) / 2
        # what the vector search left out is no nearer than its last
        least = found[-1][1] if found else 0.0
        numbers = cosines.keys() | set(_best(shares))
        scores = {number: cosines.get(number, least) + LEXICAL * float(shares[number]) for number in numbers}
        order = sorted(scores, key=lambda number: (-scores[number], number))[:k]
        return [Hit(self.passages[number], scores[number], cosines.get(number)) for number in order]


def _best(scores: NDArray[np.floating]) -> list[int]:
    """Numbers of the best scores above 0."""
    count = min(DEPTH, int(np.count_nonzero(scores > 0)))
    return np.argpartition(-scores, count - 1)[:count].tolist() if count else []

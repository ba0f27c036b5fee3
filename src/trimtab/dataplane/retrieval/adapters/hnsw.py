"""FAISS HNSW over normalised vectors: inner product is cosine (Malkov & Yashunin 2018)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LINKS: Final = 32
BUILD_EFFORT: Final = 200
SEARCH_EFFORT: Final = 128


class HnswIndex:
    """A `VectorIndex`. Building is single-threaded, so that the same vectors give the same graph."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        """Raises ImportError without FAISS."""
        import faiss

        faiss.omp_set_num_threads(1)
        self._size, dim = vectors.shape
        self._index: Any = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BUILD_EFFORT
        self._index.hnsw.efSearch = SEARCH_EFFORT
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        scores, numbers = self._index.search(np.ascontiguousarray(vector.reshape(1, -1)), min(k, self._size))
        pairs = zip(numbers[0].tolist(), scores[0].tolist(), strict=True)
        return [(number, min(1.0, score)) for number, score in pairs if number >= 0]

"""Every vector compared with the question: exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FlatIndex:
    """A `VectorIndex`: one product of a matrix and a vector, 0.1 ms for 2,000 passages."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        if not len(self._vectors):
            return []
        cosines = self._vectors @ np.asarray(vector, dtype=np.float32)
        best = np.argsort(-cosines, kind="stable")[:k]  # of equals the earlier passage, whatever the machine
        return [(int(number), min(1.0, float(cosines[number]))) for number in best]
